"""What changed just now, for whoever shows it live. Hints: the tables are the truth, and a hint holds no content."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

MOST_UNHEARD = 1000  # hints that one listener may leave lying; then it is told to read everything anew


class What(StrEnum):
    MESSAGE = "message"
    ACCOUNT = "account"
    CONTACT = "contact"
    EVERYTHING = "everything"  # hints were lost
    RIGHTS = "rights"  # who may listen, and to what, may be another by now


@dataclass(frozen=True, slots=True)
class Change:
    """`about` is a logged message's or a submission's id, an account's address, a contact's mailbox key."""

    what: What
    about: str


class Listener:
    """One who listens."""

    def __init__(self) -> None:
        self._unheard: asyncio.Queue[Change] = asyncio.Queue()

    def hear(self, change: Change) -> None:
        if self._unheard.qsize() >= MOST_UNHEARD:
            while not self._unheard.empty():
                self._unheard.get_nowait()
            change = Change(What.EVERYTHING, "")
        self._unheard.put_nowait(change)

    async def next(self) -> Change:
        return await self._unheard.get()


class Changes:
    """Tells every listener. On the event loop's thread."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    @property
    def heard_by(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def tell(self, what: What, about: str) -> None:
        for each in self._listeners:
            each.hear(Change(what, about))

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
