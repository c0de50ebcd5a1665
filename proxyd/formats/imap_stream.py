"""IMAP as it streams by (RFC 3501 section 4, RFC 7888, RFC 3516): lines, and the literals inside them; sans I/O.

Why this way: a message is a literal of any size, so a literal is counted, never gathered. `CommandReader` gives what a
client sends piece by piece, for whoever follows it. `AnswerReader` is made for speed: what a server sends is cut only
where a line stands that somebody may want to look at (a status response, a capability list, a continuation); all else,
message data above all, comes out as the octets that went in. Both know at any moment whether they are inside a literal,
so nothing in a message can be taken for a line of the protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONG_LINE = 64 * 1024  # octets of a line that are waited for; a longer one comes out in pieces
_MARK = 40  # octets at a line's end within which a literal announces itself
_HUGE = 19  # digits of a size, no more: 2**63 is the most that RFC 9051 allows

_LITERAL = re.compile(rb"(~?)\{(\d{1,%d})(\+?)\}\r?\n\Z" % _HUGE)
_COMMAND = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]{1,255}) ([A-Za-z][A-Za-z0-9\-_.]{0,63})(?:[ \r\n]|\Z)")


@dataclass(frozen=True, slots=True)
class Literal:
    """What a line announces at its end: `{n}` (the client waits for a go-ahead), `{n+}` (it does not), `~{n}`."""

    size: int
    waits: bool
    binary: bool = False


def literal_at_end(line: bytes) -> Literal | None:
    """`line` with its line end."""
    if line[-3:-2] != b"}" and line[-2:-1] != b"}":
        return None
    found = _LITERAL.search(line, max(0, len(line) - _MARK))
    return None if found is None else Literal(int(found[2]), not found[3], bool(found[1]))


def with_kind(line: bytes, *, waits: bool) -> bytes:
    """`line`, which announces a literal, announcing it as one that waits for its go-ahead or does not."""
    head, _, tail = line.rpartition(b"{")
    size = tail.rstrip(b"\r\n").rstrip(b"}").rstrip(b"+")
    return head + b"{" + size + (b"" if waits else b"+") + b"}\r\n"


def tag_and_verb(line: bytes) -> tuple[bytes, str]:
    """Of a command's first line, the verb in upper case; (b"", "") where it is no command."""
    found = _COMMAND.match(line)
    return (b"", "") if found is None else (found[1], found[2].decode("ascii").upper())


# --- what a client sends -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a command with its line end. `first`: the command begins with it; `literal`: what follows it.

    `whole` is False for a part of a line longer than LONG_LINE; the next piece goes on with it.
    """

    octets: bytes
    first: bool
    literal: Literal | None = None
    whole: bool = True


class CommandReader:
    """Pieces of commands in their order: a `Line`, or octets of the literal that the last line announced.

    Behind a line whose literal waits nothing comes until `go_ahead` or `refused` says what became of it.
    """

    def __init__(self) -> None:
        self._ahead = bytearray()
        self._searched = 0
        self._tail = b""  # of a long line's last piece
        self._left = 0  # octets of the literal
        self._waiting: Literal | None = None
        self._first = True

    @property
    def ahead(self) -> int:
        """Octets that came and were not given out."""
        return len(self._ahead)

    def feed(self, octets: bytes) -> None:
        self._ahead += octets

    def next(self) -> Line | bytes | None:
        """The next piece; None where more octets are needed, or a decision."""
        if self._waiting is not None or not self._ahead:
            return None
        if self._left:
            return self._take_literal()
        end = self._ahead.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._ahead)
            return self._take_line(len(self._ahead), whole=False) if len(self._ahead) > LONG_LINE else None
        return self._take_line(end + 1, whole=True)

    def go_ahead(self) -> None:
        """The announced literal will be sent."""
        if self._waiting is not None:
            self._left, self._waiting = self._waiting.size, None

    def refused(self) -> None:
        """It will not be: what comes next is another command."""
        self._waiting = None
        self._first = True

    def _take_literal(self) -> bytes:
        taken = self._take(min(self._left, len(self._ahead)))
        self._left -= len(taken)
        return taken

    def _take_line(self, size: int, *, whole: bool) -> Line:
        octets, first = self._take(size), self._first
        literal = literal_at_end((self._tail + octets)[-_MARK:]) if whole else None
        self._tail = b"" if whole else octets[-_MARK:]
        self._first = whole and literal is None
        if literal is not None and literal.waits:
            self._waiting = literal
        elif literal is not None:
            self._left = literal.size
        return Line(octets, first, literal, whole)

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._ahead)[:size])
        del self._ahead[:size]
        self._searched = 0
        return taken


# --- what a server sends -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A line that may be of interest, with its line end: a status response, a continuation, a capability list."""

    octets: bytes


