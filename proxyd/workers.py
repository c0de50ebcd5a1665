"""Bounded threads for what blocks, tasks that are kept, and the clock that is passed in.

Why this way: imapclient and the database drivers block, so their calls run in a bounded pool. A `Lane` gives one
connection's calls their order: one at a time, in the order asked. Everything that awaits is asyncio; this module alone
knows threads, so that Twisted's and asyncio's ideas of cancellation never meet anywhere else.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger()

_running: set[asyncio.Task[Any]] = set()


def start(coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task and keep it; what it raises is logged by name, never lost in silence."""
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def begin(coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task that is going to be awaited: what it raises is heard there, or by nobody where it is given up."""
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_left)
    return task


def _left(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # marks it as heard


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task failed", task=task.get_name(), exc_info=error)


class Signal:
    """As asyncio.Event, in a tenth of its memory: every mailbox has some, and hardly any is ever waited for.

    Instead of a task that waits for it, `heard_by` may be called soon after each time that it is set.
    """

    __slots__ = ("_is_set", "_waiting", "heard_by")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()
        self.heard_by: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        if self.heard_by is not None:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self.heard_by is not None:
            self.heard_by()

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Until it is set; at once where it is."""
        if self._is_set:
            return
        woken = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, woken)
        try:
            await woken
        finally:
            self._waiting = tuple(each for each in self._waiting if each is not woken)


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where every part of the daemon gets its time, so that tests can turn it."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, call: Callable[[], None], name: str) -> Timer:
        """Without a task that sleeps; `name` is for tests, which wait until it is there."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, call: Callable[[], None], name: str) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, call)


M_ARENA_MAX = -8  # of glibc's malloc.h


def share_heaps() -> None:
    """glibc gives each thread a heap of its own. What thousands of connections hold lies scattered over all of them
    then, and the holes in between cost each connection several KiB. Two are enough for threads that take turns."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(M_ARENA_MAX, 2)


class Workers:
    """A bounded pool of threads. `limit` is how many blocking calls run at the same time.

    No more than these are handed to the pool: in its queue a call takes ten times the memory of one that waits here.
    """

    def __init__(self, limit: int = 16) -> None:
        share_heaps()
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="proxyd")
        self._free = asyncio.Semaphore(limit)
        self._most_for_one = max(1, limit // 3)
        self._few: dict[object, asyncio.Semaphore] = {}

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Call `fn(*args)` in a thread. A cancelled await does not stop the call: it runs to its end unheard."""
        async with self._free:
            return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    def few(self, other_side: object) -> asyncio.Semaphore:
        """Around calls that may wait long for this `other_side`: it gets a third of the threads at most. Where it hangs
        the others go on; and a thousand accounts that start at once do not hold all that signing in takes at once."""
        return self._few.setdefault(other_side, asyncio.Semaphore(self._most_for_one))

    def lane(self) -> Lane:
        return Lane(self)

    def close(self) -> None:
        """No new calls; those that run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Lane:
    """One connection's calls: one at a time, in the order asked, each in whatever thread is free."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._turn = asyncio.Lock()

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """As `Workers.run`. Where the await is cancelled, the lane stays taken until the call has really ended."""
        await self._turn.acquire()
        try:
            call = asyncio.ensure_future(self._workers.run(fn, *args))
        except BaseException:
            self._turn.release()
            raise
        call.add_done_callback(self._free)
        return await asyncio.shield(call)

    def _free(self, call: asyncio.Future[Any]) -> None:
        self._turn.release()
        if not call.cancelled():
            call.exception()  # heard here too, for the case that nobody awaits it any more
