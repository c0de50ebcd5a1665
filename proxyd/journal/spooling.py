"""What is written of a mail that waits here for the provider (`sending: on_outage: spool`).

Every function that takes a connection is one job of the writer. What becomes of such a mail is `rules.spool`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.formats.message import wire_form
from proxyd.journal.finding import KeepContent
from proxyd.journal.intake import KeptContent
from proxyd.model import CopyState, Envelope, SmtpReply, Spooled, State, Undeliverable, mailbox_key
from proxyd.store import sent_copies, spool, submissions, timeline
from proxyd.store.database import Database
from proxyd.store.spool import SpoolState, Waiting
from proxyd.store.submissions import Submitted
from proxyd.workers import Clock, Workers

T = TypeVar("T")

KEPT = SmtpReply(250, ("2.0.0 kept by proxyd",))  # for who waits for the outcome of a mail that waits here

NO_SUCH_ACCOUNT = timedelta(days=4)  # how long mail of an account that is configured no longer waits for it


class Spool:
    """What waits, as whoever hands it over sees it. `in_hand`: mails that somebody is trying at this moment; `at_once`:
    no account is to be left alone any longer."""

    def __init__(
        self, database: Database, workers: Workers, clock: Clock, keep: KeepContent, wake: asyncio.Event
    ) -> None:
        self._database = database
        self._workers = workers
        self._clock = clock
        self._keep = keep
        self._wake = wake
        self.in_hand: set[str] = set()
        self.at_once = False

    async def waiting(self) -> list[Waiting]:
        """All that is still to be tried, in the order in which it came."""
        return await self._read(lambda c: spool.every(c, [SpoolState.WAITING]))

    async def due(self, account: str) -> list[Due]:
        """What of the account's may be tried now, in the order in which it came."""
        now = self._clock.now()
        found = await self._read(lambda c: due(c, account, now, self._keep))
        return [each for each in found if each.row.id not in self.in_hand]

    async def handing_over(self, id: str) -> bool:
        """The mail is about to be handed over: durable before it is, so that a crash is followed by a look and not by a
        second mail. False where it waits no longer: somebody has taken it out."""
        return await self._database.write(lambda c: handing_over(c, id, self._clock.now()))

    def asked_again(self) -> None:
        """Somebody wants it tried now, whatever was refused before."""
        self.at_once = True
        self._wake.set()

    async def owed_reports(self) -> list[Owed]:
        """Mails of which the person is to be told in their INBOX."""
        return await self._read(lambda c: owed(c, self._keep))

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)


@dataclass(frozen=True, slots=True)
class Due:
    """A mail that waits, with what goes upstream; `content` None where it is lost, which must not be."""

    row: Waiting
    envelope: Envelope
    content: KeptContent | None


@dataclass(frozen=True, slots=True)
class Owed:
    """A mail of which the person is to be told in their INBOX. `filed` is the message as it would be filed."""

    row: Waiting
    envelope: Envelope
    begun_at: datetime
    filed: KeptContent | None


def spooled(connection: sa.Connection, accounts: Mapping[str, Account], event: Spooled) -> str | None:
    """It waits; returns its account, None where its outcome is on record already."""
    row = submissions.get(connection, event.id)
    if row is None or row.state is not (State.UNKNOWN if event.absent else State.SUBMITTING):
        return None
    first = not spool.holds(connection, event.id)
    spool.wait(connection, event.id, row.account, event.why, event.due, event.at, trying=event.trying)
    what = "waits at proxyd for the provider" if first else "tried, and waits on"
    submissions.step(connection, event.id, event.at, what, event.why)
    if event.absent:
        _set_state(connection, row.id, State.SUBMITTING, event.at)
        submissions.looked(connection, row.id, None)
    account = accounts.get(row.account)
    if first and account is not None and _wants_copy(account, row):
        # The client may file its own copy as soon as it hears our 250: it is the same that will be due.
        settled = event.at + timedelta(seconds=account.sent_copy.settle)
        sent_copies.insert(connection, row.id, row.account, CopyState.WAITING, event.at, settled)
    return row.account


