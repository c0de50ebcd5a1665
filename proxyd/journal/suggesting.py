"""What is kept of suggestions, and the person's word on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from ulid import ULID

from proxyd.model import Found, Heading, MailAddress
from proxyd.rules.suggestions import LIVE, MOST_OPEN, MOST_PEOPLE, LiveThread, Suggested
from proxyd.store import suggestions
from proxyd.store.database import Database
from proxyd.store.suggestions import Suggestion
from proxyd.workers import Clock, Signal, Workers

__all__ = ["Suggestion", "Suggestions"]

T = TypeVar("T")


class Suggestions:
    """Every account's."""

    def __init__(self, database: Database, workers: Workers, clock: Clock) -> None:
        self._database = database
        self._workers = workers
        self._clock = clock
        self._told: dict[str, Signal] = defaultdict(Signal)
        self._looked: set[str] = set()  # accounts of which nothing accepted waits, as far as we were told

    def told(self, account: str) -> Signal:
        """Set when a person accepts something. A hint: the table is the truth."""
        return self._told[account]

    def tell(self, account: str) -> None:
        self._looked.discard(account)
        self._told[account].set()

    async def people(self, account: str) -> list[str]:
        since = self._clock.now() - LIVE
        return await self._read(lambda c: suggestions.live_people(c, account, since, MOST_PEOPLE))

    async def threads(self, account: str, people: Sequence[str]) -> list[LiveThread]:
        since = self._clock.now() - LIVE
        return await self._read(lambda c: suggestions.live_threads(c, account, since, people))

    async def add(self, account: str, found: Found, heading: Heading, suggested: Suggested) -> bool:
        """`heading` is of the few fields that were read. False where it was suggested or refused before."""
        now = self._clock.now()
        author = heading.from_[0] if heading.from_ else MailAddress("", "")
        row = Suggestion(
            id=str(ULID.from_datetime(now)),
            account=account,
            folder=found.folder,
            uidvalidity=found.uidvalidity,
            uid=found.uid,
            message_id=heading.message_id,
            id_hash=self.hash(heading),
            author={"name": author.name, "address": author.address},
            subject=heading.subject,
            date=heading.date or now,
            thread=suggested.thread,
            message=suggested.message,
            because=suggested.because,
            state=suggestions.OPEN,
            at=now,
        )
        return await self._database.write(lambda c: suggestions.add(c, row, MOST_OPEN))

    def hash(self, heading: Heading) -> str:
        """Stands for a message: by its id, or where it has none by what was read of it."""
        said = (heading.date, heading.subject, *(each.address for each in heading.from_))
        return self._database.hash_id(heading.message_id or repr(said))

    async def waiting(self, account: str) -> list[Suggestion]:
        """Accepted, and not in the log yet. The table is asked once, and then when something was accepted."""
        if account in self._looked:
            return []
        self._looked.add(account)
        return await self._read(lambda c: suggestions.waiting(c, [account], suggestions.ACCEPTED))

    async def done(self, id: str) -> None:
        await self._database.write(lambda c: suggestions.drop(c, id))

    async def tidy(self, now: datetime) -> None:
        await self._database.write(lambda c: suggestions.drop_older(c, now - LIVE))

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)
