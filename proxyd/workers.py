"""Bounded threads for what blocks, tasks that are kept, and the clock that is passed in.

Why this way: imapclient and the database drivers block, so their calls run in a bounded pool. A `Lane` gives one
connection's calls their order: one at a time, in the order asked. Everything that awaits is asyncio; this module alone
knows threads, so that Twisted's and asyncio's ideas of cancellation never meet anywhere else.
"""

from __future__ import annotations

import asyncio
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


class Clock(Protocol):
    """Where every part of the daemon gets its time, so that tests can turn it."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Workers:
    """A bounded pool of threads. `limit` is how many blocking calls run at the same time."""

    def __init__(self, limit: int = 16) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="proxyd")

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Call `fn(*args)` in a thread. A cancelled await does not stop the call: it runs to its end unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

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
