"""A clock that tests turn by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Starts `at`; `advance(seconds)` wakes every sleeper whose time has come, in order."""

    def __init__(self, at: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)) -> None:
        self._at = at
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._names: dict[asyncio.Future[None], str] = {}
        self._slept = asyncio.Event()

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self._elapsed)

    def set_by(self, seconds: float) -> None:
        """The wall clock is set; what sleeps goes on sleeping."""
        self._at += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, wake))
        task = asyncio.current_task()
        self._names[wake] = task.get_name() if task else ""
        self._slept.set()
        try:
            await wake
        finally:
            del self._names[wake]

    def call_later(self, seconds: float, call: Callable[[], None], name: str) -> asyncio.Future[None]:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + max(seconds, 0.0), wake))
        self._names[wake] = name
        wake.add_done_callback(lambda done: self._names.pop(done))
        wake.add_done_callback(lambda done: None if done.cancelled() else call())
        self._slept.set()
        return wake

    def sleeping(self, task: str) -> int:
        """How many tasks of this name sleep now: only what sleeps already is woken by `advance`."""
        return sum(name == task and not wake.done() for wake, name in self._names.items())

    async def sleeper(self) -> None:
        """Until somebody sleeps on this clock."""
        while not any(not wake.done() for _, wake in self._sleepers):
            self._slept.clear()
            await self._slept.wait()

    async def advance(self, seconds: float) -> None:
        end = self._elapsed + seconds
        while due := sorted((at, i) for i, (at, wake) in enumerate(self._sleepers) if at <= end and not wake.done()):
            at, index = due[0]
            self._elapsed = max(self._elapsed, at)
            wake = self._sleepers.pop(index)[1]
            wake.set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self._elapsed = end
