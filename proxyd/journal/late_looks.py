"""Which looks for answers are due that were read too early. The table is the truth: a killed daemon looks again."""

from __future__ import annotations

from collections.abc import Sequence

from proxyd.store import late_looks
from proxyd.store.database import Database
from proxyd.store.late_looks import LateLook
from proxyd.workers import Workers

__all__ = ["LateLook", "LateLooks"]


class LateLooks:
    """Every account's."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers

    async def due(self, account: str, most: int) -> list[LateLook]:
        """The oldest first, at most so many."""
        return await self._workers.run(self._database.read, lambda c: late_looks.due(c, account, most))

    async def done(self, looks: Sequence[LateLook]) -> None:
        """They came to their end: one that still stood there would be made again at once."""
        await self._database.write(lambda c: late_looks.done(c, looks))
