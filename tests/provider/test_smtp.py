"""One account's connections: kept, warmed, shared, replaced where they died unheard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from proxyd.model import (
    Accepted,
    Envelope,
    HealthCause,
    NotHandedOver,
    Recipient,
)
from proxyd.provider.smtp import Limits
from proxyd.workers import start
from tests.looping import on_the_loop
from tests.provider.scripted_smtp import OFFER, Peer, scripted
from tests.provider.submitting import (
    CHUNKING,
    LETTER,
    Client,
    Octets,
    client,
    cut,
    goodbye,
    hang_up,
    hold,
)

# --- kept connections


@on_the_loop
async def test_a_kept_connection_is_used_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for _ in range(3):
            await peer.take()

    async with scripted(script) as server, client(server) as ada:
        for _ in range(3):
            assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 1
        assert ada.causes == [HealthCause.SIGNED_IN]


@pytest.mark.parametrize("end", [cut, hang_up, goodbye, hold], ids=["cut", "hung up", "421", "silent"])
@pytest.mark.parametrize("doubtful", [False, True], ids=["heard just now", "idle for long"])
@on_the_loop
async def test_a_kept_connection_that_dies_is_replaced_in_silence(
    end: Callable[[Peer], object], doubtful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if doubtful:
        monkeypatch.setattr("proxyd.provider.smtp_session.SURE", -1.0)
        monkeypatch.setattr("proxyd.provider.smtp_session.DOUBTFUL_LIMIT", 0.2)

    async def dying(peer: Peer) -> None:
        await peer.greet(CHUNKING if doubtful else OFFER)
        await peer.hear("MAIL", "RCPT", "DATA")  # never BDAT on a connection that may be dead
        await end(peer)  # type: ignore[misc]

    async def living(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    limits = Limits(connect=1, reply=0.2, final=5)
    async with scripted(dying, living) as server, client(server, limits=limits) as ada:
        await ada.warmed()
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 2
        assert ada.causes == [HealthCause.SIGNED_IN] * 2


@on_the_loop
async def test_it_is_replaced_once_and_not_for_ever() -> None:
    async def dying(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL")
        peer.cut()

    async with scripted(dying) as server, client(server) as ada:
        await ada.warmed()
        assert isinstance(await ada.submit(), NotHandedOver)
        assert len(server.peers) == 2


@on_the_loop
async def test_a_kept_connection_that_answered_mail_is_not_replaced() -> None:
    async def dying(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL")
        await peer.say("250 ok")
        peer.writer.close()

    async with scripted(dying) as server, client(server) as ada:
        await ada.warmed()
        assert isinstance(await ada.submit(), NotHandedOver)
        assert len(server.peers) == 1


@pytest.mark.parametrize("farewell", ["421 4.4.2 idle too long", "", "250 what?"], ids=["421", "nothing", "noise"])
@on_the_loop
async def test_a_kept_connection_that_the_server_ends_is_forgotten(farewell: str) -> None:
    async def impatient(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        if farewell:
            await peer.say(farewell)
        if farewell[:3] != "250":
            peer.writer.write_eof()
        assert not (await peer.rest()).endswith(b"MAIL")

    async def living(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(impatient, living) as server, client(server) as ada:
        assert isinstance(await ada.submit(), Accepted)
        await server.ended.get()
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 2
        assert ada.causes == [HealthCause.SIGNED_IN] * 2


@on_the_loop
async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        await peer.hear("QUIT")

    async with scripted(script) as server, client(server, keep_for=0.05) as ada:
        assert isinstance(await ada.submit(), Accepted)
        peer = await server.ended.get()
        assert bytes(peer.heard).endswith(b"QUIT\r\n")


@on_the_loop
async def test_a_connection_that_slept_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer does not run while the machine is suspended; the boot clock does."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit(), Accepted)
        monkeypatch.setattr("proxyd.provider.smtp.uptime", lambda: 1e12)
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 2


@on_the_loop
async def test_kept_connections_are_let_go_of_after_a_sleep() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        await peer.hear("QUIT")

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit(), Accepted)
        ada.submitter.let_go()
        await server.ended.get()
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 2


# --- warming


@on_the_loop
async def test_warm_opens_one_and_the_message_takes_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(script) as server, client(server) as ada:
        ada.submitter.warm()
        ada.submitter.warm()
        await ada.warmed()
        assert not bytes(server.peers[0].heard).count(b"MAIL")
        ada.submitter.warm()  # a connection is ready: nothing to do
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 1


@on_the_loop
async def test_a_message_waits_for_the_connection_that_is_being_opened() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await go.wait()
        await peer.greet()
        await peer.take()

    async with scripted(script) as server, client(server) as ada:
        ada.submitter.warm()
        sending = start(ada.submit(), "sending")
        while not server.peers:
            await asyncio.sleep(0)
        go.set()
        assert isinstance(await sending, Accepted)
        assert len(server.peers) == 1


@pytest.mark.parametrize("answer", ["250 ok", "421 bye", None], ids=["stands", "421", "dead"])
@on_the_loop
async def test_warm_looks_whether_a_kept_connection_stands(answer: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.provider.smtp_session.SURE", 0.0)

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("NOOP")
        if answer is None:
            return peer.cut()
        await peer.say(answer)
        return await living(peer) if answer == "250 ok" else None

    async def living(peer: Peer) -> None:
        await peer.take()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await living(peer)

    async with scripted(first, second) as server, client(server) as ada:
        await ada.warmed()
        ada.submitter.warm()
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == (1 if answer == "250 ok" else 2)


@on_the_loop
async def test_a_refused_sign_in_is_not_repeated_at_once() -> None:
    async def refusing(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        await peer.hear("AUTH")
        await peer.say("535 5.7.8 no")

    async def fine(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(refusing, fine) as server, client(server) as ada:
        await ada.warmed()
        for _ in range(5):
            ada.submitter.warm()
            refused = await ada.submit()
            assert isinstance(refused, NotHandedOver)
            assert refused.event.cause is HealthCause.SIGN_IN_REFUSED
        assert len(server.peers) == 1, "a mailbox is not locked by clients that try again and again"
        ada.submitter.sign_in()
        await ada.warmed()
        assert isinstance(await ada.submit(), Accepted)
        assert len(server.peers) == 2
        assert ada.causes == [HealthCause.SIGN_IN_REFUSED, HealthCause.SIGNED_IN]


# --- many messages at once


@pytest.mark.parametrize("limit", [1, 2])
@on_the_loop
async def test_no_more_connections_than_allowed_and_each_in_its_turn(limit: int) -> None:
    order: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.greet(("AUTH PLAIN",))
        while True:
            (line,) = await peer.hear("MAIL")
            order.append(line)
            for answer, verb in (("250 ok", "RCPT"), ("250 ok", "DATA")):
                await peer.say(answer)
                await peer.hear(verb)
            await peer.say("354 go")
            await peer.until_dot()
            await peer.say("250 taken")

    async with scripted(script) as server, client(server, limit=limit) as ada:
        letters = [Envelope(f"{n}@a", (Recipient("bob@b"),)) for n in range(12)]
        tasks = [start(ada.submitter.submit(letter, Octets(LETTER)), "sending") for letter in letters]
        outcomes = await asyncio.gather(*tasks)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert len(server.peers) == limit
        if limit == 1:
            assert order == [f"MAIL FROM:<{n}@a>" for n in range(12)]


@on_the_loop
async def test_who_waits_and_is_cancelled_takes_no_connection_along() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await go.wait()
        await peer.take()
        await peer.take()

    async with scripted(script) as server, client(server, limit=1) as ada:
        first = start(ada.submit(), "first")
        second = start(ada.submit(), "second")
        third = start(ada.submit(), "third")
        await ada.heard.wait()
        second.cancel()
        go.set()
        assert isinstance(await first, Accepted)
        assert isinstance(await third, Accepted)
        assert len(server.peers) == 1


@on_the_loop
async def test_a_message_cancelled_on_its_way_leaves_no_connection_in_disorder() -> None:
    reached = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        reached.set()
        assert (await peer.rest()).endswith(b"DATA\r\n")

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(first, second) as server, client(server, limit=1) as ada:
        sending = start(ada.submit(), "sending")
        await reached.wait()
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        assert isinstance(await ada.submit(), Accepted)


@on_the_loop
async def test_too_many_connections_means_that_fewer_do() -> None:
    go = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        await go.wait()
        await peer.say("250 ok", "250 ok", "354 go")
        await peer.until_dot()
        await peer.say("250 taken")
        await peer.take()

    async def second(peer: Peer) -> None:
        await peer.say("421 4.7.0 too many connections")

    async with scripted(first, second) as server, client(server) as ada:
        one = start(ada.submit(), "one")
        await ada.heard.wait()
        two = start(ada.submit(), "two")
        while HealthCause.THROTTLED not in ada.causes:
            ada.heard.clear()
            await ada.heard.wait()
        go.set()
        assert isinstance(await one, Accepted)
        assert isinstance(await two, Accepted)
        assert len(server.peers) == 2


@on_the_loop
async def test_everybody_who_waits_hears_that_the_sign_in_was_refused() -> None:
    async def refusing(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        await peer.hear("AUTH")
        await peer.say("535 5.7.8 no")

    async with scripted(refusing) as server, client(server, limit=1) as ada:
        outcomes = await asyncio.gather(*(start(ada.submit(), "sending") for _ in range(5)))
        assert all(isinstance(outcome, NotHandedOver) for outcome in outcomes)
        assert len(server.peers) == 1  # five refused sign-ins at once could lock the account


# --- closing


@on_the_loop
async def test_closing_lets_a_message_on_its_way_arrive_and_takes_no_other() -> None:
    closing = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        await peer.say("250 ok", "250 ok", "354 go")
        await peer.until_dot()
        await closing.wait()
        await peer.say("250 taken")
        await peer.hear("QUIT")

    async with scripted(script) as server:
        ada = Client(server)
        sending = start(ada.submit(), "sending")
        await ada.heard.wait()
        await ada.submitter.close()
        closing.set()
        assert isinstance(await sending, Accepted)
        assert isinstance(await ada.submit(), NotHandedOver)
        ada.submitter.warm()
        await server.ended.get()
        assert len(server.peers) == 1


@on_the_loop
async def test_closing_ends_what_is_being_opened() -> None:
    greeted = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.say("220 mail.example")
        await peer.hear("EHLO")
        greeted.set()
        await peer.rest()

    async with scripted(script) as server:
        ada = Client(server)
        sending = start(ada.submit(), "sending")
        await greeted.wait()
        await ada.submitter.close()
        assert isinstance(await sending, NotHandedOver)
        await server.ended.get()
