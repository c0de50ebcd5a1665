"""What CRMs lack of our records, as a person looks at it and decides: to be tried again, or left out for good."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.store.ledger import Erasure
from proxyd.store.tables import crm_entries, crm_erasures, messages

OPEN = ("failed", "waiting")
SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """`state`: failed = the CRM refused it, waiting; `error` in the CRM's words; `due` is the next try."""

    message: str
    message_id: str
    account: str
    crm: str
    state: str
    error: str | None
    due: datetime | None
    attempts: int
    direction: str
    date: datetime
    subject: str
    contacts: list[str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which of them are meant: None = whichever. `accounts` and `messages` hold addresses and our records' ids."""

    accounts: Collection[str] | None = None
    crm: str | None = None
    messages: Collection[str] | None = None

    def entries(self, states: Collection[str]) -> list[sa.ColumnElement[bool]]:
        where: list[sa.ColumnElement[bool]] = [crm_entries.c.state.in_(list(states))]
        if self.accounts is not None:
            of = sa.select(messages.c.id).where(messages.c.account.in_(list(self.accounts)))
            where.append(crm_entries.c.message.in_(of))
        if self.crm is not None:
            where.append(crm_entries.c.crm == self.crm)
        if self.messages is not None:
            where.append(crm_entries.c.message.in_(list(self.messages)))
        return where

    def erasures(self) -> list[sa.ColumnElement[bool]]:
        where: list[sa.ColumnElement[bool]] = [sa.true() if self.messages is None else sa.false()]
        if self.accounts is not None:
            where.append(crm_erasures.c.account.in_(list(self.accounts)))
        if self.crm is not None:
            where.append(crm_erasures.c.crm == self.crm)
        return where


def listed(connection: sa.Connection, chosen: Chosen, limit: int) -> list[Undelivered]:
    """The refused ones first, then those that wait; each newest first."""
    rows = connection.execute(
        sa.select(crm_entries, messages)
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(*chosen.entries(OPEN))
        .order_by(crm_entries.c.state, crm_entries.c.message.desc(), crm_entries.c.crm)
        .limit(limit)
    )
    return [_undelivered(row._mapping) for row in rows]


def _undelivered(row: Any) -> Undelivered:
    entry, message = crm_entries.c, messages.c
    return Undelivered(
        message=row[entry.message],
        message_id=row[message.message_id],
        account=row[message.account],
        crm=row[entry.crm],
        state=row[entry.state],
        error=row[entry.error],
        due=row[entry.due],
        attempts=row[entry.attempts],
        direction=row[message.direction],
        date=row[message.date],
        subject=row[message.subject],
        contacts=row[message.contacts],
    )


def named(connection: sa.Connection, said: str, accounts: Collection[str] | None) -> list[str]:
    """The ids of the messages that `said` means and that a CRM lacks: the end of an id, or a Message-ID."""
    means = messages.c.id.endswith(said.strip().upper(), autoescape=True)
    bare = said.strip().removeprefix("<").removesuffix(">")
    lacking = crm_entries.c.state.in_([*OPEN, SKIPPED])
    select = (
        sa.select(messages.c.id)
        .join(crm_entries, crm_entries.c.message == messages.c.id)
        .where(lacking, sa.or_(means, messages.c.message_id == bare))
    )
    if accounts is not None:
        select = select.where(messages.c.account.in_(list(accounts)))
    return list(connection.scalars(select.distinct().limit(10)))


def erasures(connection: sa.Connection, chosen: Chosen) -> list[tuple[Erasure, str | None]]:
    """Contacts that CRMs are still to erase, with why they have not; no `due` where nobody tries any more."""
    rows = connection.execute(sa.select(crm_erasures).where(*chosen.erasures()).order_by(crm_erasures.c.id))
    return [
        (Erasure(row.id, row.account, row.crm, row.address, tuple(row.remote_ids), row.due, row.attempts), row.error)
        for row in rows
    ]


def again(connection: sa.Connection, chosen: Chosen, at: datetime) -> tuple[int, int]:
    """All of them are due now: the cause is gone. Entries that were skipped are among them where they are named.

    How many entries and erasures.
    """
    states = OPEN if chosen.messages is None else (*OPEN, SKIPPED)
    entries = connection.execute(
        crm_entries.update().where(*chosen.entries(states)).values(state="waiting", due=at, attempts=0)
    )
    erasing = connection.execute(crm_erasures.update().where(*chosen.erasures()).values(due=at, attempts=0))
    return entries.rowcount, erasing.rowcount


def skip(connection: sa.Connection, chosen: Chosen, waiting: bool) -> tuple[int, int]:
    """They are not tried any more, and not told of: what the CRM refused, with `waiting` the others too.

    How many entries and erasures.
    """
    states = OPEN if waiting else ("failed",)
    entries = connection.execute(crm_entries.update().where(*chosen.entries(states)).values(state=SKIPPED, due=None))
    gone = chosen.erasures() if waiting else [*chosen.erasures(), crm_erasures.c.due.is_(None)]
    return entries.rowcount, connection.execute(crm_erasures.delete().where(*gone)).rowcount
