"""The machine has slept, or its network is another: noticed within seconds, and every connection is checked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic

import pytest

from proxyd.daemon.awake import EVERY, Awake, Signs, difference, signs
from proxyd.workers import SystemClock, start
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.swallow import Swallow
from tests.watcher.watched import reply, until, watched

NOW = Signs(asleep=100.0, set=1_700_000_000.0, network=("198.51.100.7", "2001:db8::7"))


@pytest.mark.parametrize(
    ("after", "why"),
    [
        pytest.param(NOW, None, id="nothing"),
        pytest.param(replace(NOW, asleep=101.5), None, id="less than a sleep"),
        pytest.param(replace(NOW, asleep=3700.0), "the machine slept for 3600 s", id="slept"),
        pytest.param(replace(NOW, set=NOW.set + 20), None, id="the clock a little ahead"),
        pytest.param(replace(NOW, set=NOW.set + 3600), "the clock was set by +3600 s", id="a virtual machine slept"),
        pytest.param(replace(NOW, set=NOW.set - 3600), "the clock was set by -3600 s", id="the clock set back"),
        pytest.param(replace(NOW, network=("203.0.113.9",)), "the network is another", id="another network"),
        pytest.param(replace(NOW, network=()), None, id="no network: there is nothing to connect to"),
    ],
)
def test_what_tells(after: Signs, why: str | None) -> None:
    assert difference(NOW, after) == why


def test_the_network_that_comes_back_is_another() -> None:
    assert difference(replace(NOW, network=()), NOW) == "the network is another"


def test_the_signs_of_this_machine_stand_still() -> None:
    first = signs()
    assert difference(first, signs()) is None
    assert first.asleep > -1


@on_the_loop
async def test_each_jump_is_noticed_once() -> None:
    clock = ManualClock()
    shown = NOW
    checked: list[float] = []

    async def check() -> None:
        checked.append(clock.monotonic())

    watching = start(Awake(clock, check, lambda: shown).watch(), "test")
    await clock.sleeper()
    await clock.advance(EVERY * 3)
    assert checked == []
    shown = replace(NOW, asleep=NOW.asleep + 7200)
    await clock.advance(EVERY)
    await clock.advance(EVERY * 3)
    assert checked == [EVERY * 4]
    watching.cancel()


@on_the_loop
async def test_a_half_open_mailbox_is_noticed_in_under_ten_seconds(tmp_path, provider: Provider):
    with Swallow(provider.dovecot.imaps_port) as between:
        provider.dovecot.imaps_port, port = between.port, provider.dovecot.imaps_port
        async with watched(tmp_path, provider, clock=SystemClock(), started=False) as w:
            provider.dovecot.imaps_port = port
            await w.add_contact(CUSTOMER)
            w.mailbox.start()
            await w.sent(message())
            await until(lambda: between.passing == 2 or None, "two connections")
            await w.parked(2)
            await w.mailbox.check()
            assert between.passing == 2, "what answers is left alone"
            assert between.swallow() == 4
            provider.dovecot.deliver(PERSON, reply())
            begun = monotonic()
            await w.mailbox.check()
            await until(lambda: len(w.timeline()) == 2 or None, "the reply in the log")
            assert monotonic() - begun < 10 - EVERY + 3  # two connections, one sign-in at a time
            await until(lambda: between.passing == 2 or None, "two connections again")


@on_the_loop
async def test_refusals_keep_their_waits(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, started=False) as w:
        provider.dovecot.set_password(PERSON, "another")
        w.mailbox.start()
        await until(lambda: w.journal.condition(PERSON).refusals == 1 or None, "the first refusal")
        checking = start(w.mailbox.check(), "test")
        await asyncio.sleep(0.5)
        assert w.journal.condition(PERSON).refusals == 1
        checking.cancel()
