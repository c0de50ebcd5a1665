"""What a calendar invitation says (RFC 5545, RFC 5546), in the few words that a person needs. Nothing is expanded: a
rule that repeats for ever is named, not followed.

icalendar is imported with the first invitation: 91 modules and 3 MiB that many a daemon never needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

MOST_READ = 256 * 1024  # octets
MOST_EVENTS = 20
MOST_PEOPLE = 100
_LONGEST = 1000  # characters of a text


@dataclass(frozen=True, slots=True)
class Invitation:
    """`start` and `end` are ISO 8601: with an offset, of a day without a time, or without an offset where the sender
    named no zone. `method` is the calendar's: REQUEST, REPLY, CANCEL …"""

    method: str
    summary: str
    start: str
    end: str
    where: str
    organizer: str
    attendees: tuple[str, ...]
    repeats: bool
    status: str


def invitations(octets: bytes) -> tuple[Invitation, ...]:
    """Of a text/calendar part; none where it cannot be read. Never raises."""
    if len(octets) > MOST_READ:
        return ()
    from icalendar import Calendar

    try:
        calendars = Calendar.from_ical(octets, multiple=True)
        return tuple(each for calendar in calendars for each in _events(calendar))[:MOST_EVENTS]
    except Exception:  # whatever a hostile calendar makes the library raise: the file itself is still there
        return ()


def _events(calendar: Any) -> Iterable[Invitation]:
    method = _text(calendar.get("METHOD")).upper()
    for event in calendar.subcomponents[:MOST_EVENTS]:
        if event.name in ("VEVENT", "VTODO"):
            yield Invitation(
                method=method,
                summary=_text(event.get("SUMMARY")),
                start=_instant(event.get("DTSTART")),
                end=_instant(event.get("DTEND") or event.get("DUE")),
                where=_text(event.get("LOCATION")),
                organizer=_address(event.get("ORGANIZER")),
                attendees=tuple(_address(each) for each in _every(event.get("ATTENDEE"))[:MOST_PEOPLE]),
                repeats="RRULE" in event,
                status=_text(event.get("STATUS")).upper(),
            )


def _every(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    text = "" if value is None else str(value)[:_LONGEST]
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _address(value: Any) -> str:
    said = _text(value)
    return said[7:] if said[:7].lower() == "mailto:" else said


def _instant(value: Any) -> str:
    at = getattr(value, "dt", None)
    if isinstance(at, datetime) and at.tzinfo is not None:
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return at.isoformat() if isinstance(at, date) else ""
