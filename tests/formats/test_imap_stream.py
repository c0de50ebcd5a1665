"""Lines and literals, however they are cut on their way."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.imap_stream import (
    LONG_LINE,
    Answer,
    AnswerReader,
    CommandReader,
    Line,
    Literal,
    literal_at_end,
    tag_and_verb,
    with_kind,
)


@pytest.mark.parametrize(
    ("line", "literal"),
    [
        (b"a LOGIN {5}\r\n", Literal(5, waits=True)),
        (b"a LOGIN {5+}\r\n", Literal(5, waits=False)),
        (b"a APPEND x ~{5}\r\n", Literal(5, waits=True, binary=True)),
        (b"a APPEND x ~{0+}\n", Literal(0, waits=False, binary=True)),
        (b"a {99999999999}\r\n", Literal(99999999999, waits=True)),
        (b"a {9223372036854775807}\r\n", Literal(2**63 - 1, waits=True)),
        (b"a {99999999999999999999}\r\n", None),
        (b'a "{5}"\r\n', None),
        (b"a {5} \r\n", None),
        (b"a {-5}\r\n", None),
        (b"a {}\r\n", None),
        (b"a {+}\r\n", None),
        (b"a 5}\r\n", None),
        (b"a {5}", None),
        (b"}\r\n", None),
        (b"\n", None),
        (b"", None),
    ],
)
def test_what_a_line_announces(line: bytes, literal: Literal | None) -> None:
    assert literal_at_end(line) == literal


@pytest.mark.parametrize("line", [b"a x {5}\r\n", b"a x {5+}\r\n", b"a x ~{5}\r\n", b"a {1} {5+}\n"])
@pytest.mark.parametrize("waits", [True, False])
def test_another_kind_of_literal(line: bytes, waits: bool) -> None:
    changed = with_kind(line, waits=waits)
    said = literal_at_end(changed)
    assert said is not None
    assert (said.size, said.waits, said.binary) == (5, waits, b"~" in line)
    assert changed.rpartition(b"{")[0] == line.rpartition(b"{")[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"a NOOP\r\n", (b"a", "NOOP")),
        (b"a.1 uid fetch 1 x\r\n", (b"a.1", "UID")),
        (b"a X-Foo y\r\n", (b"a", "X-FOO")),
        (b"a NOOP", (b"a", "NOOP")),
        (b"DONE\r\n", (b"", "")),
        (b"\r\n", (b"", "")),
        (b" a NOOP\r\n", (b"", "")),
        (b"a  NOOP\r\n", (b"", "")),
        (b"a NO\0OP\r\n", (b"", "")),
        (b"a* NOOP\r\n", (b"", "")),
        (b"a+ NOOP\r\n", (b"", "")),
        (b"* NOOP\r\n", (b"", "")),
        (b"\xff NOOP\r\n", (b"", "")),
    ],
)
def test_tag_and_verb(line: bytes, said: tuple[bytes, str]) -> None:
    assert tag_and_verb(line) == said


# --- what a client sends -------------------------------------------------------------------------------------------

COMMANDS = (
    b"a LOGIN {3+}\r\nx\r\n {2+}\r\n\r\n\r\n"
    b"b NOOP\r\n"
    b'c SEARCH SUBJECT "{5}" {0+}\r\n X\r\n'
    b"DONE\r\n"
    b"\n"
    b"d APPEND x (\\Seen) ~{4+}\r\n{1}\n\r\n"
    b"e NOOP"
)


def joined(pieces: list[Line | bytes]) -> list[Line | bytes]:
    """Octets of one literal as one piece."""
    out: list[Line | bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes) and out and isinstance(out[-1], bytes):
            out[-1] += piece
        else:
            out.append(piece)
    return out


def commands(chunks: list[bytes], *, waits: bool = False) -> list[Line | bytes]:
    reader = CommandReader()
    pieces: list[Line | bytes] = []
    for chunk in chunks:
        reader.feed(chunk)
        while True:
            piece = reader.next()
            if piece is None and waits:
                reader.go_ahead()
                piece = reader.next()
            if piece is None:
                break
            pieces.append(piece)
    return joined(pieces)


WHOLE: list[Line | bytes] = [
    Line(b"a LOGIN {3+}\r\n", True, Literal(3, False)),
    b"x\r\n",
    Line(b" {2+}\r\n", False, Literal(2, False)),
    b"\r\n",
    Line(b"\r\n", False),
    Line(b"b NOOP\r\n", True),
    Line(b'c SEARCH SUBJECT "{5}" {0+}\r\n', True, Literal(0, False)),
    Line(b" X\r\n", False),
    Line(b"DONE\r\n", True),
    Line(b"\n", True),
    Line(b"d APPEND x (\\Seen) ~{4+}\r\n", True, Literal(4, False, True)),
    b"{1}\n",
    Line(b"\r\n", False),
]


@pytest.mark.parametrize("size", range(1, 40))
def test_commands_cut_anywhere(size: int) -> None:
    assert commands([COMMANDS[i : i + size] for i in range(0, len(COMMANDS), size)]) == WHOLE


def test_a_literal_that_waits_is_decided_by_others() -> None:
    reader = CommandReader()
    reader.feed(b"a LOGIN {3}\r\nabc x\r\nb NOOP\r\n")
    assert reader.next() == Line(b"a LOGIN {3}\r\n", True, Literal(3, True))
    assert reader.next() is None
    reader.go_ahead()
    assert [reader.next() for _ in range(4)] == [b"abc", Line(b" x\r\n", False), Line(b"b NOOP\r\n", True), None]


def test_a_literal_that_is_refused_does_not_come() -> None:
    reader = CommandReader()
    reader.feed(b"a LOGIN {3}\r\nb NOOP\r\n")
    reader.next()
    reader.refused()
    assert [reader.next(), reader.next()] == [Line(b"b NOOP\r\n", True), None]


def test_a_long_line_comes_in_pieces() -> None:
    line = b"a UID FETCH " + b"1," * LONG_LINE + b"2 FLAGS {3+}\r\nabc\r\n"
    pieces = commands([line[i : i + 1000] for i in range(0, len(line), 1000)])
    assert [piece.first for piece in pieces if isinstance(piece, Line)] == [True, False, False]
    assert [piece.whole for piece in pieces if isinstance(piece, Line)] == [False, True, True]
    assert pieces[-2] == b"abc"
    assert b"".join(piece.octets if isinstance(piece, Line) else piece for piece in pieces) == line


@given(st.lists(st.binary(max_size=60)))
def test_commands_of_any_octets_come_out_as_they_went_in(chunks: list[bytes]) -> None:
    reader = CommandReader()
    out = b""
    for chunk in chunks:
        reader.feed(chunk)
        while True:
            piece = reader.next()
            if piece is None and reader.ahead:
                reader.go_ahead()
                piece = reader.next()
            if piece is None:
                break
            out += piece.octets if isinstance(piece, Line) else piece
    assert b"".join(chunks).startswith(out)
    assert len(b"".join(chunks)) - len(out) == reader.ahead


# --- what a server sends -------------------------------------------------------------------------------------------

ANSWERS = (
    b"* OK [CAPABILITY A B] hi\r\n"
    b"* 1 FETCH (UID 1 BODY[] {23}\r\na1 OK\r\n* CAPABILITY X\r\n)\r\n"
    b'* LIST () "/" {4}\r\nab\r\n\r\n'
    b"* CAPABILITY A\r\n"
    b"+ idling {5}\r\n"
    b"* 3 FETCH (BODY[TEXT] ~{2}\r\n* FLAGS ())\r\n"
    b'* LSUB () "." x}\r\n'
    b'* ESEARCH (TAG "a") {3}\r\na1  ALL 1\r\n'
    b"* 4 FETCH (X {0}\r\n Y {1}\r\n\n)\r\n"
    b"a1 OK x {9}\r\n"
    b"* 2 EXISTS\n"
    b"* SEARCH 1 2 3\n"
    b"* FLAGS (a)\n"
    b"a2 NO x\n"
    b"* NOTHING\r\n"
    b"* BYE x\r\n"
)
OF_INTEREST = [
    b"* OK [CAPABILITY A B] hi\r\n",
    b"* CAPABILITY A\r\n",
    b"+ idling {5}\r\n",
    b"a1 OK x {9}\r\n",
    b"a2 NO x\n",
    b"* BYE x\r\n",
]


def answers(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    """(the answers, everything that came out)"""
    reader = AnswerReader()
    found, out = [], b""
    for chunk in chunks:
        for piece in reader.feed(chunk):
            out += piece.octets if isinstance(piece, Answer) else piece
            if isinstance(piece, Answer):
                found.append(piece.octets)
    return found, out


@pytest.mark.parametrize("size", range(1, 60))
def test_answers_cut_anywhere(size: int) -> None:
    assert answers([ANSWERS[i : i + size] for i in range(0, len(ANSWERS), size)]) == (OF_INTEREST, ANSWERS)


def test_answers_cut_once() -> None:
    for at in range(1, len(ANSWERS)):
        assert answers([ANSWERS[:at], ANSWERS[at:]]) == (OF_INTEREST, ANSWERS), at


@pytest.mark.parametrize("cut", [1, 7, 1000, 70_000])
@pytest.mark.parametrize("line", [b"* SEARCH", b"* 1 FETCH (X", b"* ESEARCH ALL", b"a OK"])
def test_a_long_line_is_not_waited_for(line: bytes, cut: int) -> None:
    long = line + b" 123456789" * 20_000
    reader = AnswerReader()
    given_out = sum(
        len(piece.octets if isinstance(piece, Answer) else piece)
        for i in range(0, len(long), cut)
        for piece in reader.feed(long[i : i + cut])
    )
    assert given_out >= len(long) - LONG_LINE - cut
    assert not reader.between_lines
    rest = reader.feed(b"{3}\r\na1 OK\r\n\r\na2 OK\r\n")
    assert rest[-1] == Answer(b"a2 OK\r\n") or line == b"a OK"


@pytest.mark.parametrize("chunk", [b"* 1 FETCH (BODY[] {100000000}\r\n" + b"x" * 200_000])
def test_a_literal_is_never_gathered(chunk: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(chunk) == [chunk]
    body = b"y" * 100_000
    (piece,) = reader.feed(body)
    assert piece is body
    assert not reader.between_lines


def test_between_lines() -> None:
    reader = AnswerReader()
    assert reader.between_lines
    reader.feed(b"* 1 FETCH (X")
    assert reader.between_lines, "half a line is kept back"
    reader.feed(b" {5}\r\nab")
    assert not reader.between_lines
    reader.feed(b"cde")
    assert not reader.between_lines
    reader.feed(b")\r\n")
    assert reader.between_lines


literals = st.binary(max_size=40).map(lambda octets: b"{%d}\r\n" % len(octets) + octets)
texts = st.binary(max_size=30).map(lambda octets: re.sub(rb"[\r\n]|\}\Z", b"", octets))
data = st.tuples(
    st.sampled_from([b"* 1 FETCH (", b'* LIST () "/" ', b"* SEARCH ", b"* VANISHED ", b"* X-"]),
    st.lists(st.one_of(literals, texts)).map(b"".join).filter(lambda octets: b"}" not in octets[-1:]),
).map(lambda both: (False, both[0] + both[1] + b")\r\n"))
status = st.tuples(st.sampled_from([b"* OK ", b"a1 OK ", b"+ ", b"* CAPABILITY ", b"* bye "]), texts).map(
    lambda both: (True, both[0] + both[1] + b"\r\n")
)


@given(st.lists(st.one_of(data, status)), st.lists(st.integers(0, 400)))
def test_answers_are_found_and_nothing_else(lines: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    octets = b"".join(line for _, line in lines)
    edges = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    chunks = [octets[a:b] for a, b in itertools.pairwise(edges)]
    assert answers(chunks) == ([line for wanted, line in lines if wanted], octets)


@given(st.lists(st.binary(max_size=60)))
def test_answers_of_any_octets_come_out_as_they_went_in(chunks: list[bytes]) -> None:
    _, out = answers([*chunks])
    whole = b"".join(chunks)
    assert whole.startswith(out)
    assert b"\n" not in whole[len(out) :], "only a line that is not whole is kept back"
