"""A message that is logged comes again: the record is completed, or left alone; there is never a second one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest

from proxyd.journal.again import COMPLETED, LEFT, MOST
from proxyd.store import tables
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.unruly import UnrulyImap
from tests.watcher.unruled import Unruled, unruled

PDF = b"%PDF-1.4 an offer\r\n" * 30_000  # several chunks
SCAN = ("ATP Scan In Progress.eml", "message/rfc822", b"Subject: scan\r\n\r\nYour attachment is being scanned.\r\n")
OFFER = ("offer.pdf", "application/pdf", PDF)


@pytest.fixture
def server() -> Iterator[UnrulyImap]:
    with UnrulyImap() as running:
        yield running


def answer(
    *attachments: tuple[str, str, bytes],
    sender: str = GRACE,
    text: str = "Here it is.",
    more: str = "",
    to: str = "m1@example.test",
) -> bytes:
    parts = [f"--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"]
    for name, type, octets in attachments:
        head = f'--b\r\nContent-Type: {type}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        encoded = base64.encodebytes(octets).decode().replace("\n", "\r\n")
        whole = type.startswith("message/")
        coding = "" if whole else "Content-Transfer-Encoding: base64\r\n"
        parts.append(f"{head}{coding}\r\n{octets.decode() if whole else encoded}\r\n")
    mime = 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
    fields = f"In-Reply-To: <{to}>\r\n{more}{mime}"
    return message(
        "Re: Offer", id="r1@customer.test", sender=sender, to=ADA, more=fields, body="".join(parts) + "--b--\r\n"
    )


def logged(w: Unruled) -> dict[str, Any]:
    (one,) = (each for each in w.timeline() if each["direction"] == "incoming")
    return one


def attachments(w: Unruled) -> list[str]:
    return [each["name"] for each in logged(w)["attachments"]]


def told(w: Unruled) -> list[str]:
    return [row["what"] for row in w.rows(tables.steps) if row["owner"] == logged(w)["id"] and "again" in row["what"]]


def bodies(server: UnrulyImap) -> int:
    return sum("BODY.PEEK[]<0." in line for line in server.commands())


async def read_to(w: Unruled, uid: int) -> None:
    async with asyncio.timeout(60):
        while (at := await w.journal.position(ADA, "INBOX")) is None or at.uidnext <= uid:
            await w.clock.advance(0.2)
            await asyncio.sleep(0.01)


async def offer_and_answer(w: Unruled, first: bytes) -> None:
    await w.add_contact(GRACE)
    await w.sent(message())
    uid = w.server.deliver("INBOX", first)
    await w.turn(lambda: len(w.timeline()) == 2, "the answer")
    await read_to(w, uid)


@on_the_loop
async def test_placeholders_are_replaced_by_what_they_stood_for(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w, answer(SCAN))
        await w.turn(lambda: attachments(w) == [SCAN[0]], "the placeholder")
        chunks = len(w.rows(tables.chunks))
        server.expunge("INBOX", 1)
        server.deliver("INBOX", answer(OFFER))
        await w.turn(lambda: attachments(w) == ["offer.pdf"], "the real one")
        assert logged(w)["text"].strip() == "Here it is."
        assert told(w) == [COMPLETED]
        owners = {row["owner"] for row in w.rows(tables.chunks)}
        assert len(owners) == 2, "the octets of the placeholder are gone"
        assert len(w.rows(tables.chunks)) > chunks


@on_the_loop
async def test_both_in_one_look(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        await w.sent(message())
        clock = w.clock
    server.deliver("INBOX", answer(SCAN))
    server.deliver("INBOX", answer(OFFER))
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 2 and attachments(w) == ["offer.pdf"], "one record, and completed")


@pytest.mark.parametrize(
    ("again", "steps", "fetched"),
    [
        (answer(OFFER), [], 0),
        (answer(OFFER, more="X-Moved: by a rule\r\n"), [LEFT], 1),
        (answer(OFFER, ("evil.pdf", "application/pdf", b"%PDF evil"), sender="mallory@elsewhere.test"), [LEFT], 0),
        (answer(OFFER, ("evil.pdf", "application/pdf", b"%PDF evil"), to="m2@example.test"), [LEFT], 0),
        (answer(("offer.pdf", "application/pdf", b"%PDF evil")), [LEFT], 1),
        (answer(OFFER, ("evil.pdf", "application/pdf", b"%PDF evil"), text="Pay here."), [LEFT], 1),
    ],
    ids=["moved", "with another header", "a stranger's", "in another thread", "forged", "with another text"],
)
@on_the_loop
async def test_what_is_left_alone(tmp_path, server: UnrulyImap, again: bytes, steps: list[str], fetched: int):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w, answer(OFFER))
        await w.turn(lambda: attachments(w) == ["offer.pdf"], "its attachment")
        before, asked, chunks = logged(w), bodies(server), w.rows(tables.chunks)
        await read_to(w, server.deliver("INBOX", again))
        assert told(w) == steps
        assert bodies(server) - asked == fetched
        assert logged(w) == before
        assert w.rows(tables.chunks) == chunks


@on_the_loop
async def test_who_sends_it_again_and_again_is_soon_not_looked_at_any_more(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w, answer(OFFER))
        asked = bodies(server)
        for n in range(MOST + 3):
            await read_to(w, server.deliver("INBOX", answer(OFFER, text=f"Pay here {'!' * n}")))
        assert len(told(w)) == MOST
        assert bodies(server) - asked == MOST


@on_the_loop
async def test_a_kill_in_the_middle_completes_it_all_the_same(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w, answer(SCAN))
        clock = w.clock
        server.deliver("INBOX", answer(OFFER))
        await asyncio.sleep(0.02)
        await w.kill()
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: attachments(w) == ["offer.pdf"], "the real one")
        assert told(w) == [COMPLETED]
