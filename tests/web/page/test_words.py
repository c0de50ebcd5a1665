"""How the page says things."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from proxyd.model import CopyState, FiledBy, Health, Source, State
from proxyd.web.page import words

GRACE = "grace@customer.test"
NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("iso", "said"),
    [
        ("2026-11-25T10:29:30Z", "just now"),
        ("2026-11-25T10:12:00Z", "18 min ago"),
        ("2026-11-25T09:02:00Z", "09:02"),
        ("2026-11-25T11:00:00Z", "11:00"),  # a clock that goes wrong
        ("2026-11-24T23:59:00Z", "yesterday, 23:59"),
        ("2026-11-20T08:00:00Z", "Friday, 08:00"),
        ("2026-11-01T08:00:00Z", "1 Nov, 08:00"),
        ("2025-12-31T08:00:00Z", "31 Dec 2025"),
    ],
)
def test_an_instant_as_a_person_says_it(iso: str, said: str) -> None:
    assert words.when(iso, NOW, UTC).words == said


def test_an_instant_is_exact_too_and_in_the_zone_of_whoever_looks() -> None:
    at = words.when("2026-11-24T23:30:00Z", NOW, timezone(timedelta(hours=1)))
    assert (at.words, at.iso) == ("00:30", "2026-11-24T23:30:00Z")
    assert at.exact == "Wednesday, 25 November 2026, 00:30:00"


@pytest.mark.parametrize(
    ("name", "address", "shown"),
    [
        ("Grace Hopper", "g@x.example", "GH"),
        ("Dr. Grace Brewster Murray Hopper", "g@x.example", "DH"),
        ("grace", "g@x.example", "G"),
        ("", "grace.hopper@x.example", "GH"),
        ("", "4711@x.example", "4"),
        ("李 明", "li@x.example", "李明"),
        ("!!!", "@", "?"),
    ],
)
def test_initials(name: str, address: str, shown: str) -> None:
    assert words.initials(name, address) == shown


def test_the_same_person_has_the_same_colour() -> None:
    assert words.hue("Grace@x.example") == words.hue("grace@x.example")
    assert {words.hue(f"{n}@x.example") for n in range(100)} == set(range(words.HUES))


def logged(**more: Any) -> dict[str, Any]:
    bare = {"kind": "message", "state": "sent", "sent_copy": None, "dropbox": None, "crm": []}
    return bare | {"notice": None, "participant": None, "delivery": []} | more


@pytest.mark.parametrize(
    ("message", "tone", "said"),
    [
        (logged(), "good", "Sent"),
        (logged(state="received"), "calm", "Received"),
        (logged(state="submitting"), "calm", "Not sent yet"),
        (logged(state="refused"), "bad", "Refused: not sent"),
        (logged(state="bounced"), "bad", "Bounced"),
        (logged(state="unknown"), "warn", "Unclear whether sent"),
        (logged(kind="bounce", state="received"), "bad", "Bounced"),
        (logged(kind="auto_reply", state="received"), "warn", "Out of office"),
        (logged(kind="auto_reply", notice="delivery_delayed"), "warn", "Delayed, still being tried"),
        (logged(kind="auto_reply", notice="read"), "good", "Read receipt"),
    ],
)
def test_what_became_of_a_message(message: dict[str, Any], tone: str, said: str) -> None:
    assert words.state(message) == words.Said(tone, said)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (logged(crm=[{"state": "delivered"}], sent_copy={"state": "present"}, dropbox={"state": "sent"}), []),
        (logged(crm=[{"state": "waiting"}, {"state": "delivered"}]), ["Waiting for the CRM"]),
        (logged(crm=[{"state": "waiting"}, {"state": "failed"}]), ["Not in the CRM"]),
        (logged(sent_copy={"state": "failed"}), ["No copy in Sent"]),
        (logged(dropbox={"state": "waiting"}), ["CRM copy waits"]),
        (logged(dropbox={"state": "failed"}), ["CRM copy failed"]),
        (logged(participant="unknown"), ["New in this conversation"]),
        (logged(delivery=[{"state": "delayed"}, {"state": "read"}]), ["Delayed, still being tried", "Read"]),
    ],
)
def test_what_else_is_to_be_seen_at_once(message: dict[str, Any], said: list[str]) -> None:
    assert [each.text for each in words.concerns(message)] == said


def test_who_settled_the_sent_copy() -> None:
    copy = {"state": "present", "by": "client", "folder": "Gesendet", "copies": 1}
    assert words.sent_copy(copy) == "One copy in Gesendet, filed by your mail program."
    assert words.sent_copy(copy | {"copies": 2, "by": "provider"}) == "2 copies in Gesendet, filed by your provider."
    assert words.sent_copy({"state": "failed", "error": "quota"}) == "No copy in Sent: quota"


def test_every_word_of_the_vocabulary_is_said() -> None:
    assert set(words.HEALTH) == set(Health)
    assert set(words.SOURCES) == set(Source)
    assert set(words.FILED_BY) == set(FiledBy)
    for state in State:
        assert words.state(logged(state=str(state))).text
    for copied in CopyState:
        assert words.sent_copy({"state": str(copied), "by": "client", "folder": "Sent", "copies": 1})


def test_what_a_report_said_of_a_recipient() -> None:
    report = {"address": GRACE, "state": "failed", "status": "5.1.1", "detail": "No such user"}
    assert words.delivery(report) == f"{GRACE}: failed (5.1.1 No such user)"
    assert words.delivery(report | {"status": "", "detail": ""}) == f"{GRACE}: failed"


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-12-01T10:00:00+01:00", "2026-12-01T11:30:00+01:00", "Tuesday, 1 December 2026, 09:00 to 10:30"),
        ("2026-12-01T10:00:00", "2026-12-02T11:30:00", "Tuesday, 1 December 2026, 10:00 to 2 December, 11:30"),
        ("2026-12-01T10:00:00", "", "Tuesday, 1 December 2026, 10:00"),
        ("2026-12-01T10:00:00", "2026-12-01T10:00:00+00:00", "Tuesday, 1 December 2026, 10:00"),
        ("2026-12-01", "2026-12-02", "Tuesday, 1 December 2026"),
        ("some day", "", "some day"),
    ],
)
def test_when_an_invitation_is_for(start: str, end: str, said: str) -> None:
    assert words.appointment(start, end, UTC) == said


def test_what_came_of_a_letter() -> None:
    sent = {"state": "sent", "logged": True, "because": "recipient x is a contact"}
    assert words.outcome(sent) == "Sent."
    assert words.outcome(sent | {"logged": False, "because": "no recipient is a contact"}) == (
        "Sent. Not logged: no recipient is a contact."
    )
    assert "being found out" in words.outcome(sent | {"state": "unknown"})
    assert words.outcome(sent | {"state": "submitting", "spooled": True}).startswith("Kept here")


def test_where_time_heals_that_is_said() -> None:
    assert words.patience({"state": "unreachable", "evidence": "x"}).startswith("Is this computer online?")
    assert words.patience({"state": "connecting", "evidence": ""}).startswith("Nothing to do")
    for state in ("connected", "password_refused", "connecting"):
        assert words.patience({"state": state, "evidence": "authentication failed"}) == ""
