"""Parked connections: what wakes them, what does not, and that they hold no thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on

from proxyd.provider.imap import Connection, Unreachable
from proxyd.provider.parking import POLL, RENEW, Place
from proxyd.workers import Lane, SystemClock, Workers, start
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.provider.scripted_imap import EXAMINE, GREETING, SIGN_IN, ScriptedImap
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.tls import ThrowAwayCa, server_context

IDLE = GREETING + SIGN_IN + EXAMINE + "C: IDLE\n"
MAIL = b"Message-ID: <m@customer.test>\r\n\r\nHello\r\n"


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(4)
    yield workers
    workers.close()


async def opened(workers: Workers, port: int) -> tuple[Connection, Lane]:
    lane = workers.lane()
    connection = await lane.run(Connection.open, "127.0.0.1", port, "none", ssl.create_default_context())
    await lane.run(connection.sign_in, "a", "b")
    await lane.run(connection.examine, "INBOX")
    return connection, lane


AFTER = "\nC: DONE\nS: %T OK done\n"

WAKING = [
    ("in the packet of the continuation", "S: + idling\nS: * 4 EXISTS" + AFTER),
    ("in a packet of its own", "S: + idling\npause\nS: * 4 EXISTS" + AFTER),
    ("before the continuation", "S: * 4 EXISTS\nS: + idling" + AFTER),
    ("half a line, later the rest", "S: + idling\npause\nS~ * 4 EX\npause\nS: ISTS" + AFTER),
    (
        "behind lines that say nothing",
        "S: + idling\npause\nS: * OK Still here\nS: * 1 FETCH (FLAGS ())\nS: * 4 EXISTS" + AFTER,
    ),
    ("one gone, one come", "S: + idling\npause\nS: * 2 EXPUNGE\nS: * 3 EXISTS" + AFTER),
    ("in the packet of its end", "S: + idling\npause\nC: DONE\nS: * 4 EXISTS\nS: %T OK done"),
]


@pytest.mark.parametrize("script", [script for _, script in WAKING], ids=[name for name, _ in WAKING])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_the_loop
async def test_new_mail_wakes(workers: Workers, script: str, tls: bool, tmp_path: Path) -> None:
    ca = ThrowAwayCa(tmp_path / "ca")
    with ScriptedImap(IDLE + script, server_context(ca.leaf) if tls else None) as server:
        lane = workers.lane()
        kind = "implicit" if tls else "none"
        connection = await lane.run(Connection.open, "localhost", server.port, kind, ca.client_context())
        await lane.run(connection.sign_in, "a", "b")
        await lane.run(connection.examine, "INBOX")
        clock = ManualClock()
        place = Place(reactor, clock)
        waiting = start(place.wait(connection, lane, RENEW), "test")
        if "pause" in script:
            await clock.sleeper()
            server.go()
            server.go()
        if script.startswith("S: + idling\npause\nC: DONE"):
            place.nudge()
        assert await waiting
        assert server.heard[-1] == "DONE"
        await lane.run(connection.close)


@on_the_loop
async def test_what_says_nothing_wakes_nobody_and_time_does(workers: Workers) -> None:
    script = "S: + idling\nS: * OK Still here\nS: * 3 EXISTS\nS: * 1 FETCH (FLAGS (\\Seen))\nS: * 0 RECENT" + AFTER
    with ScriptedImap(IDLE + script) as server:
        connection, lane = await opened(workers, server.port)
        clock = ManualClock()
        waiting = start(Place(reactor, clock).wait(connection, lane, 3600), "test")
        await clock.sleeper()
        await clock.advance(RENEW - 1)
        assert "DONE" not in server.heard
        await clock.advance(1)
        assert not await waiting
        assert server.heard[-1] == "DONE"
        await lane.run(connection.close)


@pytest.mark.parametrize(
    "end",
    [
        "close",
        "S: * BYE shutting down",
        "S: %T OK idled long enough",
        "S~ * 4 EX\nclose",
        "S: * 1 FETCH (FLAGS ())\nclose",
    ],
    ids=["closed", "BYE", "ended", "in half a line", "behind a line"],
)
@on_the_loop
async def test_the_servers_end_is_heard_at_once(workers: Workers, end: str) -> None:
    with ScriptedImap(IDLE + "S: + idling\npause\n" + end) as server:
        connection, lane = await opened(workers, server.port)
        clock = ManualClock()
        waiting = start(Place(reactor, clock).wait(connection, lane, RENEW), "test")
        await clock.sleeper()
        server.go()
        with pytest.raises(Unreachable):
            await waiting
        await lane.run(connection.close)


@on_the_loop
async def test_a_nudge_wakes_and_is_not_lost(workers: Workers) -> None:
    script = "S: + idling" + AFTER + "C: IDLE\nS: + idling" + AFTER
    with ScriptedImap(IDLE + script) as server:
        connection, lane = await opened(workers, server.port)
        clock = ManualClock()
        place = Place(reactor, clock)
        place.nudge()  # nobody waits yet
        assert not await place.wait(connection, lane, RENEW)
        assert "IDLE" not in server.heard[-1]
        waiting = start(place.wait(connection, lane, RENEW), "test")
        await clock.sleeper()
        place.nudge()
        assert not await waiting
        waiting = start(place.wait(connection, lane, RENEW), "test")  # the nudge was taken
        await clock.sleeper()
        assert not waiting.done()
        await clock.advance(RENEW)
        await waiting
        await lane.run(connection.close)


@on_the_loop
async def test_an_abandoned_wait_leaves_nothing_in_the_reactor(workers: Workers) -> None:
    with ScriptedImap(IDLE + "S: + idling\n") as server:
        connection, lane = await opened(workers, server.port)
        clock = ManualClock()
        waiting = start(Place(reactor, clock).wait(connection, lane, RENEW), "test")
        await clock.sleeper()
        before = len(reactor.getReaders())  # type: ignore[attr-defined]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(reactor.getReaders()) == before - 1  # type: ignore[attr-defined]
        connection.drop()
        await lane.run(connection.close)


@on_the_loop
async def test_a_server_without_idle_is_asked_now_and_then(workers: Workers) -> None:
    script = GREETING + SIGN_IN.replace("[CAPABILITY IMAP4rev1 IDLE]", "[CAPABILITY IMAP4rev1]") + EXAMINE
    script += "C: NOOP\nS: * 4 EXISTS\nS: %T OK done\n"
    with ScriptedImap(script) as server:
        connection, lane = await opened(workers, server.port)
        clock = ManualClock()
        waiting = start(Place(reactor, clock).wait(connection, lane, RENEW), "test")
        await clock.sleeper()
        await clock.advance(POLL)
        assert await waiting
        await lane.run(connection.close)


@on_the_loop(timeout=60)
async def test_fifty_parked_on_dovecot_hold_no_thread_and_all_wake(provider: Provider, workers: Workers) -> None:
    context = provider.ca.client_context()
    port = provider.dovecot.imaps_port
    parked: list[tuple[Connection, Lane, asyncio.Task[bool]]] = []
    clock = ManualClock()
    before = threading.active_count()  # what the loop and pytest brought
    for _ in range(50):
        lane = workers.lane()
        connection = await lane.run(Connection.open, "localhost", port, "implicit", context)
        await lane.run(connection.sign_in, PERSON, PASSWORD)
        await lane.run(connection.examine, "INBOX")
        parked.append((connection, lane, start(Place(reactor, clock).wait(connection, lane, RENEW), "test")))
    threads = threading.active_count()
    assert threads <= before + 4  # the pool's four
    provider.dovecot.deliver(PERSON, MAIL)
    assert all(await asyncio.gather(*(waiting for _, _, waiting in parked)))
    for connection, lane, _ in parked:
        connection.drop()
        await lane.run(connection.close)


@on_the_loop
async def test_dovecots_announcement_is_heard(provider: Provider, workers: Workers) -> None:
    lane = workers.lane()
    connection = await lane.run(
        Connection.open, "localhost", provider.dovecot.imaps_port, "implicit", provider.ca.client_context()
    )
    await lane.run(connection.sign_in, PERSON, PASSWORD)
    opened = await lane.run(connection.examine, "INBOX")
    waiting = start(Place(reactor, SystemClock()).wait(connection, lane, RENEW), "test")
    await asyncio.sleep(0.2)
    provider.dovecot.deliver(PERSON, MAIL)
    assert await waiting
    assert await lane.run(connection.uids_from, opened.uidnext) == [1]
    await lane.run(connection.close)
