"""What each part of a message is; how parts make a body stands in test_mime."""

from __future__ import annotations

import pytest

from proxyd.formats.body_parts import MOST_TEXT, Leaf, Multipart, PartHeader, Room


def header(*lines: bytes, within: PartHeader | None = None) -> PartHeader:
    read = PartHeader(Multipart(within) if within else None)
    for line in lines:
        read.line(line + b"\r\n")
    read.read()
    return read


@pytest.mark.parametrize(
    ("lines", "whole", "attached"),
    [
        pytest.param([], True, False, id="no header: text"),
        pytest.param([b"Content-Type: text/html"], False, False, id="HTML"),
        pytest.param([b"Content-Type: text/plain; name=a.txt"], False, True, id="text with a name is a file"),
        pytest.param([b"Content-Type: text/plain; name=a.txt"], True, False, id="but not where it is all there is"),
        pytest.param([b"Content-Disposition: attachment"], True, True, id="said to be attached"),
        pytest.param([b"content-disposition:", b" ATTACHMENT"], True, True, id="folded, in capitals"),
        pytest.param([b"Content-Type: text/enriched"], False, True, id="text that we do not read"),
        pytest.param([b"Content-Type: application/pkcs7-mime"], True, True, id="encrypted"),
        pytest.param([b"Content-Type: multipart/mixed"], True, False, id="a multipart without boundary"),
        pytest.param([b"Content-Type: /"], True, False, id="a type that is none"),
    ],
)
def test_text_or_attachment(lines: list[bytes], whole: bool, attached: bool) -> None:
    assert Leaf(header(*lines), whole, Room()).attached is attached


def test_of_other_fields_nothing_is_kept() -> None:
    read = PartHeader(None)
    for _ in range(100_000):
        read.line(b"X-Filler: " + b"x" * 60 + b"\r\n")
        read.line(b" content-type: text/html\r\n")
    read.line(b"Content-Type: text/html\r\n")
    read.read()
    assert read.type == "text/html"
    assert not read._lines


def test_a_field_without_end_is_kept_in_part() -> None:
    read = PartHeader(None)
    read.line(b"Content-Type: text/html;\r\n")
    for _ in range(100_000):
        read.line(b" x=y;\r\n")
    assert sum(map(len, read._lines)) < 20_000
    read.read()
    assert read.type == "text/html"


def test_all_parts_share_the_room_for_text() -> None:
    room = Room()
    leaves = [Leaf(header(), False, room) for _ in range(3)]
    for leaf in leaves:
        leaf.feed(b"x" * (MOST_TEXT // 2 + 1))
        leaf.finish()
    assert [leaf.cut for leaf in leaves] == [False, True, True]
    assert sum(len(leaf.text()) for leaf in leaves) == MOST_TEXT
