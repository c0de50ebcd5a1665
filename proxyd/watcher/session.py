"""An account's signed-in connections, and the door through which every one of them comes.

A `Session` is one connection with the lane its commands run in and the place where it is parked; one task uses it at a
time. The `Door` lets one sign-in in at a time, says every outcome to the journal, and keeps the waits between tries
that the rules name, for all connections of the account together: a refused password is not tried twice as often
because there are two connections.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Container
from typing import Any, Concatenate, ParamSpec, TypeVar

from proxyd.config import Account
from proxyd.config.sealed_files import NO_SEAL
from proxyd.errors import ProxydError
from proxyd.journal import Journal
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider.allowance import Allowance
from proxyd.provider.allowance import Place as Counted
from proxyd.provider.imap import Connection, Told, health_of
from proxyd.provider.parking import Place
from proxyd.provider.sign_in import SignIn, SignIns, once_more
from proxyd.provider.trace import Tap
from proxyd.rules import connection as rules
from proxyd.rules import retry
from proxyd.workers import Clock, Lane, Signal, Workers, begin, start

P = ParamSpec("P")
T = TypeVar("T")


class Session:
    def __init__(
        self, connection: Connection, lane: Lane, place: Place, counted: Counted, on_answer: Callable[[], None]
    ) -> None:
        """`counted` is its place among the account's connections; `on_answer` hears of every answer after a wait."""
        self._connection = connection
        self._lane = lane
        self._place = place
        self._counted = counted
        self._on_answer = on_answer

    async def do(self, command: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One command: `await session.do(Connection.examine, "INBOX")`."""
        return await self._lane.run(lambda: command(self._connection, *args, **kwargs))

    def begin(
        self, command: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[T]:
        """As `do`, begun now and awaited later, or cancelled; others may be asked for meanwhile and come behind it."""
        return begin(self.do(command, *args, **kwargs), "session: ahead")

    async def park(self, seconds: float) -> bool:
        """In IDLE for at most `seconds`, or until a nudge; True = new mail was announced."""
        news = await self._place.wait(self._connection, self._lane, seconds)
        self._on_answer()
        return news

    async def pause(self, seconds: float) -> None:
        """Without IDLE, where no folder is open: until a nudge, at most `seconds`."""
        await self._place.pause(seconds)

    def nudge(self) -> None:
        self._place.nudge()

    def heed(self, folders: Container[str]) -> None:
        """Being told of these wakes whoever is parked; of others the server may tell what it likes."""
        self._connection.heeds = folders

    def take_told(self) -> Told:
        """What the server told by itself: of other folders, of marks."""
        return self._connection.take_told()

    @property
    def selected(self) -> str | None:
        """The folder that is open."""
        return self._connection.selected

    def take_news(self) -> bool:
        """Whether a command's answer told of new mail beside what it was asked."""
        return self._connection.take_news()

    @property
    def moved(self) -> int:
        """How often anything came from the server, or went to it: it stands still where nobody answers."""
        return self._connection.moved

    async def close(self) -> None:
        try:
            await self._lane.run(self._connection.close)
        finally:
            self._counted.leave()

    def drop(self) -> None:
        """End it from outside: whoever works with it hears Unreachable."""
        self._connection.drop()


class Door:
    def __init__(
        self,
        account: Account,
        journal: Journal,
        workers: Workers,
        clock: Clock,
        reactor: Any,
        tls_context: ssl.SSLContext | None,
        jitter: Callable[[], float],
        allowance: Allowance,
        secret: SignIn | None = None,
        tap: Tap | None = None,
    ) -> None:
        """`secret` is the account's own, shared by all that sign in to it; made here where nobody else does."""
        self._account = account
        self._secret = secret or SignIns(workers, clock, NO_SEAL).of(account)
        self._journal = journal
        self._workers = workers
        self._clock = clock
        self._reactor = reactor
        self._tls_context = tls_context
        self._jitter = jitter
        self._allowance = allowance
        self._tap = tap or Tap()
        self._one_at_a_time = asyncio.Lock()
        self._hurry = Signal()
        self._failures = 0  # in a row
        # On the clock's monotonic scale; what was refused before a restart keeps its wait.
        self._not_before = clock.monotonic() + rules.rest(journal.condition(account.address), "IMAP", clock.now())

    async def open(
        self,
        on_failure: Callable[[ProxydError], Any] | None = None,
        wanted: Callable[[], bool] = lambda: True,
        place: Callable[[], Counted] | None = None,
    ) -> Session | None:
        """A signed-in session, tried for as long as it takes, or until it is no more `wanted`: None. `on_failure` is
        awaited after each failed try. `place` gives its place among the account's connections; by default it is one of
        the watcher's."""
        while True:
            async with self._one_at_a_time:
                await self._wait()
                if place is None:
                    await self._allowance.settled()
                if not wanted():
                    return None
                try:
                    session = await self._sign_in(place or self._allowance.watcher)
                except ProxydError as error:
                    if self._too_many(error):
                        continue
                    await self.failed(error)
                    failure = error
                else:
                    await self._journal.health(self._account.address, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))
                    return session
            if on_failure is not None:
                await on_failure(failure)

    async def once(self) -> Session:
        """A signed-in session now, whatever was to be waited for. Raises ProxydError; it is tried once, and nothing is
        said of the account's health: for what can wait."""
        async with self._one_at_a_time:
            return await self._sign_in(self._allowance.watcher)

    def _too_many(self, error: ProxydError) -> bool:
        """The provider finds our connections too many, while others stand: no trouble, but a place less for us."""
        share = self._allowance.share
        return self._allowance.refused(error) and self._allowance.share < share

    async def failed(self, error: ProxydError) -> None:
        """A try, or a connection that stood, came to nothing: say so, and how long nobody tries."""
        condition = await self._journal.health(self._account.address, health_of(error))
        asked = getattr(error, "after", None)
        self._hold(rules.retry_after(condition, self._failures, self._jitter(), asked=asked))

    def troubled(self) -> None:
        """It was our own side that failed, the store for one: the account's health is not touched, only time passes."""
        self._hold(retry.delay(self._failures, self._jitter()))

    def _hold(self, seconds: float) -> None:
        self._failures += 1
        if not self._hurry.is_set():  # else the retry asked for meanwhile is still to come
            self._not_before = self._clock.monotonic() + seconds

    def well(self) -> None:
        """A connection has done what it is for: the next failure is a first one."""
        self._failures = 0

    def hurry(self) -> None:
        """Try now, whatever was to be waited for."""
        self._failures = 0
        self._not_before = 0.0
        self._hurry.set()

    async def _wait(self) -> None:
        while (left := self._not_before - self._clock.monotonic()) > 0:
            timer = start(self._clock.sleep(left), "door: wait")
            hurried = start(self._hurry.wait(), "door: hurry")
            try:
                await asyncio.wait({timer, hurried}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                hurried.cancel()
        self._hurry.clear()

    async def _sign_in(self, place: Callable[[], Counted]) -> Session:
        return await once_more(self._secret, functools.partial(self._sign_in_with, place))

    async def _sign_in_with(self, place: Callable[[], Counted], secret: str) -> Session:
        server = self._account.provider.imap
        lane = self._workers.lane()
        counted = place()
        try:
            made: list[Connection] = []

            def sign_in() -> None:
                """In one go: where thousands start, a connection that waits for its sign-in behind all others is
                closed by the server meanwhile."""
                made.append(Connection.open(server.host, server.port, server.tls, self._tls_context))
                made[0].traced_by(self._tap)
                made[0].sign_in(self._account.sign_in.imap_user, secret)

            try:
                async with self._workers.few((server.host, server.port)):
                    await lane.run(sign_in)
            except BaseException:
                for each in made:
                    each.drop()
                    await lane.run(each.close)
                raise
            (connection,) = made
        except BaseException:
            counted.leave()
            raise
        parking = Place(self._reactor, self._clock, self._account.provider.idle)
        return Session(connection, lane, parking, counted, self._heard)

    def _heard(self) -> None:
        self._journal.heard(self._account.address)
