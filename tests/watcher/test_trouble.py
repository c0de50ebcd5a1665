"""What servers do that no honest one does on demand: the answer is logged once all the same, nothing else is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from proxyd.provider import imap_lines
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.unruly import CAPABILITY, UnrulyImap
from tests.watcher.unruled import Unruled, unruled
from tests.watcher.watched import from_stranger, reply


@pytest.fixture
def server() -> Iterator[UnrulyImap]:
    with UnrulyImap() as running:
        yield running


async def offer(w: Unruled) -> None:
    await w.add_contact(GRACE)
    await w.sent(message())


@pytest.mark.parametrize("literals", [1, 2, 3, 6])
@on_the_loop(timeout=60)
async def test_connections_that_end_in_the_middle_of_a_literal(tmp_path, server: UnrulyImap, literals: int):
    async with unruled(tmp_path, server) as w:
        await offer(w)
        server.deliver("INBOX", from_stranger())
        server.cut_literals = literals
        server.deliver("INBOX", reply(1, body="0123456789abcdef\r\n" * 40_000))
        await w.turn(lambda: len(w.timeline()) == 2, "the answer")
        await w.turn(lambda: not server.cut_literals, "every one of them")
        assert set(server.bodies) == {"r1@customer.test"}


@on_the_loop(timeout=60)
async def test_half_open_while_parked(tmp_path, server: UnrulyImap, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imap_lines, "READ_TIMEOUT", 0.3)
    async with unruled(tmp_path, server) as w:
        await offer(w)
        server.deaf = True
        server.deliver("INBOX", reply(1))
        await w.turn(lambda: w.journal.condition(ADA).state == "unreachable", "that nobody answers", step=30)
        server.deaf = False
        await w.turn(lambda: len(w.timeline()) == 2, "the answer", step=10)


@on_the_loop(timeout=60)
async def test_an_idle_that_never_says_a_word(tmp_path, server: UnrulyImap):
    server.silent = True
    async with unruled(tmp_path, server) as w:
        await offer(w)
        server.deliver("INBOX", reply(1))
        began = w.clock.monotonic()
        await w.turn(lambda: len(w.timeline()) == 2, "the answer", step=20)
        assert w.clock.monotonic() - began < 700, "a look every five minutes"


@pytest.mark.parametrize(
    "octets",
    [
        reply(1).replace(b"Subject: Re: Offer 1", b"Subject: R\xc3\xa9: \xff\xfe \xe4\xf6\xfc"),
        reply(1).replace(b"From: ", b"From: Gr\xe4ce "),
        reply(1).replace(b"In-Reply-To: ", b"X-Odd: \xff\r\n\tfolded \xfe\r\nIn-Reply-To:\t"),
        reply(1).replace(b"Message-ID: <r1@customer.test>", b"Message-ID: <r\xe91@customer.test>"),
        reply(1).replace(b"Message-ID: <r1@customer.test>\r\n", b""),
        reply(1).replace(b"Date: Mon, 23 Nov 2026 10:00:00 +0000", b"Date: at noon"),
    ],
    ids=["subject", "author", "folded", "its own id", "no id", "no date"],
)
@on_the_loop(timeout=60)
async def test_odd_headers(tmp_path, server: UnrulyImap, octets: bytes):
    async with unruled(tmp_path, server) as w:
        await offer(w)
        server.deliver("INBOX", octets)
        await w.turn(lambda: len(w.timeline()) == 2, "the answer")
        server.deliver("INBOX", octets)
        server.deliver("INBOX", reply(2))
        await w.turn(lambda: len(w.timeline()) == 3, "the next")
        assert not any("ENVELOPE" in line for line in server.commands()), "what servers form badly is not asked for"


@on_the_loop(timeout=60)
async def test_without_uidplus_there_is_one_sent_copy(tmp_path):
    with UnrulyImap(CAPABILITY.replace(" UIDPLUS", "")) as server:
        async with unruled(tmp_path, server, "sent_copy:\n  settle: 1s\n") as w:
            await offer(w)
            await w.turn(lambda: server.boxes["Sent"].mails, "the Sent copy")
            for _ in range(20):
                await w.clock.advance(100)
                await asyncio.sleep(0.01)
            assert len(server.boxes["Sent"].mails) == 1


@on_the_loop(timeout=60)
async def test_away_for_a_month_everything_is_found_in_order_once(tmp_path, server: UnrulyImap, monkeypatch):
    monkeypatch.setattr("proxyd.watcher.batch.SIZE", 20)
    async with unruled(tmp_path, server) as w:
        await offer(w)
        clock = w.clock
    for n in range(200):
        server.deliver("INBOX", reply(n) if n % 10 == 3 else from_stranger(n))
    await clock.advance(30 * 86400)
    for turns in (2, 5, 9, 14):
        async with unruled(tmp_path, server, clock=clock, started=False) as w:
            w.mailbox.start()
            for _ in range(turns):
                await clock.advance(0.1)
                await asyncio.sleep(0.005)
            await w.kill()
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 21, "all of them")
        found = [each["subject"] for each in sorted(w.timeline(), key=lambda each: str(each["id"]))]
        assert found == ["Offer", *(f"Re: Offer {n}" for n in range(200) if n % 10 == 3)], "in order"
        assert {id for id in server.bodies if id.startswith("s")} == set()
