"""The words of one command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.imap_words import (
    Append,
    append,
    append_mailbox,
    astrings,
    decoded_mailbox,
    has_literal_mailbox,
    quoted,
)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([b"a LOGIN ada x\r\n"], [b"ada", b"x"]),
        ([b'a LOGIN "a d\\"a" "x\\\\"\r\n'], [b'a d"a', b"x\\"]),
        ([b'a LOGIN "" x\n'], [b"", b"x"]),
        ([b"a LOGIN {3}\r\n", b"a\r\n", b" {1+}\r\n", b"\0", b"\r\n"], [b"a\r\n", b"\0"]),
        ([b"a LOGIN {3}\r\n", b"ada", b" x\r\n"], [b"ada", b"x"]),
        ([b"a LOGIN ada {1}\r\n", b"x", b"\r\n"], [b"ada", b"x"]),
        ([b"a LOGIN \xc3\xa4 x\r\n"], [b"\xc3\xa4", b"x"]),
        ([b"a NOOP\r\n"], []),
        ([b"a LOGIN ada  x\r\n"], None),
        ([b'a LOGIN "ada"x\r\n'], None),
        ([b'a LOGIN "ada\r\n'], None),
        ([b"a LOGIN (ada) x\r\n"], None),
        ([b"a LOGIN ada{1}\r\n", b"x", b"\r\n"], None),
        ([b"a LOGIN {1}\r\n", b"x", b"y\r\n"], None),
    ],
)
def test_astrings(parts: list[bytes], words: list[bytes] | None) -> None:
    assert astrings(parts) == words


SENT = Append(b"Sent")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b"a APPEND Sent {5}\r\n"], SENT),
        ([b'a append "Sent" {5+}\r\n'], SENT),
        ([b"a APPEND {4}\r\n", b"Sent", b" {5}\r\n"], SENT),
        ([b"a APPEND Sent () {5}\r\n"], SENT),
        ([b"a APPEND Sent (\\Seen $Sent) {5}\r\n"], Append(b"Sent", ("\\Seen", "$Sent"))),
        (
            [b'a APPEND "S \\" t" (\\Seen) "23-Nov-2026 10:00:00 +0000" {5}\r\n'],
            Append(b'S " t', ("\\Seen",), "23-Nov-2026 10:00:00 +0000"),
        ),
        ([b'a APPEND Sent " 3-Nov-2026 10:00:00 +0000" {5}\r\n'], Append(b"Sent", (), " 3-Nov-2026 10:00:00 +0000")),
        ([b"a APPEND Sent ~{5}\r\n"], None),
        ([b"a APPEND Sent UTF8 (~{5}\r\n"], None),
        ([b"a APPEND Sent CATENATE (TEXT {5}\r\n"], None),
        ([b"a APPEND Sent (\\Seen {5}\r\n"], None),
        ([b"a APPEND Sent\r\n"], None),
        ([b"a APPEND\r\n"], None),
        ([b"a APPEND  {5}\r\n"], None),
    ],
)
def test_append(parts: list[bytes], said: Append | None) -> None:
    assert append(parts) == said


@pytest.mark.parametrize(
    ("line", "mailbox", "literal"),
    [
        (b"a APPEND Sent {5}\r\n", b"Sent", False),
        (b'a APPEND "Gel&APY-scht" (\\Seen) {5}\r\n', b"Gel&APY-scht", False),
        (b"a APPEND {5}\r\n", None, True),
        (b"a APPEND {5+}\r\n", None, True),
        (b"a APPEND Sent\r\n", None, False),
    ],
)
def test_the_mailbox_of_append(line: bytes, mailbox: bytes | None, literal: bool) -> None:
    assert append_mailbox(line) == mailbox
    assert has_literal_mailbox(line) is literal


@pytest.mark.parametrize(
    ("coded", "name"),
    [
        (b"Sent", "Sent"),
        (b"Gesendet &APw-ber", "Gesendet über"),
        (b"&ZeVnLIqe-", "日本語"),
        (b"&2D3cSw-", "👋"),
        (b"a&-b", "a&b"),
        (b"a&b", "a&b"),
        (b"&!!-", "&!!-"),
        (b"&AP-", "&AP-"),
        ("über".encode(), "über"),
        (b"\xfcber", "über"),
    ],
)
def test_names_of_mailboxes(coded: bytes, name: str) -> None:
    assert decoded_mailbox(coded) == name


@pytest.mark.parametrize(
    ("value", "in_quotes"),
    [
        (b"", b'""'),
        (b'a "b\\ c', b'"a \\"b\\\\ c"'),
        (b"a\r", None),
        (b"a\n", None),
        (b"a\0", None),
        ("ä".encode(), None),
        (b"\x7f", None),
    ],
)
def test_quoted(value: bytes, in_quotes: bytes | None) -> None:
    assert quoted(value) == in_quotes


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_what_is_quoted_reads_as_it_was(user: bytes, password: bytes) -> None:
    words = [quoted(user), quoted(password)]
    if None not in words:
        assert astrings([b"a LOGIN " + b" ".join(word or b"" for word in words) + b"\r\n"]) == [user, password]


@given(st.lists(st.binary(max_size=30), min_size=1))
def test_reading_never_raises(parts: list[bytes]) -> None:
    astrings(parts)
    append(parts)
    append_mailbox(parts[0])
    has_literal_mailbox(parts[0])
    decoded_mailbox(parts[0])
