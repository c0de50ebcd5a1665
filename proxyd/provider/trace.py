"""A wire trace of one account, for as long as somebody listens: what `formats/redacted` lets through, and nothing else.

A tap costs one look at an empty list where nobody listens. It is told from the loop and from worker threads alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from proxyd.formats import redacted

MOST_LINES = 10_000  # that wait for a listener who reads slowly; what comes then is lost, and it is said


class Trace:
    """What a listener hears: `next` is the next line."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def tell(self, line: str) -> None:
        """From any thread."""
        if self._lines.qsize() < MOST_LINES:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

    async def next(self) -> str:
        return await self._lines.get()


class Tap:
    """One account's."""

    def __init__(self) -> None:
        self._traces: tuple[Trace, ...] = ()

    @contextmanager
    def listening(self) -> Iterator[Trace]:
        trace = Trace()
        self._traces = (*self._traces, trace)
        try:
            yield trace
        finally:
            self._traces = tuple(each for each in self._traces if each is not trace)

    @property
    def is_heard(self) -> bool:
        return bool(self._traces)

    def smtp_sent(self, octets: bytes | memoryview) -> None:
        if self._traces:
            self._tell("SMTP >", redacted.smtp_sent(bytes(octets[:65536])))

    def smtp_got(self, code: int, lines: Iterable[str]) -> None:
        if self._traces:
            self._tell("SMTP <", (redacted.smtp_got(f"{code} {line}".encode()) for line in lines))

    def imap_sent(self, octets: bytes) -> None:
        if self._traces:
            self._tell("IMAP >", redacted.imap_sent(octets))

    def imap_got(self, line: bytes) -> None:
        if self._traces:
            self._tell("IMAP <", (redacted.imap_got(line),))

    def _tell(self, way: str, lines: Iterable[str]) -> None:
        for line in lines:
            for trace in self._traces:
                trace.tell(f"{way} {line}")


class Taps:
    """Every account's, by its address."""

    def __init__(self) -> None:
        self._taps: dict[str, Tap] = {}

    def of(self, account: str) -> Tap:
        return self._taps.setdefault(account, Tap())
