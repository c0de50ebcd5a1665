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


# What a server sends in quantity, and the line end behind which it sends something else.
_BULK = re.compile(rb"\* (?:\d|LIST |LSUB |STATUS |SEARCH )")
_OTHER = re.compile(rb"\n(?!\* (?:\d|LIST |LSUB |STATUS |SEARCH ))")
_FETCHED = re.compile(rb"\* \d+ FETCH .*\{(\d{1,%d})\}\r\n" % _HUGE)  # message data up to its first literal
_BRACE = ord("}")
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
        given, size = 0, len(octets)
        while at < size:
            if not self._inside and (found := _FETCHED.match(octets, at)) is not None:
                at = self._over_fetched(octets, found)
                continue
            end = octets.find(b"\n", at) + 1
            if not end:
                if size - at > LONG_LINE:
                    self._inside, self._tail = True, (self._tail + octets[at:])[-_MARK:]
                    at = size
                break
            inside = self._inside
            if not inside and _BULK.match(octets, at) is None and _DATA.match(octets, at) is None:
                if at > given:
                    pieces.append(octets[given:at])
                pieces.append(Answer(octets[at:end]))
                at = given = end
            elif octets[end - 3] == _BRACE or octets[end - 2] == _BRACE or self._tail:
                at = self._behind_mark(octets, at, end)
            else:
                self._inside = False
                at = end if inside else self._over_bulk(octets, end)
        if at > given:
            at = min(at, size)
            pieces.append(octets[given:at] if given or at < size else octets)
        self._kept = octets[at:]
        return pieces

    def _behind_mark(self, octets: bytes, at: int, end: int) -> int:
        """A line of data ends at `end`, perhaps with a literal's mark: where that literal, or else the line, ends."""
        brace = octets.rfind(b"{", at, end)
        digits = octets[brace + 1 : end - 3]
        if brace >= 0 and octets[end - 3] == _BRACE and digits.isdigit() and len(digits) <= _HUGE:
            size, self._tail = int(digits), b""  # as servers write it
        else:
            literal = literal_at_end((self._tail + octets[max(at, end - _MARK) : end])[-_MARK:])
            self._tail = b""
            if literal is None:
                self._inside = False
                return end
            size = literal.size
        self._inside = True
        self._left = max(0, size - (len(octets) - end))
        return end + size

    def _over_fetched(self, octets: bytes, found: re.Match[bytes] | None) -> int:
        """A message's one literal was announced: where it and those that follow in the same form end."""
        at = 0
        while found is not None:
            at = found.end() + int(found[1])
            if not octets.startswith(b")\r\n", at):  # more behind the literal, or not here yet
                self._inside, self._left = True, max(0, at - len(octets))
                return at
            at += 3
            found = _FETCHED.match(octets, at)
        return at

    @staticmethod
    def _over_bulk(octets: bytes, at: int) -> int:
        """A line begins at `at`: where the first one begins that may announce a literal or is of another kind."""
        if _BULK.match(octets, at) is None:
            return at
        other = _OTHER.search(octets, at)
        end = len(octets) if other is None else other.end()
        braces = [found for mark in (b"}\r", b"}\n") if (found := octets.find(mark, at, end)) >= 0]
        return octets.rfind(b"\n", at, min(braces, default=end)) + 1 or at
