"""What stands in a report; the forms of the field are in tests/corpus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.reports import MOST, READ, read, reported_ids
from proxyd.reported import RecipientStatus

TOP = 'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\n\n'


def status(text: str) -> tuple[RecipientStatus, ...]:
    octets = f"{TOP}--B\nContent-Type: message/delivery-status\n\n{text}\n--B--\n"
    return read(octets.replace("\n", "\r\n").encode()).recipients


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.1.1\n",
            [RecipientStatus("a@b", "failed", "5.1.1")],
            id="plain",
        ),
        pytest.param(
            "Final-Recipient: rfc822; new@b\nOriginal-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.1.1\n",
            [RecipientStatus("a@b", "failed", "5.1.1")],
            id="the original recipient is whom the person wrote to",
        ),
        pytest.param(
            "Final-Recipient: rfc822; a@b\nStatus: 4.4.7\n",
            [RecipientStatus("a@b", "delayed", "4.4.7")],
            id="no action",
        ),
        pytest.param("Final-Recipient: rfc822; a@b\nAction: perhaps\nStatus: 5.0.0\n", [], id="no known action"),
        pytest.param("Final-Recipient: x400; /O=x/\nAction: failed\n", [], id="another kind of address"),
        pytest.param("Final-Recipient: a@b\nAction: failure\n", [RecipientStatus("a@b", "failed")], id="no kind"),
        pytest.param(
            "Final-Recipient: rfc822; a@b\nAction: failed\nDiagnostic-Code: smtp; 550-no\n such user\n",
            [RecipientStatus("a@b", "failed", "550", "550-no such user")],
            id="a folded diagnostic with a reply code",
        ),
        pytest.param("", [], id="empty"),
    ],
)
def test_delivery_status(text: str, found: list[RecipientStatus]) -> None:
    assert list(status(text)) == found


def test_recipients_and_words_are_limited() -> None:
    many = "".join(f"Final-Recipient: rfc822; {n}@b\nAction: failed\n\n" for n in range(1200))
    assert len(status(many)) == MOST
    (one,) = status("Final-Recipient: rfc822; a@b\nAction: failed\nDiagnostic-Code: smtp; " + "x" * 5000)
    assert len(one.detail) <= 400


@given(st.binary(max_size=2000))
def test_any_octets(octets: bytes) -> None:
    for type in ("message/rfc822", "text/rfc822-headers", "message/disposition-notification"):
        reported_ids(type, b"Content-Transfer-Encoding: base64\r\n", octets)
    read(octets)
    read(TOP.encode() + b"--B\r\nContent-Type: message/delivery-status\r\n\r\n" + octets)
    read(b"From: MAILER-DAEMON@x\r\n\r\n" + octets)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<a@b>:\n" * 60_000, id="addresses"),
        pytest.param(b"a" * READ, id="one word"),
        pytest.param(b"message-id:\n" * 40_000, id="ids begun"),
        pytest.param(b"> " * 120_000, id="quotes"),
        pytest.param(b"-" * READ, id="lines"),
        pytest.param(b"@" * READ, id="at signs"),
        pytest.param(b"x@" * 100_000, id="half addresses"),
        pytest.param(b"1." * 100_000, id="numbers"),
    ],
)
def test_hostile_texts_are_read_to_their_end(body: bytes) -> None:
    """What goes quadratic here takes minutes."""
    assert len(read(b"From: MAILER-DAEMON@x\r\n\r\n" + body).mentioned) <= MOST
    status(body.decode().replace("\n", "\n\n"))
