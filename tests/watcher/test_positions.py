"""What servers do to their UIDs, and where reading goes on: every message in the log once, none passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from proxyd.model import MailboxPosition
from proxyd.store import tables
from proxyd.watcher import positions
from proxyd.watcher.mailbox import CHECK
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.unruly import UnrulyImap
from tests.watcher.unruled import Unruled, unruled
from tests.watcher.watched import from_stranger, reply


@pytest.fixture
def server() -> Iterator[UnrulyImap]:
    with UnrulyImap() as running:
        yield running


def read_again(server: UnrulyImap) -> int:
    """How often reading began anew, on the day before two days before the last look."""
    return sum("SEARCH SINCE 20-Nov" in line for line in server.commands())


def lists(server: UnrulyImap) -> int:
    return sum(line.startswith("LIST") for line in server.commands())


async def position(w: Unruled, folder: str = "INBOX") -> MailboxPosition:
    found = await w.journal.position(ADA, folder)
    assert found is not None
    return found


async def offer_and_answer(w: Unruled) -> None:
    await w.add_contact(GRACE)
    await w.sent(message())
    w.server.deliver("INBOX", reply(1))
    await w.turn(lambda: len(w.timeline()) == 2, "the first answer")


@on_the_loop
async def test_a_server_restored_from_its_backup_gives_old_uids_to_new_mail(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        backup = server.backup()
        await offer_and_answer(w)
        for n in (2, 3):
            server.deliver("INBOX", from_stranger(n))
        while (await position(w)).uidnext < 4:
            await asyncio.sleep(0.01)
        server.restore(backup)
        assert server.deliver("INBOX", reply(4)) == 1
        await w.turn(lambda: len(w.timeline()) == 3, "the answer whose UID was given before")
        assert (await position(w)).uidnext == 2
        server.deliver("INBOX", reply(1))  # what was lost with the server is delivered once more
        server.deliver("INBOX", reply(5))
        await w.turn(lambda: len(w.timeline()) == 4, "a later one")
        assert w.subjects() == ["Offer", "Re: Offer 1", "Re: Offer 4", "Re: Offer 5"]


@on_the_loop
async def test_a_restored_server_that_has_passed_our_position_by_the_time_we_look(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        backup = server.backup()
        await offer_and_answer(w)
        server.deliver("INBOX", from_stranger(1))
        while (await position(w)).uidnext < 3:
            await asyncio.sleep(0.01)
        clock = w.clock
    server.restore(backup)
    for n in (2, 3, 4, 5):
        server.deliver("INBOX", reply(n))
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 6, "those whose UIDs we had read before too")


@on_the_loop
async def test_a_restored_folder_that_has_got_as_many_since_as_it_lost(tmp_path, server: UnrulyImap):
    """Its numbers stand as they stood; the answer in it is another."""
    server.make("Customers")
    unmarked = "marking: {keyword: false, flag_logged: false}\n"  # no other reason to open it
    async with unruled(tmp_path, server, unmarked) as w:
        backup = server.backup()
        await offer_and_answer(w)
        server.deliver("Customers", reply(2))
        await w.turn(lambda: len(w.timeline()) == 3, "the one that will be lost", step=20)
        clock = w.clock
    server.restore(backup)
    server.deliver("Customers", reply(3))
    async with unruled(tmp_path, server, unmarked, clock=clock) as w:
        await w.turn(lambda: "Re: Offer 3" in w.subjects(), "the one that has its UID", step=20)
        looks, before = lists(server), len(server.heard)
        await w.turn(lambda: lists(server) > looks + 20, "many more looks", step=CHECK + 1)
    opened = [line for _, line in server.heard[before:] if line == 'EXAMINE "Customers"']
    assert len(opened) < 3, "once on a connection is enough"


@on_the_loop
async def test_restored_behind_connections_that_stand(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        backup = server.backup()
        await offer_and_answer(w)
        server.deliver("INBOX", from_stranger(1))
        while (await position(w)).uidnext < 3:
            await asyncio.sleep(0.01)
        server.restore(backup, cut=False)
        server.deliver("INBOX", reply(2))
        await w.turn(lambda: len(w.timeline()) == 3, "the next", step=20)
        assert server.connections == 2


@on_the_loop
async def test_where_nothing_is_left_of_what_we_knew_reading_goes_on_by_time(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        backup = server.backup()
        await offer_and_answer(w)
        clock = w.clock
    server.restore(backup)
    server.expunge("INBOX", server.deliver("INBOX", from_stranger(1)))
    for n in (2, 3):
        server.deliver("INBOX", reply(n))
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 4, "both")


@on_the_loop
async def test_reading_on_in_an_open_folder_is_no_going_back(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w)
        for n in (2, 3, 4):
            server.deliver("INBOX", reply(n))
            await w.turn(lambda n=n: len(w.timeline()) == n + 1, "the next")
        assert not read_again(server)


@on_the_loop(timeout=60)
async def test_a_server_that_renumbers_all_the_time_is_read_with_growing_pauses_and_never_not_at_all(
    tmp_path, server: UnrulyImap
):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w)
        for n in range(2, 8):
            server.renumber("INBOX")
            server.deliver("INBOX", reply(n))
            await w.turn(lambda n=n: len(w.timeline()) == n + 1, "the answer", step=5)
        assert w.clock.monotonic() > 60 + 120 + 240, "pauses"
        assert read_again(server) == 6
        await w.clock.advance(positions.DAY + 60)
        before = w.clock.monotonic()
        server.renumber("INBOX")
        server.deliver("INBOX", reply(8))
        await w.turn(lambda: len(w.timeline()) == 9, "at once again")
        assert w.clock.monotonic() - before < 60


@on_the_loop
async def test_a_month_away_and_renumbered_in_the_middle_of_catching_up(tmp_path, server: UnrulyImap, monkeypatch):
    """The time of the position stays that of the last look that saw everything, until the next one has."""
    monkeypatch.setattr("proxyd.watcher.batch.SIZE", 2)
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w)
        clock = w.clock
    for n in range(2, 12):
        server.deliver("INBOX", reply(n), at=server.now + timedelta(days=3 * n))
    await clock.advance(40 * positions.DAY)
    async with unruled(tmp_path, server, clock=clock, started=False) as w:
        before = await position(w)
        server.withhold("INBOX", 6, times=1000)
        w.mailbox.start()
        await w.turn(lambda: len(w.timeline()) >= 5, "the first batches")
        assert (await position(w)).seen_at == before.seen_at
        await w.kill()
    server.renumber("INBOX")
    server.withhold("INBOX", 6, times=0)
    async with unruled(tmp_path, server, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 12, "all of them")
        assert (await position(w)).seen_at > before.seen_at


@on_the_loop
async def test_a_folder_made_while_we_were_away_is_read_from_the_last_look_on(tmp_path, server: UnrulyImap):
    lists = "watch:\n  folders: [INBOX, Customers]\n"
    server.make("Customers")
    server.deliver("Customers", reply(0))
    async with unruled(tmp_path, server, lists) as w:
        await w.clock.advance(positions.BEGINNING.total_seconds() + 1)
        await offer_and_answer(w)
        clock = w.clock
        await w.database.write(
            lambda c: c.execute(tables.positions.delete().where(tables.positions.c.folder == "Customers"))
        )
    at = clock.now() + timedelta(hours=1)
    server.deliver("Customers", reply(2), at=at)
    server.deliver("Customers", reply(3), at=at)
    async with unruled(tmp_path, server, lists, clock=clock) as w:
        await w.turn(lambda: len(w.timeline()) == 4, "what a rule filed there")
        assert "Re: Offer 0" not in w.subjects(), "before the account was known nothing was read"


@on_the_loop
async def test_lost_positions_are_said_and_reading_begins_at_the_end(tmp_path, server: UnrulyImap):
    async with unruled(tmp_path, server) as w:
        await offer_and_answer(w)
        assert await w.journal.learned(ADA, positions.LOST) is None
        began = await w.journal.learned(ADA, positions.READ_FROM)
        clock = w.clock
        await w.database.write(lambda c: c.execute(sa.delete(tables.positions)))
    server.deliver("INBOX", reply(2))
    await clock.advance(3600)
    async with unruled(tmp_path, server, clock=clock) as w:
        server.deliver("INBOX", reply(3))
        await w.turn(lambda: len(w.timeline()) == 3, "what came after")
        assert w.subjects() == ["Offer", "Re: Offer 1", "Re: Offer 3"]
        assert await w.journal.learned(ADA, positions.LOST)
        assert await w.journal.learned(ADA, positions.READ_FROM) != began
