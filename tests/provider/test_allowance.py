"""Connections counted: clients first, the watcher told, the provider believed. On a clock turned by hand."""

from __future__ import annotations

import asyncio

import pytest

from proxyd.errors import Refused, TryLater
from proxyd.provider.allowance import BACK_AFTER, GIVE_WAY, SETTLE, Allowance, Allowances, Crowded, Place
from proxyd.provider.imap import Throttled, Unreachable
from proxyd.rules.allowance import BELIEVED, Learned
from proxyd.workers import start
from tests.clock import ManualClock
from tests.looping import on_the_loop

TOO_MANY = "[LIMIT] Too many simultaneous connections"


class Counted(Allowance):
    """With a list of the watcher's shares as it was told of them."""

    def __init__(self, cap: int) -> None:
        self.clock = ManualClock()
        self.remembered: list[Learned] = []
        super().__init__(lambda: cap, self.clock, self.remembered.append)
        self.shares: list[int] = []
        self.on_change = lambda: self.shares.append(self.share)

    async def time(self, seconds: float) -> None:
        await asyncio.sleep(0)  # for who was started and does not sleep yet
        await self.clock.advance(seconds)

    async def clients_come(self, count: int) -> list[Place]:
        places = [await self.client() for _ in range(count)]
        return [place for place in places if place is not None]


@on_the_loop
async def test_clients_take_what_there_is_and_the_watcher_hears_of_it() -> None:
    account = Counted(6)
    places = await account.clients_come(5)
    assert len(places) == 4
    assert account.shares == [1, 0], "told of nothing but changes"
    places[0].leave()
    places[0].leave()
    assert (account.clients, account.share) == (3, 0), "it does not come back at once"
    await account.time(BACK_AFTER)
    assert account.share == 1
    with places[1]:
        pass
    await account.clients_come(1)
    await account.time(BACK_AFTER)
    assert (account.clients, account.share) == (3, 1), "a client that comes back takes its own place"


@on_the_loop
async def test_a_client_waits_for_the_watcher_where_there_is_no_place_to_spare() -> None:
    account = Counted(15)
    account.know(Learned(2, account.clock.now() + BELIEVED, TOO_MANY))
    watching = [account.watcher(), account.watcher()]
    coming = start(account.client(), "test")
    await asyncio.sleep(0)
    assert account.share == 1
    assert not coming.done()
    watching[0].leave()
    assert await coming is not None
    assert account.watchers == 1


@on_the_loop
async def test_a_watcher_that_hangs_keeps_nobody_out() -> None:
    account = Counted(15)
    account.know(Learned(1, account.clock.now() + BELIEVED, TOO_MANY))
    account.watcher()
    async with asyncio.timeout(GIVE_WAY + 2):
        assert await account.client() is not None


@on_the_loop
async def test_a_client_that_gives_up_while_it_waits_holds_no_place() -> None:
    account = Counted(15)
    account.know(Learned(1, account.clock.now() + BELIEVED, TOO_MANY))
    account.watcher()
    coming = start(account.client(), "test")
    await asyncio.sleep(0)
    coming.cancel()
    await asyncio.wait([coming])
    assert account.clients == 0


@on_the_loop
async def test_too_many_is_believed_for_an_hour_and_remembered() -> None:
    account = Counted(15)
    await account.clients_come(3)
    watching = account.watcher()
    assert account.refused(Throttled("not now", evidence=TOO_MANY))
    assert account.remembered == [Learned(4, account.clock.now() + BELIEVED, TOO_MANY)]
    assert (account.share, account.limit.cap) == (1, 4)
    assert TOO_MANY in account.told
    watching.leave()
    assert account.refused(Throttled("not now", evidence=TOO_MANY))
    assert (account.share, account.limit.cap) == (0, 3)
    assert await account.client() is None
    await account.time(BELIEVED.total_seconds() + 1)
    assert (account.share, account.limit.cap) == (2, 15)
    assert account.shares[-1] == 2, "and the watcher hears of it"


