"""Answers that go out piece by piece, to whoever reads as fast as they like; and requests whose bodies are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from io import BytesIO

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.server import Request as TwistedRequest
from zope.interface.declarations import implementer

from proxyd.web.problems import Request
from proxyd.workers import Workers


async def write_chunks(request: Request, chunks: Iterator[bytes], workers: Workers) -> bytes:
    """Chunk by chunk, each read in a thread when the one before has gone out: a 25 MB message costs a buffer."""
    room = Room()
    request.registerProducer(room, True)
    try:
        while await room.left() and (chunk := await workers.run(next, chunks, None)) is not None:
            request.write(chunk)
    except asyncio.CancelledError:
        if request.channel is not None:
            raise
        # Whoever asked has gone: klein cancels what nobody waits for, and would log it as a fault.
    finally:
        if request.channel is not None:  # the connection stands
            request.unregisterProducer()
    return b""


@implementer(IPushProducer)  # type: ignore[no-untyped-call]
class Room:
    """Tells whether the transport has room for more, or nobody reads any more."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.stopped = asyncio.Event()

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    def stopProducing(self) -> None:
        self.stopped.set()
        self._open.set()

    async def left(self) -> bool:
        """Waits for room; False once nobody reads any more."""
        await self._open.wait()
        return not self.stopped.is_set()


def gone(request: Request) -> asyncio.Future[None]:
    """Done when the asker's connection is lost before the answer has ended."""
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def lost(_why: Failure) -> None:
        if not left.done():
            left.set_result(None)

    request.notifyFinish().addErrback(lost)
    return left


class BoundedRequest(TwistedRequest):
    """A request whose body is held in memory up to what `room` grants it; the rest is dropped as it comes.

    Why: Twisted would keep any body whole, whoever sends it, and in a file of the disk in the clear where it is long.
    """

    room: Callable[[Request], int] = staticmethod(lambda request: 0)
    too_long = False
    _left = 0

    def gotLength(self, length: int | None) -> None:
        self.content = self._body = BytesIO()
        self._left = self.room(self)

    def handleContentChunk(self, data: bytes) -> None:
        taken = data[: self._left]
        self._left -= len(taken)
        self.too_long = self.too_long or len(taken) < len(data)
        self._body.write(taken)


def bounded(room: Callable[[Request], int]) -> type[BoundedRequest]:
    """A request class for a Site. `room` is asked when the header section is there, and says how many octets of the
    body are taken."""
    return type("Bounded", (BoundedRequest,), {"room": staticmethod(room)})
