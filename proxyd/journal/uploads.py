"""What clients are putting into Sent just now, and what the watcher is to look at because of it.

Held in memory, unlike all else that is recorded: an upload lives as long as the connection it comes on, and so no
longer than this process. After a crash the watcher looks before it appends anyhow, and reads on from where it stood.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from proxyd.model import Found
from proxyd.workers import Clock, start


@dataclass(frozen=True, slots=True, eq=False)
class Uploading:
    """The client's own copy of submission `id`, on its way through us; or held back (`held`) while the provider's is
    waited for."""

    id: str
    since: datetime
    held: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LookNow:
    """The watcher is to look for the Sent copy of submission `id`. `uploaded`: the client has put one there, at `found`
    where the server told. `answer`: whether there is a copy."""

    id: str
    uploaded: bool = False
    found: Found | None = None
    answer: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Uploads:
    """Every account's. On the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[str, list[Uploading]] = defaultdict(list)  # by submission
        self._looks: dict[str, list[LookNow]] = defaultdict(list)  # by account
        self._waiters: dict[str, list[asyncio.Future[None]]] = defaultdict(list)  # by submission

    # --- uploads under way

    def begin(self, id: str, at: datetime, *, held: bool = False) -> Uploading:
        upload = Uploading(id, at, held)
        self._under_way[id].append(upload)
        return upload

    def end(self, upload: Uploading) -> None:
        """It came to its end, whatever that is. Ending twice changes nothing."""
        left = [each for each in self._under_way.pop(upload.id, []) if each is not upload]
        if left:
            self._under_way[upload.id] = left

    def since(self, id: str) -> datetime | None:
        """When the newest upload of this message began that is under way or held back."""
        return max((each.since for each in self._under_way.get(id, ())), default=None)

    def passes(self, id: str, since: datetime) -> bool:
        """Is one, begun after `since`, on its way to the provider?"""
        return any(each.since > since and not each.held for each in self._under_way.get(id, ()))

    # --- what is to be looked at

    def want(self, account: str, look: LookNow) -> None:
        """Whoever asks wakes the watcher as well (`Wakes.copies`)."""
        self._looks[account].append(look)

    def wanted(self, account: str) -> tuple[LookNow, ...]:
        return tuple(self._looks.get(account, ()))

    def looked(self, account: str, look: LookNow, *, there: bool = False) -> None:
        """It was done, or is not wanted any more."""
        left = [each for each in self._looks.pop(account, []) if each is not look]
        if left:
            self._looks[account] = left
        if not look.answer.done():
            look.answer.set_result(there)

    # --- waiting for a copy

    @contextmanager
    def listening(self, id: str) -> Iterator[asyncio.Future[None]]:
        """Done the next time that the copy is put on record, from now on."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[id].append(waiter)
        try:
            yield waiter
        finally:
            left = [each for each in self._waiters.pop(id, []) if each is not waiter]
            if left:
                self._waiters[id] = left
            waiter.cancel()

    async def within(self, waiter: asyncio.Future[Any], seconds: float) -> None:
        """Until it is done, for at most so long."""
        over: asyncio.Future[Any] = start(self._clock.sleep(seconds), "wait for a Sent copy")
        try:
            await asyncio.wait([waiter, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()

    def present(self, id: str) -> None:
        for waiter in self._waiters.get(id, ()):
            if not waiter.done():
                waiter.set_result(None)
