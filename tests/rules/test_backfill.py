"""Going through earlier mail: spans, folders, ways, and what is logged. Tables of questions and answers."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.model import Direction, Heading, MailAddress
from proxyd.rules import backfill as rules
from proxyd.rules.tracking import TrackingSettings
from proxyd.rules.watched_folders import Role, WatchedFolder

ADA, GRACE, MARY = "ada@example.test", "grace@customer.test", "mary@customer.test"
DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@given(DAYS, DAYS)
def test_spans_are_the_whole_time_once_in_order(since: date, until: date) -> None:
    spans = list(rules.spans(since, until))
    assert len(spans) <= rules.SPANS + 1
    at = since
    for first, end in spans:
        assert first == at < end
        at = end
    assert at == max(until, since) if spans else until <= since
    assert all(end - first >= rules.WEEK for first, end in spans[:-1])


def test_folders() -> None:
    watched = [
        WatchedFolder("Sent", Role.SENT, ""),
        WatchedFolder("INBOX", Role.INCOMING, ""),
        WatchedFolder("Junk", Role.JUNK, ""),
        WatchedFolder("CRM/Log", Role.MARKED, ""),
    ]
    assert [each.name for each in rules.folders(watched)] == ["INBOX", "CRM/Log", "Sent"]


@pytest.mark.parametrize(
    ("messages", "contacts", "asks"),
    [
        (0, 1, False),
        (200, 1, False),
        (201, 1, True),
        (201, 20, True),
        (201, 21, False),
        (10_000, 100, True),
        (9, 0, True),
    ],
)
def test_whichever_takes_fewer_commands(messages: int, contacts: int, asks: bool) -> None:
    assert rules.asks_server(messages, [f"c{n}@customer.test" for n in range(contacts)]) is asks


@pytest.mark.parametrize("address", ['"a b"@customer.test', "müller@customer.test", "a\r\nb@x"])
def test_what_cannot_stand_in_a_search_is_not_asked_for(address: str) -> None:
    assert not rules.asks_server(100_000, [address])


def heading(sender: str, *to: str, cc: tuple[str, ...] = ()) -> Heading:
    to_, cc_ = (tuple(MailAddress("", each) for each in some) for some in (to, cc))
    return Heading(from_=(MailAddress("", sender),), to=to_, cc=cc_)


@pytest.mark.parametrize(
    ("said", "sent", "direction"),
    [
        (heading(GRACE, ADA), False, Direction.INCOMING),
        (heading(ADA, GRACE), False, Direction.OUTGOING),
        (heading("sales@example.test", "x@y.test", cc=(GRACE,)), False, Direction.OUTGOING),
        (heading("unknown-alias@example.test", GRACE), True, Direction.OUTGOING),
        (heading(MARY, GRACE), False, None),
        (heading("colleague@example.test", GRACE), False, None),
        (heading(ADA, MARY), True, None),
        (heading(GRACE, ADA, cc=("boss@never.test",)), False, None),
    ],
    ids=[
        "from",
        "to",
        "copy",
        "sent under another name",
        "between others",
        "a colleague's",
        "nobody known",
        "never_log",
    ],
)
def test_what_is_logged(said: Heading, sent: bool, direction: Direction | None) -> None:
    account = TrackingSettings(
        ADA, ("sales@example.test",), track="nothing", incoming="nothing", never_log=("*@never.test",)
    )
    found = rules.wanted(rules.settings(account), said, frozenset({GRACE}), sent=sent)
    assert (found.direction if found else None) == direction


def test_a_year_is_gone_through_by_weeks() -> None:
    today = date(2026, 11, 25)
    assert len(list(rules.spans(today - timedelta(days=364), today))) == 52