def _wants_copy(account: Account, row: Submitted) -> bool:
    return account.sent_copy.of == "everything" or (account.sent_copy.of == "tracked" and row.tracked)


def _set_state(connection: sa.Connection, id: str, state: State, at: datetime, why: str = "") -> None:
    submissions.ended(connection, id, state, at, None, why)
    timeline.set_state(connection, id, state)


def handing_over(connection: sa.Connection, id: str, at: datetime) -> bool:
    row = spool.get(connection, id)
    if row is None or row.state is not SpoolState.WAITING:
        return False
    spool.trying(connection, id, at)
    return True


def undeliverable(connection: sa.Connection, event: Undeliverable) -> None:
    """Given up: the mail is kept until the person has decided, and they are to be told."""
    row = submissions.get(connection, event.id)
    if row is None or row.state is State.SENT or not spool.holds(connection, event.id):
        return
    submissions.ended(connection, event.id, State.REFUSED, event.at, event.reply, event.why)
    submissions.step(connection, event.id, event.at, "given up", event.why)
    timeline.set_state(connection, event.id, State.REFUSED)
    spool.failed(connection, event.id, event.why, None if event.reply is None else event.reply.code)
    sent_copies.not_wanted(connection, event.id)


def reported(connection: sa.Connection, id: str, at: datetime) -> None:
    spool.reported(connection, id)
    submissions.step(connection, id, at, "told in the INBOX", "a report lies there")


# --- what a person decides ------------------------------------------------------------------------------------


def again(connection: sa.Connection, row: Waiting, at: datetime) -> None:
    """Tried again, from now on for as long as one that has just come."""
    if row.state is not SpoolState.WAITING:
        _set_state(connection, row.id, State.SUBMITTING, at)
        submissions.looked(connection, row.id, None)
        sent_copies.wanted(connection, row.id)
    submissions.step(connection, row.id, at, "to be tried again", "somebody said so")
    spool.afresh(connection, row.id, at)


def drop(connection: sa.Connection, row: Waiting, at: datetime) -> None:
    """Never sent, and told of no more. What is logged of it stays as an entry that was not sent; else nothing does."""
    why = "taken out of the spool by somebody"
    submissions.step(connection, row.id, at, "dropped", why)
    if row.state is SpoolState.WAITING:
        _set_state(connection, row.id, State.REFUSED, at, why)
    sent_copies.not_wanted(connection, row.id)
    spool.take_out(connection, row.id)
    submitted = submissions.get(connection, row.id)
    if submitted is not None and not submitted.tracked:
        submissions.empty(connection, row.id)


# --- read ------------------------------------------------------------------------------------------------------


def due(connection: sa.Connection, account: str, now: datetime, keep: KeepContent) -> list[Due]:
    """What of the account's may be tried now, in the order in which it came."""
    found = []
    for row in spool.every(connection, [SpoolState.WAITING], account):
        if row.due > now or row.trying_since is not None:
            continue
        submitted = submissions.get(connection, row.id)
        kept = keep(connection, row.id)
        if submitted is not None:
            # Who is in nobody's copy was taken out of what is filed when it was begun.
            wire = None if kept is None else kept.with_header(wire_form(kept.header, hidden=frozenset()))
            found.append(Due(row, submitted.envelope, wire))
    return found


def waiting_for(connection: sa.Connection, people: Collection[str]) -> int:
    """How many mails wait here that go to any of these mailbox keys."""
    rows = [submissions.get(connection, each.id) for each in spool.every(connection, [SpoolState.WAITING])]
    named = ({mailbox_key(each.address) for each in row.envelope.recipients} for row in rows if row is not None)
    return sum(not keys.isdisjoint(people) for keys in named)


def owed(connection: sa.Connection, keep: KeepContent) -> list[Owed]:
    found = []
    for row in spool.reports_owed(connection):
        submitted = submissions.get(connection, row.id)
        if submitted is not None:
            found.append(Owed(row, submitted.envelope, submitted.begun_at, keep(connection, row.id)))
    return found
