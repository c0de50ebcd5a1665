from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxyd.web.page import sessions
from proxyd.web.page.sessions import IDLE, LINK_LASTS, LONGEST, Sessions


class Now:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def test_a_link_opens_one_session_of_its_person() -> None:
    held = Sessions(Now())
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


def test_a_link_is_good_for_minutes() -> None:
    now = Now()
    held = Sessions(now)
    link = held.link(None)
    now.at += LINK_LASTS + timedelta(seconds=1)
    assert held.open(link) is None


def test_a_session_ends_unused_or_of_age() -> None:
    now = Now()
    held = Sessions(now)
    cookie = held.open(held.link(None)) or ""
    begun = now.at
    while now.at - begun < LONGEST:
        now.at += IDLE - timedelta(minutes=1)
        if now.at - begun <= LONGEST:
            assert held.session(cookie) is not None, "it is used"
    assert held.session(cookie) is None, "it is old"
    other = held.open(held.link(None)) or ""
    now.at += IDLE + timedelta(seconds=1)
    assert held.session(other) is None, "it was not used"
    assert held.session(other) is None


def test_a_session_that_is_closed_is_over() -> None:
    held = Sessions(Now())
    cookie = held.open(held.link(None)) or ""
    held.close(cookie)
    assert held.session(cookie) is None


def test_no_secret_is_held() -> None:
    held = Sessions(Now())
    link, cookie = held.link("ada@example.test"), held.open(held.link(None)) or ""
    assert link not in repr(vars(held))
    assert cookie not in repr(vars(held))


def test_the_oldest_make_room() -> None:
    held = Sessions(Now())
    links = [held.link(None) for _ in range(sessions.MOST + 1)]
    assert not held.good(links[0])
    assert held.good(links[-1])
