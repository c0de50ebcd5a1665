"""The letter about a mail that did not go, as a mail program and as our own reader of reports read it."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from typing import Any

import pytest

from proxyd.formats.nondelivery import Undelivered, message_id, report
from proxyd.formats.reports import read

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MESSAGE = (
    b"From: ada@example.test\r\nTo: grace@customer.test\r\nSubject: Offer\r\nMessage-ID: <1@example.test>\r\n\r\nHi\r\n"
)


def undelivered(**more: Any) -> Undelivered:
    said: dict[str, Any] = {
        "id": "01KABCDEFGHJKMNPQRSTVWXYZ0",
        "address": "ada@example.test",
        "recipients": ("grace@customer.test", "mary@customer.test"),
        "subject": "Offer",
        "sent_at": AT,
        "waited_since": AT,
        "why": "550 5.1.1 <mary@customer.test>: no such user (nobody got it)",
        "code": 550,
        "known": True,
        "returned": MESSAGE,
        "whole": True,
    }
    return Undelivered(**(said | more))


def parsed(octets: bytes) -> Any:
    made = email.message_from_bytes(octets, policy=email.policy.default)
    assert not made.defects
    assert all(not part.defects for part in made.walk())
    return made


def test_a_delivery_status_notification() -> None:
    octets = report(undelivered(), AT)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    made = parsed(octets)
    assert (made.get_content_type(), made.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert made["Auto-Submitted"] == "auto-replied"
    assert (made["To"], made["Subject"]) == ("ada@example.test", "Not delivered: Offer")
    words, status, returned = made.iter_parts()
    assert "proxyd spool retry 01KABCDEFGHJKMNPQRSTVWXYZ0" in words.get_content()
    about, *people = status.get_payload()
    assert about["Reporting-MTA"] == "dns; localhost"
    assert [(each["Final-Recipient"], each["Action"], each["Status"]) for each in people] == [
        ("rfc822; grace@customer.test", "failed", "5.1.1"),
        ("rfc822; mary@customer.test", "failed", "5.1.1"),
    ]
    assert returned.get_payload(0)["Message-ID"] == "<1@example.test>"
    assert MESSAGE in octets, "octet for octet"


def test_as_a_reader_of_reports_reads_it() -> None:
    said = read(report(undelivered(), AT))
    assert said.ids == ("1@example.test",)
    assert {(each.address, each.action, each.status) for each in said.recipients} == {
        ("grace@customer.test", "failed", "5.1.1"),
        ("mary@customer.test", "failed", "5.1.1"),
    }


@pytest.mark.parametrize(
    ("why", "code", "status"),
    [
        ("552 5.3.4 too big", 552, "5.3.4"),
        ("554 no", 554, "5.0.0"),
        ("the provider did not take it for 4 days; the last time: 451 4.7.1 later", None, "4.4.7"),
    ],
)
def test_its_status(why: str, code: int | None, status: str) -> None:
    _, about, _ = parsed(report(undelivered(why=why, code=code), AT)).iter_parts()
    first = about.get_payload()[1]
    assert first["Status"] == status
    assert ("Diagnostic-Code" in first) is (code is not None)


def test_octets_beyond_ascii_and_a_large_message() -> None:
    eight = "From: ada@example.test\r\nSubject: Grüße\r\n\r\n".encode() + b"\xe4\xff\r\n"
    people = ("jürgen@kunde.test",)
    octets = report(undelivered(returned=eight, recipients=people, subject="Grüße\r\nBcc: x@y"), AT)
    made = parsed(octets)
    assert made["Bcc"] is None
    assert made["Subject"] == "Not delivered: Grüße Bcc: x@y"
    _, status, _ = made.iter_parts()
    assert status.get_payload()[1]["Final-Recipient"] == r"utf-8; j\x{FC}rgen@kunde.test"
    assert eight in octets
    _, _, beginning = parsed(report(undelivered(returned=MESSAGE[:-4], whole=False), AT)).iter_parts()
    assert beginning.get_content_type() == "text/rfc822-headers"


def test_of_which_nobody_knows_is_no_notification_of_anything() -> None:
    made = parsed(report(undelivered(known=False, code=None, why="cut off"), AT))
    assert made.get_content_type() == "multipart/mixed"
    words, returned = made.iter_parts()
    assert "Nobody knows whether this mail was sent" in words.get_content()
    assert returned.get_content_type() == "message/rfc822"


def test_the_same_news_has_the_same_name() -> None:
    once, again = undelivered(), undelivered(why="another")
    later = undelivered(waited_since=AT.replace(hour=11))
    assert message_id(once) == message_id(again)
    assert len({message_id(each) for each in (once, later, undelivered(known=False))}) == 3
