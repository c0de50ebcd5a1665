"""What is known of Sent copies: which are due, and whose a message in the Sent folder is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

import sqlalchemy as sa

from proxyd.journal import finding
from proxyd.journal.finding import DueCopy, KeepContent
from proxyd.store.database import Database, portions
from proxyd.workers import Workers

T = TypeVar("T")


class Copies:
    """Every account's. What becomes of one is told by `Journal.record`."""

    def __init__(self, database: Database, workers: Workers, kept: KeepContent) -> None:
        self._database = database
        self._workers = workers
        self._kept = kept

    async def due(self, account: str) -> list[DueCopy]:
        """Every one that is still waited for, whenever it is due."""
        return await self._read(lambda c: finding.due_copies(c, account, self._kept))

    async def owned(self, account: str, ids: Iterable[str]) -> dict[str, DueCopy]:
        """Those, settled ones too, that belong to these Message-IDs: a client may upload hours later."""
        copies: dict[str, DueCopy] = {}
        for wanted in portions(ids):
            copies |= await self._read(
                functools.partial(
                    finding.copies_of, account=account, ids=wanted, hash=self._database.hash_id, keep=self._kept
                )
            )
        return copies

    async def of(self, id: str) -> DueCopy | None:
        """The one of a submission, whatever has become of it."""
        return await self._read(lambda c: finding.copy(c, id, self._kept))

    async def alike(self, account: str, fingerprint: str) -> DueCopy | None:
        """The newest one, settled or not, of a message that says the same (`formats.message.copy_fingerprint`): for
        uploads that carry no Message-ID."""
        name = finding.alike(fingerprint)
        return (await self.owned(account, [name])).get(name)

    async def promised(self, account: str) -> list[DueCopy]:
        """Those that are there, and do not carry yet what a client was promised of them."""
        return await self._read(lambda c: finding.promised_copies(c, account, self._kept))

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)
