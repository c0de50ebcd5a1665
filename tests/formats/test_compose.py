"""Messages composed, as the standard library and our own reader understand them."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.compose import Draft, File, NotComposable, compose
from proxyd.formats.message import heading, split_header
from proxyd.formats.mime import BodyReader, attachment
from proxyd.model import Body, MailAddress

ADA = MailAddress("Ada Lovelace", "ada@example.test")
GRACE = MailAddress("Grace Hopper", "grace@customer.test")
PNG = File("logo.png", "image/png", b"\x89PNG", "logo@x")
PDF = File("Angebot für Größe L.pdf", "application/pdf", b"%PDF-1.4\r\n" * 100)


def made(**more: Any) -> bytes:
    draft = Draft(**({"from_": ADA, "to": (GRACE,)} | more))
    return compose(draft, "new@example.test", "Mon, 23 Nov 2026 10:00:00 +0000")


def read(octets: bytes) -> Body:
    reader = BodyReader()
    reader.feed(octets)
    return reader.finish()


def judged(octets: bytes) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(octets, policy=default))


def test_text_alone_is_one_part_in_seven_bits() -> None:
    octets = made(subject="Größe — 見積", text="Liebe Grace,\nhier ist es: größer.\n.\nFrom here\n")
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    assert b"\n" not in octets.replace(b"\r\n", b"")
    said = heading(octets)
    assert (said.subject, said.message_id, said.from_, said.to) == (
        "Größe — 見積",
        "new@example.test",
        (ADA,),
        (GRACE,),
    )
    assert read(octets).text == "Liebe Grace,\nhier ist es: größer.\n.\nFrom here"
    assert judged(octets)["subject"] == "Größe — 見積"


def test_html_pictures_and_attachments_each_stand_where_clients_look_for_them() -> None:
    octets = made(html='<p>Hello <img src="cid:logo@x"></p>', files=(PNG, PDF))
    body = read(octets)
    assert (body.text, body.has_html) == ("Hello", True)
    assert [(each.name, each.inline) for each in body.attachments] == [("logo.png", True), (PDF.name, False)]
    assert b"".join(attachment([octets], 1)) == PDF.octets
    whole = judged(octets)
    assert [each.get_content_type() for each in whole.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    assert [each.get_filename() for each in whole.iter_attachments()] == [PDF.name]


def test_a_picture_in_the_text_alone_is_an_attachment() -> None:
    body = read(made(text="see", files=(PNG,)))
    assert [(each.name, each.inline) for each in body.attachments] == [("logo.png", False)]


def test_threading_fields_hold_every_id_as_it_is() -> None:
    long = "x" * 200 + "@mail.customer.test"
    octets = made(in_reply_to=long, references=("root@x", *(f"m{n}@x" for n in range(60)), long))
    said = heading(octets[: split_header(octets)])
    assert said.in_reply_to == (long,)
    assert (said.references[0], said.references[-1], len(said.references)) == ("root@x", long, 30)
    assert b"=?" not in octets


def test_an_id_that_nobody_may_write_is_left_out_or_refused() -> None:
    assert heading(made(references=("a@x", "b c@x", "d\r\nX: y@x"))).references == ("a@x",)
    with pytest.raises(NotComposable):
        made(in_reply_to="a@x>\r\nBcc: eve@evil.test")


BREAKS = ["\r\nBcc: eve@evil.test", "\nX: y", "\rX", "\x00", "\x0b", "\u2028X: y", "\x85X"]


@pytest.mark.parametrize("bad", BREAKS, ids=ascii)
@pytest.mark.parametrize(
    "where",
    [
        lambda bad: {"subject": f"Offer{bad}"},
        lambda bad: {"to": (MailAddress(f"Grace{bad}", "grace@customer.test"),)},
        lambda bad: {"to": (MailAddress("", f"grace@customer.test{bad}"),)},
        lambda bad: {"cc": (MailAddress("", f"gra{bad}ce@customer.test"),)},
        lambda bad: {"from_": MailAddress(f"Ada{bad}", "ada@example.test")},
        lambda bad: {"files": (File(f"a{bad}.pdf", "application/pdf", b""),)},
        lambda bad: {"html": "<img src='cid:a'>", "files": (File("a", "image/png", b"", f"a{bad}"),)},
    ],
)
def test_nobody_writes_a_field_of_their_own(where: Any, bad: str) -> None:
    with pytest.raises(NotComposable):
        made(**where(bad))


def test_a_media_type_writes_no_field_either() -> None:
    octets = made(files=(File("a", "application/pdf\r\nX: y", b"1"), File("b", "multipart/mixed; boundary=x", b"2")))
    assert [each.type for each in read(octets).attachments] == ["application/octet-stream"] * 2
    assert b"\r\nX: y" not in octets


NO_ADDRESSES = ["", "grace", "a b@x.test", "@x.test", "a@", "a@x..test", "ü@x.test", "a,b@x.test", "<a@x.test>"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_not_sent_to(address: str) -> None:
    with pytest.raises(NotComposable, match="accepted"):
        made(to=(MailAddress("", address),))


def test_a_domain_beyond_ascii_goes_as_the_dns_has_it() -> None:
    assert Draft(ADA, (MailAddress("", "grace@bücher.example"),)).recipients == ("grace@xn--bcher-kva.example",)


def test_nobody_and_too_many_are_said() -> None:
    with pytest.raises(NotComposable, match="nobody"):
        made(to=())
    with pytest.raises(NotComposable, match="at most 500"):
        made(to=tuple(MailAddress("", f"a{n}@x.test") for n in range(501)))


@given(st.text(max_size=200), st.text(max_size=400))
def test_whatever_is_written_arrives_or_is_refused(subject: str, text: str) -> None:
    try:
        octets = made(subject=subject, text=text)
    except NotComposable:
        return
    header = octets[: split_header(octets)]
    names = re.findall(rb"(?m)^([A-Za-z-]+):", header)
    assert sorted(names) == sorted(set(names))
    assert set(names) <= {
        b"Message-ID",
        b"Date",
        b"From",
        b"To",
        b"Subject",
        b"MIME-Version",
        b"Content-Type",
        b"Content-Transfer-Encoding",
    }
    assert heading(header).to == (GRACE,)
