"""What is asked, and how far it is, of going through earlier mail: commands and the watcher meet here.

The table is the truth: a daemon that was killed goes on with what stands there as unfinished.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import TypeVar

import sqlalchemy as sa

from proxyd.model import Backfill
from proxyd.rules.tracking import NO_CONTACT
from proxyd.store import backfills, contacts, submissions
from proxyd.store.database import Database
from proxyd.workers import Clock, Signal, Workers

T = TypeVar("T")


class Backfills:
    def __init__(self, database: Database, workers: Workers, clock: Clock) -> None:
        self._database = database
        self._workers = workers
        self._clock = clock
        self._asked: dict[str, Signal] = defaultdict(Signal)
        self._moved: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._live: dict[tuple[str, bool], Backfill] = {}  # where it is in the span that it goes through now

    # --- for commands --------------------------------------------------------------------------------------

    async def ask(self, account: str, since: date, dry_run: bool) -> Backfill:
        """Begin, or go on with the same that was stopped or is under way."""
        now = self._clock.now()

        def job(connection: sa.Connection) -> Backfill:
            before = backfills.get(connection, account, dry_run)
            if before is not None and before.state in backfills.UNFINISHED and before.since == since:
                return before
            # Somewhere it is tomorrow already, and servers count their own days.
            asked = Backfill(account, dry_run, since, now.date() + timedelta(days=2), next_day=since, asked_at=now)
            if before is not None and before.state == "stopped" and before.since == since:
                asked = replace(before, state="asked", asked_at=now, until=asked.until)
            backfills.put(connection, asked)
            return asked

        asked = await self._database.write(job)
        self._asked[account].set()
        self._told(account)
        return asked

    async def stop(self, account: str, dry_run: bool) -> Backfill | None:
        def job(connection: sa.Connection) -> Backfill | None:
            before = backfills.get(connection, account, dry_run)
            if before is None or before.state not in backfills.UNFINISHED:
                return before
            stopped = replace(before, state="stopped", waits_for="")
            backfills.put(connection, stopped)
            return stopped

        stopped = await self._database.write(job)
        self._asked[account].set()
        self._told(account)
        return stopped

    async def get(self, account: str, dry_run: bool) -> Backfill | None:
        there = await self._read(lambda c: backfills.get(c, account, dry_run))
        live = self._live.get((account, dry_run))
        if there is None or live is None or there.state not in backfills.UNFINISHED:
            return there
        return live if live.asked_at == there.asked_at else there

    async def moved(self, account: str, seconds: float) -> None:
        """Until there is something new to show, for at most so long."""
        event = self._moved[account]
        waiting = asyncio.ensure_future(event.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()

    # --- for the watcher -----------------------------------------------------------------------------------

    def asked(self, account: str) -> Signal:
        """Set when something was asked or stopped. Whoever waits clears it, then reads."""
        return self._asked[account]

    async def unfinished(self, account: str) -> Backfill | None:
        return await self._read(lambda c: backfills.unfinished(c, account))

    async def goes_on(self, backfill: Backfill) -> bool:
        """False: it was stopped, or another was asked for."""
        there = await self._read(lambda c: backfills.get(c, backfill.account, backfill.dry_run))
        return there is not None and there.state in backfills.UNFINISHED and there.asked_at == backfill.asked_at

    def show(self, backfill: Backfill) -> None:
        """Where it is now, for who looks; the table has where it goes on after a crash."""
        self._live[backfill.account, backfill.dry_run] = backfill
        self._told(backfill.account)

    async def progress(self, backfill: Backfill) -> bool:
        """A span is gone through. False: it was stopped, or another was asked for, and nothing is written."""
        going = await self._database.write(lambda c: backfills.progress(c, backfill))
        self.show(backfill)
        return going

    async def contacts(self) -> list[str]:
        """The mailbox keys of every contact's addresses."""
        return await self._read(contacts.every_key)

    async def ruled_out(self, account: str, ids: Iterable[str]) -> frozenset[str]:
        """Those of these Message-IDs that went through us, and are not to be logged now: it was decided then, or
        something of it is still owed. That nobody among the recipients was a contact yet decides nothing."""
        hashed = {self._database.hash_id(each): each for each in ids}
        return await self._read(functools.partial(_ruled_out, account=account, hashed=hashed))

    def _told(self, account: str) -> None:
        self._moved[account].set()
        self._moved.pop(account)

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)


def _ruled_out(connection: sa.Connection, account: str, hashed: dict[str, str]) -> frozenset[str]:
    owners = submissions.owners(connection, list(hashed), account)
    found = {digest: submissions.get(connection, owner) for digest, owner in owners.items()}
    return frozenset(
        hashed[digest]
        for digest, row in found.items()
        if row is not None and (row.because != NO_CONTACT or row.message_id)
    )
