"""The account's IMAP connections at its provider, counted: those of the person's clients and the watcher's.

Who opens one takes a `Place` before, and leaves it when the connection is closed. `rules.allowance` says how many there
are and who gives way; here it is counted, the watcher is told, and what the provider said of it is remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError, TryLater
from proxyd.rules import allowance as rules
from proxyd.workers import Clock, Signal, start

GIVE_WAY = 3.0  # seconds that a client waits for the watcher to close a connection, where there is no place to spare
SETTLE = 0.5  # seconds for the provider to see that a connection is closed
BACK_AFTER = 30.0  # seconds before the watcher takes a place that a client left: most clients come back soon

T = TypeVar("T")
log = structlog.get_logger()


class Crowded(TryLater):
    """The person's clients have every connection that there is."""


class Place:
    """One connection at the provider, from before it is opened until it is closed. `with` leaves it at the end."""

    def __init__(self, leave: Callable[[Place], None]) -> None:
        self.socket: Any = None  # of the connection, where whoever opened it says so
        self._leave: Callable[[Place], None] | None = leave

    def leave(self) -> None:
        """The connection is closed, or never came to be. The second time does nothing."""
        self.socket = None
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()


@dataclass(frozen=True, slots=True)
class Connections:
    """How many stand, for `status`. `told` is how the mailbox is watched, for a person."""

    clients: int
    watcher: int
    cap: int
    told: str


