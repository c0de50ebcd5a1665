"""A contact forgotten: everything that is logged with them goes, and what is kept of it is a report without their data.

What must stay a while: a message whose Sent copy is still owed keeps its octets until that is settled; it is untracked
from now on, so that they go with it as any untracked message's do. A mail that waits in the spool was sent, as its
sender believes: it goes out all the same, untracked. One there that could not be delivered goes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState, mailbox_key
from proxyd.store import companies, contacts, content, ledger, spool, submissions
from proxyd.store.spool import SpoolState
from proxyd.store.tables import (
    contact_addresses,
    drafts,
    dropbox_copies,
    erasures,
    hashed_ids,
    last_words,
    messages,
    participants,
    sent_copies,
    steps,
    suggestions,
)
from proxyd.store.tables import contacts as contact_table
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


def forget(connection: sa.Connection, key: str, hash: Callable[[str], str], at: datetime) -> Report:
    """Erase the contact who has this mailbox key among their addresses, and every message that they had part in by any
    of these, in every account. `hash` makes of a mailbox key what the report is found by."""
    person = contacts.get(connection, key)
    addresses = person.addresses if person is not None else (key,)
    keys = contacts.same_person(connection, [key])
    taken = sa.select(participants.c.message).where(contacts.takes_part(connection, keys)).distinct()
    ids = list(connection.scalars(taken))
    shared = _shared(connection, ids, person.key if person else None, keys)
    accounts: set[str] = set()
    crms: dict[tuple[str, str], int] = {}
    others: set[str] = set()
    for portion in _portions(ids):
        for (account, crm), remote in ledger.remote_ids(connection, portion).items():
            if (account, crm) not in crms:  # under which of them the CRM knows the person, nobody here knows
                for address in addresses[1:]:
                    ledger.owe_erasure(connection, account, crm, address, (), at)
            ledger.owe_erasure(connection, account, crm, addresses[0], remote, at)
            crms[account, crm] = crms.get((account, crm), 0) + len(remote)
        others.update(connection.scalars(sa.select(participants.c.key).where(participants.c.message.in_(portion))))
        rows = connection.execute(sa.select(messages).where(messages.c.id.in_(portion))).all()
        for each in rows:
            accounts.add(each.account)
            _let_go(connection, each)
        connection.execute(messages.delete().where(messages.c.id.in_(portion)))
    _last_words(connection, others)
    if person is not None:
        connection.execute(contact_table.delete().where(contact_table.c.key == person.key))
        companies.tidy(connection, filter(None, [person.company]))
    _elsewhere(connection, keys)
    listed = tuple((account, crm, count) for (account, crm), count in sorted(crms.items()))
    hashes = list(dict.fromkeys(hash(mailbox_key(each)) for each in (*addresses, key)))
    values = {"at": at, "key_hash": hashes[0], "other_hashes": hashes[1:], "known": person is not None}
    values |= {"messages": len(ids), "shared": shared}
    id = connection.execute(
        erasures.insert().returning(erasures.c.id),
        values | {"accounts": sorted(accounts), "crms": [list(each) for each in listed]},
    ).scalar_one()
    return Report(id, at, person is not None, len(ids), shared, tuple(sorted(accounts)), listed)


def reports(connection: sa.Connection, key_hash: str | None = None) -> list[Report]:
    """Newest first; `key_hash`: of this contact alone."""
    query = sa.select(erasures).order_by(erasures.c.id.desc())
    return [
        Report(row.id, row.at, row.known, row.messages, row.shared, tuple(row.accounts), tuple(map(tuple, row.crms)))
        for row in connection.execute(query)
        if key_hash is None or key_hash in (row.key_hash, *(row.other_hashes or ()))
    ]


def _shared(connection: sa.Connection, ids: Sequence[str], contact: str | None, keys: Collection[str]) -> int:
    """How many of these messages another contact had part in."""
    count = 0
    for portion in _portions(ids):
        others = (
            sa.select(participants.c.message)
            .join(contact_addresses, contact_addresses.c.key == participants.c.key)
            .where(participants.c.message.in_(portion), ~participants.c.tag, ~contact_addresses.c.tag)
            .where(participants.c.key.not_in(keys), contact_addresses.c.contact != (contact or ""))
            .distinct()
        )
        count += len(connection.scalars(others).all())
    return count


def _last_words(connection: sa.Connection, keys: Iterable[str]) -> None:
    """When each of these was last in a message, anew: of what is there still."""
    for portion in _portions(keys):
        connection.execute(last_words.delete().where(last_words.c.key.in_(portion)))
        columns = (participants.c.key, participants.c.tag, messages.c.account, sa.func.max(messages.c.date))
        left = (
            sa.select(*columns)
            .join(messages, messages.c.id == participants.c.message)
            .where(participants.c.key.in_(portion))
            .group_by(*columns[:3])
        )
        connection.execute(last_words.insert().from_select(["key", "tag", "account", "date"], left))


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
    waiting |= {each.id for each in spool.every(connection, [SpoolState.WAITING]) if each.id in owners}
    done = owners - waiting
    connection.execute(submitted.update().where(submitted.c.id.in_(owners)).values(tracked=False, because=BECAUSE))
    connection.execute(dropbox_copies.delete().where(dropbox_copies.c.id.in_(owners)))
    connection.execute(sent_copies.update().where(sent_copies.c.id.in_(owners)).values(error=None))
    connection.execute(steps.update().where(steps.c.owner.in_(owners)).values(detail=""))
    connection.execute(hashed_ids.delete().where(hashed_ids.c.owner.in_(done)))
    for owner in sorted(done):
        spool.take_out(connection, owner)
        submissions.empty(connection, owner)
        content.drop(connection, owner)


def _elsewhere(connection: sa.Connection, keys: Collection[str]) -> None:
    """Suggestions of mail by them, and drafts of mail to them, files and all."""
    for row in connection.execute(sa.select(suggestions.c.id, suggestions.c.author)).all():
        if mailbox_key(str(row.author.get("address", ""))) in keys:
            connection.execute(suggestions.delete().where(suggestions.c.id == row.id))
    for draft in connection.execute(sa.select(drafts)).all():
        if any(key in str(draft).lower() for key in keys):
            same = [column == value for column, value in zip(drafts.primary_key, _key_of(draft), strict=True)]
            connection.execute(drafts.delete().where(*same))


def _key_of(draft: Any) -> Iterator[Any]:
    return (getattr(draft, column.name) for column in drafts.primary_key)


def _portions(ids: Iterable[str], size: int = 500) -> Iterator[list[str]]:
    listed = list(ids)
    return (listed[start : start + size] for start in range(0, len(listed), size))
