"""A contact forgotten: everything that is logged with them goes, and what is kept of it is a report without their data.

What must stay a while: a message whose Sent copy is still owed keeps its octets until that is settled; it is untracked
from now on, so that they go with it as any untracked message's do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState, mailbox_key
from proxyd.store import content, ledger, submissions
from proxyd.store.tables import (
    contacts,
    drafts,
    dropbox_copies,
    erasures,
    hashed_ids,
    messages,
    participants,
    sent_copies,
    steps,
    suggestions,
)
from proxyd.store.tables import submissions as submitted

BECAUSE = "erased: a person of it was forgotten"


@dataclass(frozen=True, slots=True)
class Report:
    """`shared`: of the messages, those that other contacts had part in too. `crms`: (account, CRM, messages there)."""

    id: int
    at: datetime
    known: bool
    messages: int
    shared: int
    accounts: tuple[str, ...]
    crms: tuple[tuple[str, str, int], ...] = field(default=())


def forget(connection: sa.Connection, key: str, key_hash: str, at: datetime) -> Report:
    """Erase the contact of this mailbox key and every message that they had part in, in every account."""
    row = connection.execute(sa.select(contacts).where(contacts.c.key == key)).one_or_none()
    ids = list(connection.scalars(sa.select(participants.c.message).where(participants.c.key == key)))
    address = row.email if row is not None else key
    shared = _shared(connection, ids, key)
    accounts: set[str] = set()
    crms: dict[tuple[str, str], int] = {}
    for portion in _portions(ids):
        for (account, crm), remote in ledger.remote_ids(connection, portion).items():
            ledger.owe_erasure(connection, account, crm, address, remote, at)
            crms[account, crm] = crms.get((account, crm), 0) + len(remote)
        rows = connection.execute(sa.select(messages).where(messages.c.id.in_(portion))).all()
        for each in rows:
            accounts.add(each.account)
            _let_go(connection, each)
        connection.execute(messages.delete().where(messages.c.id.in_(portion)))
    connection.execute(contacts.delete().where(contacts.c.key == key))
    _elsewhere(connection, key)
    listed = tuple((account, crm, count) for (account, crm), count in sorted(crms.items()))
    values = {"at": at, "key_hash": key_hash, "known": row is not None, "messages": len(ids), "shared": shared}
    id = connection.execute(
        erasures.insert().returning(erasures.c.id),
        values | {"accounts": sorted(accounts), "crms": [list(each) for each in listed]},
    ).scalar_one()
    return Report(id, at, row is not None, len(ids), shared, tuple(sorted(accounts)), listed)


def reports(connection: sa.Connection, key_hash: str | None = None) -> list[Report]:
    """Newest first; `key_hash`: of this contact alone."""
    query = sa.select(erasures).order_by(erasures.c.id.desc())
    if key_hash is not None:
        query = query.where(erasures.c.key_hash == key_hash)
    return [
        Report(row.id, row.at, row.known, row.messages, row.shared, tuple(row.accounts), tuple(map(tuple, row.crms)))
        for row in connection.execute(query)
    ]


def _shared(connection: sa.Connection, ids: Sequence[str], key: str) -> int:
    """How many of these messages another contact had part in."""
    count = 0
    for portion in _portions(ids):
        others = (
            sa.select(participants.c.message)
            .join(contacts, contacts.c.key == participants.c.key)
            .where(participants.c.message.in_(portion), participants.c.key != key)
            .distinct()
        )
        count += len(connection.scalars(others).all())
    return count


def _let_go(connection: sa.Connection, message: Any) -> None:
    """What is kept of a logged message outside its own row."""
    same = sa.select(submitted.c.id).where(
        submitted.c.account == message.account, submitted.c.message_id == message.message_id
    )
    owners = {message.id, message.content, *filter(None, [message.submission]), *connection.scalars(same)}
    waiting = set(
        connection.scalars(
            sa.select(sent_copies.c.id).where(sent_copies.c.id.in_(owners), sent_copies.c.state == CopyState.WAITING)
        )
    )
    done = owners - waiting
    connection.execute(submitted.update().where(submitted.c.id.in_(owners)).values(tracked=False, because=BECAUSE))
    connection.execute(dropbox_copies.delete().where(dropbox_copies.c.id.in_(owners)))
    connection.execute(sent_copies.update().where(sent_copies.c.id.in_(owners)).values(error=None))
    connection.execute(steps.update().where(steps.c.owner.in_(owners)).values(detail=""))
    connection.execute(hashed_ids.delete().where(hashed_ids.c.owner.in_(done)))
    for owner in sorted(done):
        submissions.empty(connection, owner)
        content.drop(connection, owner)


def _elsewhere(connection: sa.Connection, key: str) -> None:
    """Suggestions of mail by them, and drafts of mail to them."""
    for row in connection.execute(sa.select(suggestions.c.id, suggestions.c.author)).all():
        if mailbox_key(str(row.author.get("address", ""))) == key:
            connection.execute(suggestions.delete().where(suggestions.c.id == row.id))
    for draft in connection.execute(sa.select(drafts)).all():
        if key in str(draft).lower():
            same = [column == value for column, value in zip(drafts.primary_key, _key_of(draft), strict=True)]
            connection.execute(drafts.delete().where(*same))


def _key_of(draft: Any) -> Iterator[Any]:
    return (getattr(draft, column.name) for column in drafts.primary_key)


def _portions(ids: Iterable[str], size: int = 500) -> Iterator[list[str]]:
    listed = list(ids)
    return (listed[start : start + size] for start in range(0, len(listed), size))
