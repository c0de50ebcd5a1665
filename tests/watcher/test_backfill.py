"""Going through earlier mail: with contacts alone, once, in order, whatever interrupts it, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from proxyd.model import Backfill
from proxyd.provider.allowance import BACK_AFTER
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.unruly import UnrulyImap
from tests.watcher.unruled import Unruled, unruled
from tests.watcher.watched import from_stranger

SINCE = date(2026, 8, 25)
MARY = "mary@customer.test"


@pytest.fixture
def server() -> Iterator[UnrulyImap]:
    with UnrulyImap() as running:
        yield running


def mail(n: int, *, sender: str = GRACE, to: str = ADA, answers: str = "", more: str = "") -> bytes:
    more += f"In-Reply-To: <{answers}>\r\n" if answers else ""
    return message(f"Mail {n}", id=f"e{n}@mail.test", sender=sender, to=to, more=more)


@dataclass
class Earlier:
    """A mailbox of some months: one conversation over three folders, and much that is nobody's business."""

    server: UnrulyImap

    def fill(self, others: int = 30) -> None:
        server, day = self.server, timedelta(days=1)
        server.deliver("INBOX", mail(0), at=server.now - 120 * day)
        server.deliver("Sent", mail(2, sender=ADA, to=GRACE, answers="e1@mail.test"), at=server.now - 79 * day)
        server.deliver("INBOX", mail(1), at=server.now - 80 * day)
        server.deliver("Archive", mail(3, answers="e2@mail.test"), at=server.now - 60 * day)
        server.deliver("INBOX", mail(4, answers="e3@mail.test"), at=server.now - 3 * day)
        server.deliver("Sent", mail(5, sender=ADA, to="friend@elsewhere.test"), at=server.now - 3 * day)
        for n in range(others):
            server.deliver("INBOX", from_stranger(n), at=server.now - timedelta(days=n * 2))


async def ended(w: Unruled, *, dry_run: bool = False) -> Backfill:
    async with asyncio.timeout(60):
        while (going := await w.journal.backfills.get(ADA, dry_run)) is None or going.state != "done":
            await w.clock.advance(1)
            await asyncio.sleep(0.01)
    return going


def bodies(server: UnrulyImap) -> list[str]:
    return [line for line in server.commands() if "BODY.PEEK[]" in line]


CONVERSATION = ["Mail 1", "Mail 2", "Mail 3", "Mail 4"]