@pytest.mark.parametrize(
    "error",
    [Unreachable("gone", evidence="Connection reset"), Throttled("no", evidence="[THROTTLED]"), Refused("no", "no")],
    ids=lambda error: type(error).__name__,
)
@on_the_loop
async def test_other_troubles_teach_nothing(error: TryLater) -> None:
    account = Counted(15)
    assert not account.refused(error)
    assert account.limit.cap == 15


@on_the_loop
async def test_what_was_learned_too_long_ago_is_not_believed() -> None:
    account = Counted(15)
    account.know(Learned(1, account.clock.now(), TOO_MANY))
    account.know(None)
    assert account.limit.cap == 15


@on_the_loop
async def test_a_client_refused_by_the_provider_gets_the_watchers_place() -> None:
    account = Counted(15)
    watching = [account.watcher(), account.watcher()]

    def give_way() -> None:
        for place in watching[account.share :]:
            place.leave()

    account.on_change = give_way
    tries: list[int] = []

    async def connect() -> str:
        tries.append(account.watchers)
        if account.watchers + account.clients > 2:
            raise Throttled("not now", evidence=TOO_MANY)
        return "connected"

    opening = start(account.opened(connect), "test")
    await account.clock.sleeper()
    await account.time(SETTLE)
    connected, place = await opening
    assert (connected, tries) == ("connected", [2, 1])
    assert (account.clients, account.watchers) == (1, 1)
    place.leave()
    assert account.clients == 0


@pytest.mark.parametrize(
    ("error", "watchers", "clients", "tries", "raised"),
    [
        pytest.param(Throttled("no", evidence=TOO_MANY), 1, 0, 2, Crowded, id="too many, twice"),
        pytest.param(Throttled("no", evidence=TOO_MANY), 0, 1, 1, Crowded, id="too many, other clients stand"),
        pytest.param(Throttled("no", evidence=TOO_MANY), 0, 0, 1, Throttled, id="too many, and none of ours"),
        pytest.param(Throttled("no", evidence="[THROTTLED]"), 1, 1, 1, Throttled, id="not now"),
        pytest.param(Unreachable("gone"), 1, 1, 1, Unreachable, id="unreachable"),
        pytest.param(Refused("no"), 1, 1, 1, Refused, id="refused"),
        pytest.param(ValueError(), 1, 1, 1, ValueError, id="a fault"),
    ],
)
@on_the_loop
async def test_a_client_that_cannot_connect_holds_no_place(
    error: Exception, watchers: int, clients: int, tries: int, raised: type[Exception]
) -> None:
    account = Counted(15)
    for _ in range(watchers):
        account.watcher()
    await account.clients_come(clients)
    tried: list[int] = []

    async def connect() -> None:
        tried.append(1)
        raise error

    opening = start(account.opened(connect), "test")
    while not opening.done():
        await account.time(SETTLE)
        await asyncio.sleep(0.01)
    assert type(opening.exception()) is raised
    assert (account.clients, len(tried)) == (clients, tries)


@on_the_loop
async def test_the_watcher_waits_for_its_own_to_be_closed() -> None:
    account = Counted(15)
    await account.settled()
    first = account.watcher()
    await account.settled()
    account.watcher()
    settling = start(account.settled(), "test")
    await asyncio.sleep(0)
    assert not settling.done()
    first.leave()
    await settling


@on_the_loop
async def test_one_client_too_many_is_told_so() -> None:
    account = Counted(4)

    async def connect() -> None: ...

    await account.clients_come(2)
    with pytest.raises(Crowded, match="2 connections of mail clients"):
        await account.opened(connect)


@on_the_loop
async def test_each_account_has_its_own() -> None:
    every = Allowances(lambda: {}, ManualClock())
    assert await every.client("gone@example.test") is not None, "an account that was taken away has one place"
    assert every.of("a") is every.of("a")
    assert every.of("a") is not every.of("b")
