"""The watcher gives its connections to the person's clients, and still does its work. On real Dovecot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxyd.provider.allowance import BACK_AFTER, Place
from proxyd.watcher.mailbox import CHECK, LOOK
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, reply, until, watched

CAP = 6  # of which 4 are ours


async def clients(w: Watched, count: int) -> list[Place]:
    places = [await w.allowance.client() for _ in range(count)]
    return [place for place in places if place is not None]


async def held(w: Watched, count: int) -> None:
    await until(lambda: w.allowance.watchers == count or None, f"{count} connections of the watcher")


@on_the_loop
async def test_with_one_connection_replies_are_logged_and_copies_settled(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, connections=CAP) as w:
        await w.add_contact(CUSTOMER)
        places = await clients(w, 3)
        await held(w, 1)
        await w.parked(1)
        id = await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        await until(lambda: len(w.timeline()) == 2 or None, "the reply in the log")
        assert (await w.ripened(id))["by"] == "proxyd"
        provider.dovecot.append(PERSON, "Sent", message("More", id="d2@phone"))
        await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 3)
        assert w.allowance.told == "by one connection: 3 client connections"
        assert w.allowance.watchers == 1
        for place in places:
            place.leave()
        await asyncio.sleep(0)
        await w.as_time_passes(BACK_AFTER + 1, lambda: w.allowance.share == 2)
        await w.sent(message("Another", id="m3@example.test"))
        await held(w, 2)
        await w.parked(2)


@on_the_loop
async def test_with_none_there_are_short_looks(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, connections=CAP) as w:
        await w.add_contact(CUSTOMER)
        places = await clients(w, 4)
        await held(w, 0)
        id = await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        assert len(w.timeline()) == 1
        await w.as_time_passes(LOOK + 1, lambda: len(w.timeline()) == 2)
        await held(w, 0)
        assert (await w.ripened(id))["by"] == "proxyd"
        await held(w, 0)
        assert len(provider.dovecot.messages(PERSON, "Sent")) == 1
        assert w.allowance.told.startswith("paused")
        for place in places:
            place.leave()
        await asyncio.sleep(0)
        await w.as_time_passes(BACK_AFTER + 1, lambda: w.allowance.watchers == 1)
        await w.sent(message("Another", id="m3@example.test"))
        await held(w, 2)


@on_the_loop
async def test_there_is_none_at_all_until_another_device_leaves(tmp_path, make_provider: Callable[..., Provider]):
    provider = make_provider(dovecot={"connections_per_user": 1})
    async with watched(tmp_path, provider, started=False) as w:
        with provider.dovecot.imap(PERSON):
            w.mailbox.start()
            await until(lambda: w.state() == "throttled" or None, "throttled: nothing of ours stands")
            assert "Maximum number of connections" in w.journal.condition(PERSON).evidence
        await w.as_time_passes(61, lambda: w.state() == "connected")  # Dovecot forgets who left a moment later
        await held(w, 1)
        await w.clock.advance(3601)
        await held(w, 1)
        assert w.state() == "connected", "the second was tried after an hour, refused, and that is no trouble"
