"""Tests written as asyncio coroutines, run on the loop that the daemon runs on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

TIMEOUT = (
    90.0  # seconds, more than anything in it waits for one thing; a test that hangs must say where, not stop the run
)


def on_the_loop(
    test: Callable[..., Coroutine[Any, Any, None]] | None = None, *, timeout: float = TIMEOUT
) -> Callable[..., Any]:
    """Run an `async def` test on Twisted's asyncio reactor, for at most `timeout` seconds."""
    if test is None:
        return functools.partial(on_the_loop, timeout=timeout)

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        async def bounded() -> None:
            async with asyncio.timeout(timeout):
                await test(*args, **kwargs)

        async def started() -> None:
            await Deferred.fromFuture(asyncio.ensure_future(bounded()))

        import pytest_twisted

        return pytest_twisted.ensureDeferred(started)()

    return run
