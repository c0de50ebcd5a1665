"""The header section as octets (RFC 5322 section 2.2): where it ends, its fields one by one, nothing decoded.

A field is a name, a colon and everything up to the next line that does not begin with space or tab. What is no field
(an mbox "From " line, a line without a colon, a stray continuation) is kept in its place without a name, so that the
parts joined again are the octets that came. CRLF and lone LF both end a line; a lone CR does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FIELD = re.compile(rb"(?:[^\n]++\n?|\n)(?:[ \t][^\n]*+\n?)*+")
_NAME = re.compile(rb"([!-9;-~]++)[ \t]*+:")
_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))\r?\n")


class Field(NamedTuple):
    """`name` in lower case, empty where the line is no field; `raw` is all of it, line ends included."""

    name: bytes
    raw: bytes

    @property
    def body(self) -> bytes:
        """What stands behind the colon, on one line (unfolded as RFC 5322 section 2.2.3 says)."""
        return unfolded(self.raw.partition(b":")[2])


def split_header(octets: bytes | bytearray, start: int = 0) -> int | None:
    """The offset just behind the blank line that ends the header section; None if it has not come yet.

    `start`: octets that an earlier call has already looked at, so that asking while a message arrives stays cheap.
    """
    found = _BLANK_LINE.search(octets, max(0, start - 3))
    return found.end() if found else None


def parts(header: bytes) -> tuple[bytes, bytes]:
    """The lines of the header section, and the blank line with whatever follows it (may be empty)."""
    found = _BLANK_LINE.search(header)
    return (header[: found.start()], header[found.start() :]) if found else (header, b"")


def fields(lines: bytes) -> Iterator[Field]:
    """Every field in its order; `raw` of all of them joined is `lines` again."""
    for found in _FIELD.finditer(lines):
        raw = found[0]
        name = _NAME.match(raw)
        yield Field(name[1].lower() if name else b"", raw)


def unfolded(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"").replace(b"\n", b"").strip(b" \t\r")