@on_the_loop
async def test_a_conversation_over_three_folders_becomes_one_thread(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        await w.journal.backfills.ask(ADA, SINCE, False)
        going = await ended(w)
        assert w.subjects() == CONVERSATION
        assert len({each["thread"] for each in w.timeline()}) == 1
        assert {each["source"] for each in w.timeline()} == {"backfill"}
        assert [each["direction"] for each in w.timeline()].count("outgoing") == 1
        assert (going.incoming, going.outgoing, going.logged) == (3, 1, 4)
        assert going.read == going.total == 35
        assert len(bodies(server)) == 4
        assert all(not mail.flags for box in server.boxes.values() for mail in box.mails), "nothing is marked"
        await w.journal.backfills.ask(ADA, SINCE, False)
        await asyncio.sleep(0)
        again = await ended(w)
        assert (again.logged, len(bodies(server))) == (0, 4), "the second time there is nothing new"


@on_the_loop
async def test_a_trial_run_counts_and_asks_for_no_message(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        await w.journal.backfills.ask(ADA, SINCE, True)
        going = await ended(w, dry_run=True)
        assert (going.incoming, going.outgoing, going.logged) == (3, 1, 0)
        assert not bodies(server)
        assert not w.timeline()


@pytest.mark.parametrize("searches", [True, False], ids=["it searches", "it does not"])
@on_the_loop
async def test_few_contacts_among_many_messages_are_asked_of_the_server(tmp_path, server: UnrulyImap, searches: bool):
    Earlier(server).fill(others=3)
    for n in range(450):
        server.deliver("INBOX", from_stranger(1000 + n), at=server.now - timedelta(days=5))
    server.deliver("INBOX", mail(9, sender=f"x{GRACE}"), at=server.now - timedelta(days=5))
    server.searches = searches
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE, MARY)
        await w.journal.backfills.ask(ADA, SINCE, False)
        going = await ended(w)
        assert w.subjects() == CONVERSATION, "x… is somebody else"
        assert going.headers < 20 if searches else going.headers == going.total


@on_the_loop
async def test_what_is_excluded_stays_out(tmp_path, server: UnrulyImap):
    at = server.now - timedelta(days=10)
    server.deliver("INBOX", mail(1), at=at)
    server.deliver("INBOX", mail(2, more="Cc: secret@never.test\r\n"), at=at)
    server.deliver("Sent", mail(3, sender=ADA, to=GRACE), at=at)
    server.deliver("Sent", mail(4, sender=ADA, to=GRACE), at=at)
    server.make("Junk")
    server.boxes["Junk"].attributes = "\\Junk"
    server.deliver("Junk", mail(5), at=at)
    async with unruled(tmp_path, server, 'never_log: ["*@never.test"]\n') as w:
        for n, more in ((3, "X-CRM-Log: no\r\n"), (4, "")):
            id = await w.sent(mail(n, sender=ADA, to=GRACE, more=more))
            await w.turn(lambda id=id: not [each for each in w.rows_of(id) if not each["emptied"]], "nothing is owed")
        await w.add_contact(GRACE)
        await w.journal.backfills.ask(ADA, SINCE, False)
        await ended(w)
        assert w.subjects() == ["Mail 1", "Mail 4"], "4 went out before Grace was a contact"


@on_the_loop(timeout=60)
async def test_killed_again_and_again_it_goes_on_where_it_was(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        await w.journal.backfills.ask(ADA, SINCE, False)
        clock = w.clock
        await w.kill()
    for turns in (3, 12, 40, 90, 150, 240):
        async with unruled(tmp_path, server, clock=clock, started=False) as w:
            w.mailbox.start()
            for _ in range(turns):
                await w.clock.advance(0.2)
                await asyncio.sleep(0.002)
            await w.kill()
    async with unruled(tmp_path, server, clock=clock, started=False) as w:
        w.mailbox.start()
        going = await ended(w)
        assert w.subjects() == CONVERSATION
        assert len({each["thread"] for each in w.timeline()}) == 1
        assert going.found == 4


@on_the_loop
async def test_stopped_it_goes_on_when_asked_again(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        await w.journal.backfills.ask(ADA, SINCE, False)
        await w.turn(lambda: w.timeline(), "the first of them")
        stopped = await w.journal.backfills.stop(ADA, False)
        assert stopped is not None
        assert stopped.state == "stopped"
        for _ in range(20):
            await w.clock.advance(5)
            await asyncio.sleep(0.01)
        so_far = len(w.timeline())
        assert so_far < 4
        assert w.allowance.watchers == 1
        await w.journal.backfills.ask(ADA, SINCE, False)
        going = await ended(w)
        assert w.subjects() == CONVERSATION
        assert going.found == 4


@on_the_loop
async def test_it_leaves_when_the_clients_want_the_connections(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server, connections=5) as w:  # of which three are ours
        await w.add_contact(GRACE)
        places = [await w.allowance.client() for _ in range(3)]
        await w.journal.backfills.ask(ADA, SINCE, False)
        for _ in range(20):
            await w.clock.advance(0.1)
            await asyncio.sleep(0.01)
        going = await w.journal.backfills.get(ADA, False)
        assert going is not None
        assert (going.state, going.read) == ("asked", 0)
        assert going.waits_for
        for place in places:
            assert place is not None
            place.leave()
        await asyncio.sleep(0)
        await w.clock.advance(BACK_AFTER + 1)
        await w.turn(lambda: w.timeline(), "the first of them")
        standing = w.allowance._standing
        await w.allowance.client()
        assert w.allowance._standing <= 5, standing
        await ended(w)
        assert w.subjects() == CONVERSATION


@on_the_loop
async def test_throttled_and_cut_it_waits_and_goes_on(tmp_path, server: UnrulyImap):
    Earlier(server).fill()
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        server.throttled = 2
        await w.journal.backfills.ask(ADA, SINCE, False)
        await w.turn(lambda: w.timeline(), "the first of them")
        server.cut_literals = 1
        await ended(w)
        assert w.subjects() == CONVERSATION


@pytest.mark.parametrize("times", [1, 3, 9])
@on_the_loop(timeout=60)
async def test_what_is_shown_and_not_delivered_is_insisted_on(tmp_path, server: UnrulyImap, times: int):
    Earlier(server).fill(others=3)
    async with unruled(tmp_path, server) as w:
        await w.add_contact(GRACE)
        server.withhold("Archive", 1, times)
        server.withhold("Sent", 1, times)
        await w.journal.backfills.ask(ADA, SINCE, False)
        await ended(w)
        assert w.subjects() == CONVERSATION
