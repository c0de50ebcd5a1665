"""Header fields cut out of a FETCH's answers: what is written as usual, and nothing of what is written otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.imap_fields import cut_out

SECTION = b"BODY[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)]"
ONE = b"* 1 FETCH (UID 7 " + SECTION + b" {17}\r\nMessage-ID: <a>\r\n)\r\n"
BEHIND = b"* 2 FETCH (" + SECTION + b" {2}\r\n\r\n UID 8)\r\n"
EMPTY = b"* 3 FETCH (UID 9 " + SECTION + b" {0}\r\n)\r\n"


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        pytest.param(ONE, {7: b"Message-ID: <a>\r\n"}, id="the UID before"),
        pytest.param(BEHIND, {8: b"\r\n"}, id="the UID behind"),
        pytest.param(EMPTY, {9: b""}, id="a literal of nothing"),
        pytest.param(ONE + BEHIND + EMPTY, {7: b"Message-ID: <a>\r\n", 8: b"\r\n", 9: b""}, id="several"),
        pytest.param(ONE + b"* 4 EXISTS\r\n" + BEHIND, {7: b"Message-ID: <a>\r\n"}, id="up to what is something else"),
    ],
)
def test_the_usual_forms(octets: bytes, found: dict[int, bytes]) -> None:
    assert cut_out(octets)[0] == found


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"* 4 EXISTS\r\n",
        b"p4 OK done\r\n",
        b"* 1 FETCH (UID 7 " + SECTION + b" NIL)\r\n",
        b"* 1 FETCH (UID 7 " + SECTION + b' "")\r\n',
        b"* 1 FETCH (FLAGS (\\Seen) UID 7 " + SECTION + b" {2}\r\n\r\n)\r\n",
        b"* 1 FETCH (UID 7 " + SECTION + b" {2}\r\n\r\n FLAGS ())\r\n",
        b"* 1 FETCH (UID 7 BODY[] {2}\r\n\r\n)\r\n",
        b"* 1 FETCH (" + SECTION + b" {2}\r\n\r\n)\r\n",
        b"* 1 FETCH (UID 7 " + SECTION + b" {99999999}\r\n",
    ],
)
def test_anything_else_is_left_where_it_is(octets: bytes) -> None:
    assert cut_out(octets) == ({}, 0)


@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), st.binary(max_size=80)), max_size=5), st.data())
def test_cut_anywhere_it_gives_what_lies_there_whole(messages: list[tuple[int, bytes]], data: st.DataObject) -> None:
    answers = [b"* 1 FETCH (UID %d %s {%d}\r\n%s)\r\n" % (uid, SECTION, len(of), of) for uid, of in messages]
    stream = b"".join(answers)
    cut = data.draw(st.integers(0, len(stream)))
    found, octets = cut_out(stream[:cut])
    whole = 0
    while whole < len(answers) and len(b"".join(answers[: whole + 1])) <= cut:
        whole += 1
    assert (found, octets) == (dict(messages[:whole]), len(b"".join(answers[:whole])))
