"""What is told of one message: who answers to a Message-ID, the steps it went through, its octets."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.store import spool
from proxyd.store.spool import Waiting
from proxyd.store.submissions import Submitted
from proxyd.store.submissions import get as submission
from proxyd.store.tables import (
    crm_entries,
    dropbox_copies,
    hashed_ids,
    messages,
    sent_copies,
    steps,
    submissions,
)
from proxyd.store.tables import spool as spooled


@dataclass(frozen=True, slots=True)
class Step:
    at: datetime
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything known of one message. `submitted` is its newest submission, where it went through us; `message` its
    record, where it is logged; the rows of its copies and entries as the tables have them."""

    submitted: Submitted | None
    message: Any | None
    steps: tuple[Step, ...]
    sent_copy: Any | None
    spooled: Waiting | None
    dropbox: Any | None
    crm: tuple[Any, ...]


def of_hash(connection: sa.Connection, id_hash: str, accounts: Collection[str] | None = None) -> History | None:
    """The history of the newest message that answers to this hashed Message-ID, in whichever of `accounts` (None: of
    all)."""
    query = sa.select(hashed_ids).where(hashed_ids.c.id_hash == id_hash).order_by(hashed_ids.c.owner.desc())
    if accounts is not None:
        query = query.where(hashed_ids.c.account.in_(sorted(accounts)))
    rows = connection.execute(query).all()
    if not rows:
        return None
    account = rows[0].account
    owners = [row.owner for row in rows if row.account == account]
    message = connection.execute(
        sa.select(messages)
        .where(sa.or_(messages.c.id.in_(owners), messages.c.submission.in_(owners)))
        .order_by(messages.c.id.desc())
        .limit(1)
    ).one_or_none()
    if message is not None:
        owners += [each for each in (message.id, message.submission) if each and each not in owners]
    submitted = next((row for each in sorted(owners, reverse=True) if (row := submission(connection, each))), None)
    # A message that was found in the mailbox has its Sent copy under its own id.
    copied = submitted.id if submitted else owners[0]
    return History(
        submitted,
        message,
        steps_of(connection, owners),
        connection.execute(sa.select(sent_copies).where(sent_copies.c.id == copied)).one_or_none(),
        spool.get(connection, copied),
        connection.execute(sa.select(dropbox_copies).where(dropbox_copies.c.id == copied)).one_or_none(),
        () if message is None else _crm(connection, message.id),
    )


def _crm(connection: sa.Connection, message: str) -> tuple[Any, ...]:
    rows = connection.execute(sa.select(crm_entries).where(crm_entries.c.message == message).order_by("crm"))
    return tuple(rows)


def steps_of(connection: sa.Connection, owners: Iterable[str]) -> tuple[Step, ...]:
    rows = connection.execute(sa.select(steps).where(steps.c.owner.in_(list(owners))).order_by(steps.c.at, steps.c.id))
    return tuple(Step(row.at, row.what, row.detail) for row in rows)


def contents(connection: sa.Connection, ids: Iterable[str]) -> dict[str, tuple[str, str, bool]]:
    """(who owns the octets, whose account it is in, are they all kept) of each of these logged messages."""
    columns = (messages.c.id, messages.c.content, messages.c.account, messages.c.expired)
    rows = connection.execute(sa.select(*columns).where(messages.c.id.in_(list(ids))))
    return {row.id: (row.content, row.account, row.expired is None) for row in rows}


def unread(connection: sa.Connection, ids: Iterable[str]) -> dict[str, str]:
    """Those of these logged messages whose body was not read yet, and who owns their octets."""
    rows = connection.execute(
        sa.select(messages.c.id, messages.c.content).where(messages.c.id.in_(list(ids)), messages.c.body.is_(None))
    )
    return {row.id: row.content for row in rows}


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A submission whose outcome nobody knows. `looked_at` is when it was last looked for and not found."""

    id: str
    account: str
    message_id: str
    begun_at: datetime
    why: str
    looked_at: datetime | None


def unsettled(connection: sa.Connection, since: datetime) -> list[Unsettled]:
    """Those begun after `since`, and those whose client heard 250, which are settled by a person alone."""
    ours = submissions.c.id.in_(sa.select(spooled.c.id))
    rows = connection.execute(
        sa.select(submissions)
        .where(submissions.c.state == "unknown", sa.or_(submissions.c.begun_at > since, ours))
        .order_by(submissions.c.begun_at)
    )
    return [
        Unsettled(row.id, row.account, row.message_id or "", row.begun_at, row.why or "", row.looked_at) for row in rows
    ]
