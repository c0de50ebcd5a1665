"""What was given up: Sent copies and dropbox copies that failed for good. Counted, listed, and decided on by a person:
to be tried again, or left out.

What is tried again is due now and waits; a message of which the octets are not kept any more is left out instead, for
there is nothing to be sent or filed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState
from proxyd.store import submissions
from proxyd.store.outbox import SKIPPED
from proxyd.store.tables import chunks, dropbox_copies, messages, sent_copies
from proxyd.store.tables import submissions as submitted

SENT_COPIES, DROPBOX = "sent_copies", "dropbox"
_TABLES: dict[str, sa.Table] = {SENT_COPIES: sent_copies, DROPBOX: dropbox_copies}
_LEFT_OUT = {SENT_COPIES: CopyState.NOT_WANTED.value, DROPBOX: SKIPPED}
_NAMES = {SENT_COPIES: "Sent copy", DROPBOX: "dropbox copy"}

GONE = "the message is not kept any more"
FAILED = CopyState.FAILED.value  # a dropbox copy's state has the same name


@dataclass(frozen=True, slots=True)
class Failures:
    """`error` is what the newest of them came to; `id` is its submission."""

    what: str  # sent_copies | dropbox
    account: str
    count: int
    id: str
    error: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """One of them. `id` is its submission; `subject` None where the message is not logged."""

    what: str
    id: str
    account: str
    message_id: str
    at: datetime | None
    error: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which are meant: None = whichever. `since`, an id, counts where `ids` are not named."""

    accounts: Collection[str] | None = None
    what: str | None = None
    ids: Collection[str] | None = None
    since: str = ""

    def tables(self) -> dict[str, sa.Table]:
        return {name: table for name, table in _TABLES.items() if self.what in (None, name)}

    def where(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        where: list[sa.ColumnElement[bool]] = [table.c.state == FAILED]
        where.append(table.c.id >= self.since if self.ids is None else table.c.id.in_(list(self.ids)))
        if self.accounts is not None:
            where.append(table.c.account.in_(list(self.accounts)))
        return where


def failures(connection: sa.Connection, since: str) -> list[Failures]:
    """Those whose id, a ULID, is not older than `since`; of each account those of each kind together."""
    found: list[Failures] = []
    for what, table in _TABLES.items():
        by_account: dict[str, Failures] = {}
        rows = connection.execute(
            sa.select(table.c.account, table.c.id, table.c.error)
            .where(*Chosen(since=since).where(table))
            .order_by(table.c.id)
        )
        for account, id, error in rows:
            count = by_account[account].count if account in by_account else 0
            by_account[account] = Failures(what, account, count + 1, id, error or "")
        found += by_account.values()
    return found


def listed(connection: sa.Connection, chosen: Chosen, limit: int) -> list[GivenUp]:
    """The newest first."""
    found = [
        each for what, table in chosen.tables().items() for each in _listed(connection, chosen, what, table, limit)
    ]
    return sorted(found, key=lambda each: each.id, reverse=True)[:limit]


def _listed(connection: sa.Connection, chosen: Chosen, what: str, table: sa.Table, limit: int) -> list[GivenUp]:
    rows = connection.execute(
        sa.select(table.c.id, table.c.account, table.c.error, submitted.c.message_id, submitted.c.begun_at)
        .add_columns(messages.c.subject)
        .outerjoin_from(table, submitted, submitted.c.id == table.c.id)
        .outerjoin(messages, messages.c.submission == table.c.id)
        .where(*chosen.where(table))
        .order_by(table.c.id.desc())
        .limit(limit)
    )
    return [
        GivenUp(what, row.id, row.account, row.message_id or "", row.begun_at, row.error or "", row.subject)
        for row in rows
    ]


def named(connection: sa.Connection, said: str, accounts: Collection[str] | None) -> list[str]:
    """The ids of those that `said` means: the end of an id, or a Message-ID."""
    bare = said.strip().removeprefix("<").removesuffix(">")
    found: dict[str, None] = {}
    for table in _TABLES.values():
        means = sa.or_(table.c.id.endswith(said.strip().upper(), autoescape=True), submitted.c.message_id == bare)
        rows = connection.scalars(
            sa.select(table.c.id)
            .outerjoin_from(table, submitted, submitted.c.id == table.c.id)
            .where(*Chosen(accounts).where(table), means)
            .limit(10)
        )
        found |= dict.fromkeys(rows)
    return list(found)


def again(
    connection: sa.Connection, chosen: Chosen, at: datetime, dropboxes: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """They are due now; `dropboxes` are the CRM's addresses as the accounts have them by now.

    How many of each kind, `gone` being those left out for their octets are not kept; and the accounts whose mailboxes
    are to be looked into.
    """
    counts, accounts = {SENT_COPIES: 0, DROPBOX: 0, "gone": 0}, dict[str, None]()
    for what, table in chosen.tables().items():
        for id, account, whole in _chosen(connection, chosen, table):
            if not whole:
                _leave_out(connection, what, id, at, GONE)
                counts["gone"] += 1
                continue
            values: dict[str, Any] = {"state": "waiting", "due": at, "attempts": 0}
            if what == SENT_COPIES:
                # As where a client's upload was answered in the provider's stead: looked for first, and where nobody
                # has filed it, by us, be the provider one that files what it sends.
                values["promised_flags"] = sa.func.coalesce(table.c.promised_flags, "")
                accounts[account] = None
            elif account in dropboxes:  # it may have been mistyped
                values["address"] = dropboxes[account]
            connection.execute(table.update().where(table.c.id == id).values(values))
            submissions.step(connection, id, at, f"{_NAMES[what]} to be tried again", "somebody said so")
            counts[what] += 1
    return counts, list(accounts)


def leave_out(connection: sa.Connection, chosen: Chosen, at: datetime) -> dict[str, int]:
    """They are neither tried nor told of any more. How many of each kind."""
    counts = {SENT_COPIES: 0, DROPBOX: 0}
    for what, table in chosen.tables().items():
        for id, _, _ in _chosen(connection, chosen, table):
            _leave_out(connection, what, id, at, "somebody said so")
            counts[what] += 1
    return counts


def _leave_out(connection: sa.Connection, what: str, id: str, at: datetime, why: str) -> None:
    table = _TABLES[what]
    values: dict[str, Any] = {"state": _LEFT_OUT[what]} | ({"due": None} if what == DROPBOX else {})
    connection.execute(table.update().where(table.c.id == id).values(values))
    submissions.step(connection, id, at, f"{_NAMES[what]} left out", why)
    row = submissions.get(connection, id)
    if what == SENT_COPIES and row is not None and not row.tracked:
        submissions.empty(connection, id)  # nothing is owed of it any more


def _chosen(connection: sa.Connection, chosen: Chosen, table: sa.Table) -> Sequence[Any]:
    """(id, account, whether all of its octets are kept)."""
    kept = sa.exists().where(chunks.c.owner == table.c.id)
    cut = sa.exists().where(messages.c.submission == table.c.id, messages.c.expired.is_not(None))
    rows = connection.execute(
        sa.select(table.c.id, table.c.account, sa.and_(kept, ~cut).label("whole")).where(*chosen.where(table))
    )
    return rows.all()