class Allowance:
    """One account's. `connections` gives the cap; `remember` is called with what was learned of it."""

    def __init__(
        self,
        connections: Callable[[], int],
        clock: Clock,
        remember: Callable[[rules.Learned], Any] = lambda learned: None,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._remember = remember
        self._learned: rules.Learned | None = None
        self._clients: list[Place] = []
        self._watchers: list[Place] = []
        self._guests: list[Place] = []  # of work that can wait, going through earlier mail
        self._resting = 0  # places that clients left a moment ago, which the watcher does not take yet
        self._changed = Signal()
        self._last_share = rules.WATCHER
        self.on_change: Callable[[], None] = lambda: None  # the watcher's share is another

    # --- what stands

    @property
    def limit(self) -> rules.Limit:
        return rules.limit(self._connections(), self._learned, self._clock.now())

    @property
    def places(self) -> tuple[Place, ...]:
        """The clients'."""
        return tuple(self._clients)

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    @property
    def share(self) -> int:
        """How many connections the watcher may have now."""
        return self.limit.watcher(len(self._clients) + self._resting + len(self._guests))

    @property
    def guest_welcome(self) -> bool:
        """May work that can wait have a connection now? It may where the clients leave one."""
        return self.limit.watcher(len(self._clients) + self._resting) >= 1

    @property
    def told(self) -> str:
        """How the mailbox is watched, for a person."""
        return self.limit.told(len(self._clients) + self._resting, len(self._guests))

    @property
    def state(self) -> Connections:
        return Connections(len(self._clients), len(self._watchers), self.limit.cap, self.told)

    @property
    def _standing(self) -> int:
        return len(self._clients) + len(self._watchers) + len(self._guests)

    # --- coming and going

    async def client(self) -> Place | None:
        """A place for a client's connection, the watcher having given way; None where clients have every one."""
        if not self.limit.takes_client(len(self._clients)):
            return None
        place = Place(self._client_left)
        self._clients.append(place)
        self._resting = max(self._resting - 1, 0)
        self._told_of_change()
        try:
            await self._room()
        except BaseException:
            place.leave()
            raise
        return place

    async def _room(self) -> None:
        """Until there are no more connections than the provider has places; not for long."""
        try:
            async with asyncio.timeout(GIVE_WAY):
                while self._standing > self.limit.cap and (self._watchers or self._guests):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.info("the watcher is slow to give way")

    async def opened(self, connect: Callable[[], Awaitable[T]]) -> tuple[T, Place]:
        """A client's connection, by `connect`, and its place, which is to be left when the connection is closed.

        Where the provider finds them too many and the watcher has some, it gives way and `connect` is tried once more.
        Raises Crowded, and what `connect` raises.
        """
        try:
            return await self._try(connect)
        except TryLater as error:
            if not self.refused(error) or not (self._watchers or self._guests):
                raise self._crowded(error) from error
        await self._clock.sleep(SETTLE)
        try:
            return await self._try(connect)
        except TryLater as error:
            self.refused(error)
            raise self._crowded(error) from error

    def _crowded(self, error: TryLater) -> TryLater:
        """Where others of the account stand, it is not the account that is in trouble."""
        said = error.evidence or str(error)
        others = self._standing
        if isinstance(error, Crowded) or not others or not rules.says_too_many(said):
            return error
        return Crowded(f"the provider allows no more than {others} connections for now: {said}", evidence=said)

    async def _try(self, connect: Callable[[], Awaitable[T]]) -> tuple[T, Place]:
        place = await self.client()
        if place is None:
            evidence = self.limit.evidence
            words = f": {evidence}" if evidence else ""
            raise Crowded(f"{len(self._clients)} connections of mail clients are all that there may be{words}")
        try:
            return await connect(), place
        except BaseException:
            place.leave()
            raise

    async def settled(self) -> None:
        """Until the watcher's own connections that are one too many are closed; not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_WAY):
                while len(self._watchers) >= max(self.share, 1):
                    self._changed.clear()
                    await self._changed.wait()

    def watcher(self) -> Place:
        """A place for a connection of the watcher's. Whether it may have one, `share` says."""
        place = Place(self._watcher_left)
        self._watchers.append(place)
        return place

    async def guest_may_come(self) -> None:
        """Until work that can wait may have a connection."""
        while not self.guest_welcome:
            self._changed.clear()
            await self._changed.wait()

    def guest(self) -> Place:
        """A place for a connection of work that can wait; the watcher has one less, where there are few. Whether it
        may have one, and keep it, `guest_welcome` says."""
        place = Place(self._guest_left)
        self._guests.append(place)
        self._told_of_change()
        return place

    def _guest_left(self, place: Place) -> None:
        self._guests.remove(place)
        self._told_of_change()

    def _client_left(self, place: Place) -> None:
        before = self.share
        self._clients.remove(place)
        if self.share != before:
            self._resting += 1
            start(self._rest_over(), "allowance: rest")
        self._told_of_change()

    async def _rest_over(self) -> None:
        await self._clock.sleep(BACK_AFTER)
        if self._resting:
            self._resting -= 1
            self._told_of_change()

    def _watcher_left(self, place: Place) -> None:
        self._watchers.remove(place)
        self._told_of_change()

    def _told_of_change(self) -> None:
        self._changed.set()
        if self.share != self._last_share:
            self._last_share = self.share
            self.on_change()

    # --- what the provider says of it

    def refused(self, error: ProxydError) -> bool:
        """The provider would not have a connection, which has left its place by now. False: it was not about their
        number."""
        said = getattr(error, "evidence", "") or str(error)
        if not rules.says_too_many(said):
            return False
        standing = self._standing
        self.know(rules.learn(standing, self._clock.now(), said))
        log.info("the provider finds our connections too many", standing=standing, evidence=said)
        assert self._learned is not None
        self._remember(self._learned)
        return True

    def know(self, learned: rules.Learned | None) -> None:
        """What was learned, now or before a restart."""
        if learned is None or learned.until <= self._clock.now():
            return
        self._learned = learned
        start(self._believed(learned), "allowance: believed")
        self._told_of_change()

    async def _believed(self, learned: rules.Learned) -> None:
        await self._clock.sleep((learned.until - self._clock.now()).total_seconds())
        if self._learned is learned:
            self._learned = None
            self._told_of_change()


class Allowances:
    """Every account's, by its address. They outlive a reload, as clients' connections do."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        clock: Clock,
        remember: Callable[[str, rules.Learned], Any] = lambda address, learned: None,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._remember = remember
        self._of: dict[str, Allowance] = {}

    def of(self, address: str) -> Allowance:
        if address not in self._of:
            self._of[address] = Allowance(
                lambda: self._cap(address), self._clock, lambda learned: self._remember(address, learned)
            )
        return self._of[address]

    def _cap(self, address: str) -> int:
        account = self._accounts().get(address)
        return account.provider.connections if account is not None else rules.KEPT_FREE + 1

    async def client(self, address: str) -> Place | None:
        """A place for a connection of that account's client; None: there is none, `NO [LIMIT]`."""
        return await self.of(address).client()

    async def opened(self, address: str, connect: Callable[[], Awaitable[T]]) -> tuple[T, Place]:
        """As `Allowance.opened`."""
        return await self.of(address).opened(connect)

    def places(self) -> Iterator[Place]:
        """Of every client's connection that there is now."""
        for allowance in self._of.values():
            yield from allowance.places
