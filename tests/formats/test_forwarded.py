"""Messages forwarded inline."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.forwarded import inline_heading
from proxyd.model import MailAddress

GRACE = MailAddress("Grace Hopper", "grace@customer.example")
ADA = MailAddress("", "ada@example.com")


@pytest.mark.parametrize(
    ("text", "author", "to", "subject", "date"),
    [
        pytest.param(
            "FYI\n\n---------- Forwarded message ---------\nFrom: Grace Hopper <grace@customer.example>\n"
            "Date: Mon, 23 Nov 2026 at 10:02\nSubject: Offer\nTo: <ada@example.com>\n\nText",
            GRACE,
            ADA,
            "Offer",
            datetime(2026, 11, 23, 10, 2, tzinfo=UTC),
            id="Gmail",
        ),
        pytest.param(
            "-------- Forwarded Message --------\nSubject: \tOffer\nDate: \tMon, 23 Nov 2026 11:02:00 +0100\n"
            "From: \tGrace Hopper <grace@customer.example>\nTo: \tada@example.com\n\n\nText",
            GRACE,
            ADA,
            "Offer",
            datetime(2026, 11, 23, 10, 2, tzinfo=UTC),
            id="Thunderbird",
        ),
        pytest.param(
            "Begin forwarded message:\n\n> From: Grace Hopper <grace@customer.example>\n> Subject: Offer\n"
            "> Date: 23 November 2026\n> To: ada@example.com\n> \n> Text",
            GRACE,
            ADA,
            "Offer",
            None,
            id="Apple Mail, quoted",
        ),
        pytest.param(
            "From: Grace Hopper [mailto:grace@customer.example] \nSent: Monday, November 23, 2026 10:02 AM\n"
            "To: ada@example.com\nSubject: Offer\n\nText",
            GRACE,
            ADA,
            "Offer",
            None,
            id="Outlook",
        ),
        pytest.param(
            "Von: Grace Hopper <grace@customer.example<mailto:grace@customer.example>>\nGesendet: Montag\n"
            "An: ada@example.com <mailto:ada@example.com>\nBetreff: Offer\n\nText",
            GRACE,
            ADA,
            "Offer",
            None,
            id="Outlook, German, with links",
        ),
        pytest.param(
            "*From:* Grace Hopper <grace@customer.example>\n*Sent:* Monday\n*To:* ada@example.com\n"
            "*Subject:* Offer\n\nText",
            GRACE,
            ADA,
            "Offer",
            None,
            id="in bold",
        ),
    ],
)
def test_reads_the_block(text: str, author: MailAddress, to: MailAddress, subject: str, date: datetime | None) -> None:
    said = inline_heading(text)
    assert said is not None
    assert said.from_ == (author,)
    assert said.to == (to,)
    assert said.subject == subject
    if date is not None:
        assert said.date == date
    assert said.message_id == ""


def test_reads_cc_and_wrapped_recipients() -> None:
    said = inline_heading(
        "From: g@x.example\nDate: x\nTo: a@x.example,\n b@x.example\nCc: c@x.example\nSubject: S\n\nd@x"
    )
    assert said is not None
    assert [each.address for each in said.to] == ["a@x.example", "b@x.example"]
    assert [each.address for each in said.cc] == ["c@x.example"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("hello", id="no block"),
        pytest.param("From: grace@x.example\nTo: ada@x.example", id="two fields are none"),
        pytest.param("From: somebody\nSent: x\nTo: y\nSubject: z", id="nobody is named"),
        pytest.param("", id="nothing"),
    ],
)
def test_no_block(text: str) -> None:
    assert inline_heading(text) is None


LINES = st.sampled_from(
    ["From: a@b", "To: c@d", "Date: 1 Jan", "Subject: x", "Cc:", "", "> ", "words", "From:", "Subject: " + "x" * 99]
)


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)))
def test_never_raises(text: str) -> None:
    inline_heading(text)
