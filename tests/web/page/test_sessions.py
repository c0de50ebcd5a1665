from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from proxyd.store.tables import sessions as table
from proxyd.web.page import sessions
from proxyd.web.page.sessions import IDLE, LINK_LASTS, LONGEST, Sessions
from tests.looping import on_the_loop
from tests.rigged import Desk, desk


async def turned(d: Desk, by: timedelta) -> None:
    await d.clock.advance(by.total_seconds())


@on_the_loop
async def test_a_link_opens_one_session_of_its_person(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        link = held.link("ada@example.test")
        assert held.good(link)
        cookie = held.open(link)
        assert cookie is not None
        session = held.session(cookie)
        assert session is not None
        assert session.person == "ada@example.test"
        assert session.token not in (cookie, link)
        assert held.open(link) is None, "a second time"
        assert not held.good(link)
        assert held.session(link) is None, "a link is no cookie"
        await d.settled()


@on_the_loop
async def test_a_link_is_good_for_minutes(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        link = held.link(None)
        await turned(d, LINK_LASTS + timedelta(seconds=1))
        assert held.open(link) is None


@on_the_loop
async def test_a_session_ends_unused_or_of_age(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        cookie = held.open(held.link(None)) or ""
        begun = d.clock.now()
        while d.clock.now() - begun < LONGEST:
            await turned(d, IDLE - timedelta(minutes=1))
            if d.clock.now() - begun <= LONGEST:
                assert held.session(cookie) is not None, "it is used"
        assert held.session(cookie) is None, "it is old"
        other = held.open(held.link(None)) or ""
        await turned(d, IDLE + timedelta(seconds=1))
        assert held.session(other) is None, "it was not used"
        assert held.session(other) is None
        await d.settled()
        assert d.rows(table) == []


@on_the_loop
async def test_a_session_outlives_the_daemon_and_one_that_is_closed_does_not_come_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        stays, closed = held.open(held.link("ada@example.test")) or "", held.open(held.link(None)) or ""
        held.close(closed)
        assert held.session(closed) is None
        await d.settled()
    async with desk(tmp_path, clock=d.clock) as again:
        held = Sessions(again.clock.now, again.database)
        held.load()
        found = held.session(stays)
        assert found is not None
        assert found.person == "ada@example.test"
        assert held.session(closed) is None
        await turned(again, timedelta(days=5))
        assert held.session(stays) is not None
        await again.settled()
    async with desk(tmp_path, clock=d.clock) as later:
        await turned(later, timedelta(days=5))
        held = Sessions(later.clock.now, later.database)
        held.load()
        assert held.session(stays) is not None, "it was used in between"
        await later.settled()


@on_the_loop
async def test_no_secret_is_held_and_none_is_kept(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        link, cookie = held.link("ada@example.test"), held.open(held.link(None)) or ""
        await d.settled()
        for secret in (link, cookie):
            assert secret not in repr(vars(held))
            assert secret not in repr(d.rows(table))


@on_the_loop
async def test_the_oldest_make_room(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        held = Sessions(d.clock.now, d.database)
        links = [held.link(None) for _ in range(sessions.MOST + 1)]
        assert not held.good(links[0])
        assert held.good(links[-1])
        await d.settled()
