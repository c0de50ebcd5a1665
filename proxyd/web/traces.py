"""A wire trace as it happens, line by line, for `proxyd trace`: bounded in time and in size."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from proxyd.provider.trace import Tap, Trace
from proxyd.web.problems import Request
from proxyd.web.streaming import gone
from proxyd.workers import Clock, start

MOST = 1024 * 1024  # octets of one trace
LONGEST = 3600  # seconds


async def write_trace(request: Request, tap: Tap, seconds: float, clock: Clock) -> bytes:
    """Until the time is over, or enough was said, or nobody listens any more."""
    request.setHeader("content-type", "text/plain; charset=utf-8")
    request.setHeader("cache-control", "no-store")
    lost = gone(request)
    over: asyncio.Future[Any] = start(clock.sleep(seconds), "trace: time")
    left = MOST
    try:
        with tap.listening() as trace:
            request.write(b"\n")  # whoever asked knows that it has begun
            while left > 0:
                line = await _next(trace, lost, over)
                if line is None:
                    return b""
                octets = f"{_now(clock)} {line}\n".encode()
                left -= len(octets)
                request.write(octets)
        return b"(enough was said: the trace ends here)\n"
    finally:
        over.cancel()


async def _next(trace: Trace, *ends: asyncio.Future[Any]) -> str | None:
    heard: asyncio.Future[str] = start(trace.next(), "trace: line")
    await asyncio.wait({heard, *ends}, return_when=asyncio.FIRST_COMPLETED)
    if any(each.done() for each in ends):
        heard.cancel()
        return None
    return heard.result()


def _now(clock: Clock) -> str:
    at: datetime = clock.now()
    return at.isoformat(timespec="milliseconds").partition("T")[2].removesuffix("+00:00")
