"""A message under a known Message-ID: when it is the same, when it completes the record, when it is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from proxyd.model import Attachment, Body, Heading, MailAddress
from proxyd.rules.again import Completes, completes, same_message

WHEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
GRACE = MailAddress("Grace", "grace@customer.test")
LOGGED = Heading(message_id="r1@c.test", in_reply_to=("m1@e.test",), date=WHEN, from_=(GRACE,))


@pytest.mark.parametrize(
    ("comes", "same"),
    [
        (LOGGED, True),
        (replace(LOGGED, from_=(MailAddress("", "GRACE@customer.test"),), subject="other"), True),
        (replace(LOGGED, in_reply_to=(), references=("m1@e.test",)), True),
        (replace(LOGGED, from_=(MailAddress("Grace", "mallory@elsewhere.test"),)), False),
        (replace(LOGGED, from_=(GRACE, MailAddress("", "mallory@elsewhere.test"))), False),
        (replace(LOGGED, date=WHEN.replace(minute=1)), False),
        (replace(LOGGED, in_reply_to=("m2@e.test",)), False),
        (replace(LOGGED, references=("m2@e.test",)), False),
    ],
    ids=["itself", "written otherwise", "one field for two", "another author", "one more", "date", "thread", "threads"],
)
def test_the_same_message(comes: Heading, same: bool) -> None:
    assert same_message(LOGGED, comes) is same


def test_without_an_author_nothing_is_the_same() -> None:
    nobody = replace(LOGGED, from_=())
    assert not same_message(nobody, nobody)


def attachment(name: str, sha256: str, *, size: int = 50_000, type: str = "application/pdf") -> Attachment:
    return Attachment(name, type, size, sha256, False)


def body(*attachments: Attachment, text: str = "Here it is.") -> Body:
    return Body(text, text, False, attachments)


OFFER, TERMS = attachment("offer.pdf", "a"), attachment("terms.pdf", "b")
SCAN = attachment("ATP Scan In Progress.eml", "s", size=900, type="message/rfc822")
NOTE = attachment("offer.pdf.txt", "n", size=200, type="text/plain")
FORGED = attachment("offer.pdf", "f")
BIG_NOTE = attachment("minutes.txt", "t", size=100_000, type="text/plain")


@pytest.mark.parametrize(
    ("logged", "comes", "words"),
    [
        (body(SCAN), body(OFFER), "1 attachment came later, 1 of them for a placeholder"),
        (body(SCAN), body(OFFER, TERMS), "2 attachments came later"),
        (body(NOTE), body(OFFER), "1 attachment came later"),
        (body(), body(OFFER), "1 attachment came later"),
        (body(OFFER), body(OFFER, TERMS), "1 attachment came later"),
        (body(text=""), body(OFFER, text="Here it is."), "1 attachment"),
        (body(text=""), body(text="Here it is."), "0 attachments"),
        (body(SCAN, TERMS), body(OFFER, TERMS, text="Here  it\r\nis."), "1 attachment"),
    ],
)
def test_it_completes(logged: Body, comes: Body, words: str) -> None:
    verdict = completes(logged, comes)
    assert isinstance(verdict, Completes)
    assert words in verdict.because


@pytest.mark.parametrize(
    ("logged", "comes", "words"),
    [
        (body(OFFER), body(OFFER), "nothing new"),
        (body(OFFER), body(FORGED), "missing"),
        (body(OFFER), body(FORGED, TERMS), "missing"),
        (body(OFFER, TERMS), body(OFFER), "missing"),
        (body(SCAN), body(), "less"),
        (body(SCAN), body(OFFER, text="Pay to this account instead."), "another"),
        (body(), body(text=""), "another"),
        (body(BIG_NOTE), body(attachment("minutes.pdf", "m")), "missing"),
        (body(NOTE), body(attachment("other.pdf", "m")), "missing"),
    ],
)
def test_it_is_left_alone(logged: Body, comes: Body, words: str) -> None:
    verdict = completes(logged, comes)
    assert not isinstance(verdict, Completes)
    assert words in verdict.because
