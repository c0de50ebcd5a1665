"""A connection in IDLE, parked in the reactor: it costs a socket and some memory, and no thread.

`Place.wait` sends IDLE in a worker, hands the socket to the reactor as a reader, and takes it back when the server
tells of mail (in the open folder or, where NOTIFY was asked for, in another), when somebody nudges, or when the time is
over; then it ends IDLE. The reader looks only at whole lines (`Connection.parked_news` never blocks): half a line stays
parked until the rest comes, and what says nothing of new mail (`* OK Still here`, flags) wakes nobody. The server's end
is heard at once and raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.declarations import implementer

from proxyd.errors import ProxydError
from proxyd.provider.imap import Connection
from proxyd.workers import Clock, Lane

RENEW = 9 * 60.0  # seconds an IDLE stands at most: home routers forget a silent connection after ten minutes and more

POLL = 60.0  # seconds between two looks at a server that has no IDLE


@implementer(IReadDescriptor)  # type: ignore[no-untyped-call]
class _Reader:
    """What the reactor sees of a parked connection."""

    def __init__(self, connection: Connection, done: Callable[[ProxydError | None], None]) -> None:
        self._connection = connection
        self._done = done

    def fileno(self) -> int:
        return self._connection.fileno()

    def doRead(self) -> None:
        try:
            if self._connection.parked_news():
                self._done(None)
        except ProxydError as error:
            self._done(error)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or cannot watch the socket any more: whoever waits looks for himself."""
        self._done(None)

    def logPrefix(self) -> str:
        return "parked"


class Place:
    """Where one connection waits. A nudge while nobody waits is kept for the next wait."""

    def __init__(self, reactor: Any, clock: Clock, renew: float = RENEW) -> None:
        """`reactor` provides IReactorFDSet; `renew` is how long an IDLE stands at most."""
        self._reactor = reactor
        self._clock = clock
        self._renew = renew
        self._nudged = False
        self._woken: asyncio.Future[None] | None = None

    def nudge(self) -> None:
        """Wake whoever waits here: there is work that the server knows nothing of. From the loop's thread."""
        self._nudged = True
        self._wake(None)

    async def wait(self, connection: Connection, lane: Lane, seconds: float) -> bool:
        """Park for at most `seconds` (and at most `renew`). True = the server announced new mail in the open folder.

        Where the server has no IDLE it is asked after at most POLL. Raises Unreachable, Throttled.
        """
        if self._nudged or seconds <= 0:
            self._nudged = False
            return connection.take_news()
        seconds = min(seconds, self._renew)
        if not await lane.run(connection.has, "IDLE"):
            await self.pause(min(seconds, POLL))
            await lane.run(connection.noop)
            return connection.take_news()
        if not await lane.run(connection.idle):
            reader = _Reader(connection, self._wake)
            self._reactor.addReader(reader)
            try:
                await self.pause(seconds)
            finally:
                self._reactor.removeReader(reader)
        await lane.run(connection.idle_done)
        return connection.take_news()

    async def pause(self, seconds: float) -> None:
        """Let time pass, or until a nudge."""
        if self._nudged:
            self._nudged = False
            return
        self._woken = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, self._over, "parking: time is over")
        try:
            await self._woken
        finally:
            timer.cancel()
            self._woken = None
            self._nudged = False

    def _over(self) -> None:
        self._wake(None)

    def _wake(self, error: ProxydError | None) -> None:
        if self._woken is not None and not self._woken.done():
            if error is None:
                self._woken.set_result(None)
            else:
                self._woken.set_exception(error)
