"""What a wire trace shows; and that whatever stands in a line, no word of it comes out that is not in the lists."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.redacted import imap_got, imap_sent, smtp_got, smtp_sent


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"EHLO [127.0.0.1]\r\n", ["EHLO … (12)"]),
        (b"AUTH PLAIN AGFkYQBzZWNyZXQ=\r\n", ["AUTH PLAIN … (17)"]),
        (b"c2VjcmV0\r\n", ["(10 octets)"]),
        (
            b"MAIL FROM:<ada@example.test> SIZE=300\r\nRCPT TO:<grace@customer.test>\r\nBDAT 9 LAST\r\nSubject: x",
            ["MAIL FROM … (28)", "RCPT TO … (22)", "BDAT 9 LAST", "(10 octets)"],
        ),
        (b"DATA\r\n", ["DATA"]),
        (b"Dear Grace,\r\nQUIT\r\nNOOP\r\n", ["(25 octets)"]),
        (b"DATABASE of secrets\r\n", ["(21 octets)"]),
    ],
)
def test_smtp_sent(octets: bytes, told: list[str]) -> None:
    assert list(smtp_sent(octets)) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"250 2.1.5 <grace@customer.test> ok", "250 2.1.5 … (24)"),
        (b"250-SIZE 35882577", "250-SIZE 35882577"),
        (b"250-AUTH PLAIN LOGIN XOAUTH2", "250-AUTH PLAIN LOGIN XOAUTH2"),
        (b"250-XSECRET ada", "250- … (11)"),
        (b"535 5.7.8 no such user ada", "535 5.7.8 … (16)"),
        (b"garbage", "(7 octets)"),
    ],
)
def test_smtp_got(line: bytes, told: str) -> None:
    assert smtp_got(line) == told


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b'AB1 LOGIN ada@example.test "secret"\r\n', ["LOGIN … (25)"]),
        (b"AB2 AUTHENTICATE XOAUTH2 dXNlcg==\r\n", ["AUTHENTICATE XOAUTH2 (and 1 more)"]),
        (b'AB3 EXAMINE "Secret folder"\r\n', ["EXAMINE … (15)"]),
        (
            b"AB4 UID FETCH 1:9,12 (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)])\r\n",
            ["UID FETCH 1:9,12 UID BODY.PEEK HEADER.FIELDS MESSAGE-ID IN-REPLY-TO REFERENCES"],
        ),
        (b'AB5 UID SEARCH HEADER Message-ID "x@y"\r\n', ["UID SEARCH … (23)"]),
        (b"DONE\r\n", ["DONE"]),
        (b"Dear Grace,\r\n", ["(13 octets)"]),
        (b"\r\n", ["(2 octets)"]),
    ],
)
def test_imap_sent(octets: bytes, told: list[str]) -> None:
    assert list(imap_sent(octets)) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"* 23 EXISTS\r\n", "* 23 EXISTS"),
        (b'* LIST (\\HasNoChildren) "/" "Secret folder"\r\n', "* LIST … (36)"),
        (b"* 5 FETCH (UID 7 BODY[TEXT] {300}\r\n", "* 5 FETCH … (23)"),
        (b"* OK [UIDVALIDITY 1234] valid\r\n", "* OK [UIDVALIDITY 1234]"),
        (b"AB12 NO [AUTHENTICATIONFAILED] no, ada\r\n", "tag NO [AUTHENTICATIONFAILED]"),
        (b"AB12 OK Logged in as ada\r\n", "tag OK … (16)"),
        (b"+ idling\r\n", "+ … (7)"),
        (b"Subject: Offer OK\r\n", "(19 octets)"),
        (b"\r\n", "(2 octets)"),
        (b"Grace OK here\r\n", "(15 octets)"),
    ],
)
def test_imap_got(line: bytes, told: str) -> None:
    assert imap_got(line) == told


SECRET = "quitte"
PIECES = st.sampled_from(
    [
        "EHLO",
        "MAIL FROM:<",
        "AUTH PLAIN",
        "AB1",
        "UID",
        "FETCH",
        "LOGIN",
        "*",
        "OK",
        "[",
        "]",
        "(",
        ")",
        "250",
        "-",
        "+",
        "2.0.0",
        "SIZE",
        "LIST",
    ]
).flatmap(
    lambda word: st.sampled_from([word, "1:3", "{5}", "BODY.PEEK[", SECRET, f"<{SECRET}@x>", "\r\n", " ", "DATA"])
)


@given(st.lists(PIECES, max_size=12), st.binary(max_size=20))
def test_no_word_but_those_in_the_lists(pieces: list[str], more: bytes) -> None:
    for joined in (" ".join(pieces), "".join(pieces)):
        octets = joined.encode() + more
        told = [*smtp_sent(octets), smtp_got(octets), *imap_sent(octets), imap_got(octets)]
        for line in told:
            assert SECRET not in line.lower()
            # What is left without octet counts and the brackets of ours is upper case, digits and marks.
            bare = re.sub(r"\(\d+ octets\)|\(and \d+ more\)|^tag|…", "", line)
            assert re.fullmatch(r"[A-Z0-9 .,:*()\[\]+_-]*", bare), line