# In what the server sends in quantity, the places that have to be looked at: a literal, and the line end behind which
# another kind of line begins.
_BULK = re.compile(rb"\* (?:\d|LIST |LSUB |STATUS |SEARCH )")
_STOP = re.compile(rb"\}\r?\n|\n(?!\* (?:\d|LIST |LSUB |STATUS |SEARCH ))")
_DATA = re.compile(rb"\* (?!(?:OK|NO|BAD|BYE|PREAUTH|CAPABILITY)[ \r\n])", re.IGNORECASE)


class AnswerReader:
    """What came, cut into octets that are passed on as they are and `Answer`s. A line that is not whole yet is kept
    back until it is, or is longer than LONG_LINE."""

    def __init__(self) -> None:
        self._kept = b""
        self._left = 0  # octets of the literal that are still to come
        self._inside = False  # what comes next (behind the literal) goes on with a line that was begun
        self._tail = b""  # of that line, where it is a long one

    @property
    def between_lines(self) -> bool:
        """Whether a line of our own can stand behind what was given out."""
        return not self._inside

    def feed(self, octets: bytes) -> list[bytes | Answer]:
        if self._left >= len(octets):  # the long way of a message: no look, no copy
            self._left -= len(octets)
            return [octets] if octets else []
        at, self._left = self._left, 0
        if self._kept:
            octets, self._kept = self._kept + octets, b""  # then there was no literal under way
        pieces: list[bytes | Answer] = []
        given = 0
        while at < len(octets):
            step = self._go_on if self._inside else self._bulk if _BULK.match(octets, at) else self._line
            end, answer = step(octets, at)
            if answer:
                if at > given:
                    pieces.append(octets[given:at])
                pieces.append(Answer(octets[at:end]))
                given = end
            elif end == at:
                break  # more must come
            at = end
        if at > given:
            pieces.append(octets[given:at] if given or at < len(octets) else octets)
        self._kept = octets[at:]
        return pieces

    def _line(self, octets: bytes, at: int) -> tuple[int, bool]:
        """A line of any kind begins at `at`: where it ends, and whether it is an answer."""
        end = octets.find(b"\n", at) + 1
        if not end:
            return self._unfinished(octets, at), False
        if _DATA.match(octets, at) is None:
            return end, True
        return self._behind(octets, octets[max(at, end - _MARK) : end], end), False

    def _bulk(self, octets: bytes, at: int) -> tuple[int, bool]:
        """Lines of data begin at `at`: over as many of them as there are."""
        stop = _STOP.search(octets, at)
        if stop is None:
            last = octets.rfind(b"\n", at) + 1
            return last or self._unfinished(octets, at), False
        line = max(at, octets.rfind(b"\n", at, stop.start()) + 1, stop.end() - _MARK)
        return self._behind(octets, octets[line : stop.end()], stop.end()), False

    def _go_on(self, octets: bytes, at: int) -> tuple[int, bool]:
        """The rest of a line begins at `at`."""
        end = octets.find(b"\n", at) + 1
        if not end:
            return self._unfinished(octets, at), False
        mark = (self._tail + octets[max(at, end - _MARK) : end])[-_MARK:]
        self._tail, self._inside = b"", False
        return self._behind(octets, mark, end), False

    def _behind(self, octets: bytes, mark: bytes, end: int) -> int:
        """A line of data ended at `end` with `mark`: where it, or the literal that it announces, ends in `octets`."""
        literal = literal_at_end(mark)
        if literal is None:
            return end
        self._inside = True
        there = min(literal.size, len(octets) - end)
        self._left = literal.size - there
        return end + there

    def _unfinished(self, octets: bytes, at: int) -> int:
        if len(octets) - at <= LONG_LINE:
            return at
        self._inside, self._tail = True, (self._tail + octets[at:])[-_MARK:]
        return len(octets)
