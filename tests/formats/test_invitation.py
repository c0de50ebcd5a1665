"""Invitations as calendars send them, and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.invitation import Invitation, invitations

MEETING = b"""BEGIN:VCALENDAR\r
METHOD:REQUEST\r
VERSION:2.0\r
BEGIN:VTIMEZONE\r
TZID:Europe/Berlin\r
BEGIN:STANDARD\r
DTSTART:19701025T030000\r
TZOFFSETFROM:+0200\r
TZOFFSETTO:+0100\r
END:STANDARD\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
UID:1@x\r
SUMMARY:Angebot besprechen\\, Teil 2\r
DTSTART;TZID=Europe/Berlin:20261123T100000\r
DTEND;TZID=Europe/Berlin:20261123T110000\r
LOCATION:Raum 3\r
ORGANIZER;CN=Ada:mailto:ada@example.test\r
ATTENDEE;CN=Grace:MAILTO:grace@customer.test\r
ATTENDEE:mailto:lin@customer.test\r
RRULE:FREQ=SECONDLY\r
STATUS:CONFIRMED\r
END:VEVENT\r
END:VCALENDAR\r
"""


def test_a_meeting_says_what_when_where_and_who() -> None:
    assert invitations(MEETING) == (
        Invitation(
            method="REQUEST",
            summary="Angebot besprechen, Teil 2",
            start="2026-11-23T09:00:00Z",
            end="2026-11-23T10:00:00Z",
            where="Raum 3",
            organizer="ada@example.test",
            attendees=("grace@customer.test", "lin@customer.test"),
            repeats=True,
            status="CONFIRMED",
        ),
    )


def test_a_day_without_a_time_is_a_day() -> None:
    day = MEETING.replace(b"DTSTART;TZID=Europe/Berlin:20261123T100000", b"DTSTART;VALUE=DATE:20261123")
    assert invitations(day)[0].start == "2026-11-23"


@pytest.mark.parametrize("octets", [b"", b"\xff\xfe", b"BEGIN:VCALENDAR", b"x" * 300_000, MEETING[:300]])
def test_what_is_no_calendar_says_nothing(octets: bytes) -> None:
    assert invitations(octets) == ()


def test_many_events_and_many_people_are_cut_short() -> None:
    event = MEETING[MEETING.index(b"BEGIN:VEVENT") : MEETING.index(b"END:VCALENDAR")]
    crowd = event.replace(b"RRULE", b"ATTENDEE:mailto:a@b.test\r\n" * 300 + b"RRULE")
    found = invitations(b"BEGIN:VCALENDAR\r\n" + crowd * 20 + b"END:VCALENDAR\r\n")
    assert len(found) <= 20
    assert all(len(each.attendees) <= 100 for each in found)


@given(st.binary(max_size=200))
def test_nothing_raises(octets: bytes) -> None:
    invitations(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:" + octets + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
