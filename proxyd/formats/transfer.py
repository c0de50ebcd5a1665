"""Content-Transfer-Encodings (RFC 2045 section 6), undone piece by piece as a part arrives, and base64 made likewise.

Damaged input costs only what is damaged: nothing here raises.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Protocol

_BASE64 = bytes(
    byte for byte in range(256) if not chr(byte).isascii() or not (chr(byte).isalnum() or chr(byte) in "+/=")
)
_RUNS = re.compile(rb"[^=]+|=+")
_PADDED_BREAK = re.compile(rb"=[ \t]++(?=\r?\n)")
_LONGEST_BREAK = 256  # octets from the equals sign of a soft break to its line end


_GROUP = 3  # octets that become four characters of base64


def base64_length(size: int) -> int:
    """Characters of base64 that `size` octets become."""
    return (size + _GROUP - 1) // _GROUP * 4


class Base64Encoder:
    """Base64 on one line (RFC 4648), piece by piece: what `feed` returns, one behind the other, then `finish`."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> bytes:
        self._rest += octets
        whole = len(self._rest) - len(self._rest) % _GROUP
        encoded = base64.b64encode(self._rest[:whole])
        self._rest = self._rest[whole:]
        return encoded

    def finish(self) -> bytes:
        return base64.b64encode(self._rest)


class Decoder(Protocol):
    def feed(self, octets: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def decoder(encoding: str) -> Decoder:
    """For the value of Content-Transfer-Encoding; an unknown one is read as it stands."""
    word = encoding.strip().lower()
    if word == "base64":
        return _Base64()
    if word == "quoted-printable":
        return _QuotedPrintable()
    if word in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _Uuencoded()
    return _AsItStands()


class _AsItStands:
    def feed(self, octets: bytes) -> bytes:
        return octets

    def finish(self) -> bytes:
        return b""


class _Base64:
    """What is not in the alphabet is skipped. Padding ends the data: what mailing lists append is none of it."""

    def __init__(self) -> None:
        self._rest = b""  # up to three characters of a group that is not complete
        self._ended = False

    def feed(self, octets: bytes) -> bytes:
        if self._ended:
            return b""
        letters = octets.translate(None, _BASE64)
        if b"=" in letters:
            letters = self._before_padding(letters)
        return self._decode(self._rest + letters)

    def finish(self) -> bytes:
        return self._last()

    def _before_padding(self, letters: bytes) -> bytes:
        """Up to where padding stands at the end of a group; elsewhere it is a stray and is skipped."""
        kept: list[bytes] = []
        length = len(self._rest)
        for run in _RUNS.findall(letters):
            if run[:1] != b"=":
                kept.append(run)
                length += len(run)
            elif length % 4 >= 2:
                self._ended = True
                break
        return b"".join(kept)

    def _decode(self, letters: bytes) -> bytes:
        whole = len(letters) // 4 * 4
        self._rest = letters[whole:]
        done = binascii.a2b_base64(letters[:whole])
        return done + self._last() if self._ended else done

    def _last(self) -> bytes:
        rest, self._rest = self._rest, b""
        return binascii.a2b_base64(rest + b"=" * (4 - len(rest))) if len(rest) >= 2 else b""


class _QuotedPrintable:
    def __init__(self) -> None:
        self._rest = b""  # from an equals sign on that may be a soft break, or lacks its two digits

    def feed(self, octets: bytes) -> bytes:
        octets = self._rest + octets
        cut = octets.rfind(b"=", max(0, len(octets) - _LONGEST_BREAK))
        if cut < 0 or (cut < len(octets) - 2 and octets[cut + 1 :].strip(b" \t\r")):
            cut = len(octets)
        self._rest = octets[cut:]
        return binascii.a2b_qp(_PADDED_BREAK.sub(b"=", octets[:cut]))

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return b"" if rest.strip() == b"=" else rest


class _Uuencoded:
    """Lines between `begin` and `end`; others are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, octets: bytes) -> bytes:
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if len(self._rest) > 4096:
            self._rest = b""  # no line of this encoding
        return b"".join(map(self._line, lines))

    def finish(self) -> bytes:
        return self._line(self._rest)

    def _line(self, line: bytes) -> bytes:
        line = line.rstrip(b"\r")
        if not self._begun:
            self._begun = line.startswith(b"begin ")
            return b""
        if line == b"end":
            self._begun = False
            return b""
        try:
            return binascii.a2b_uu(line)
        except binascii.Error:
            # Some encoders pad the last group: as many characters as the line's own length says.
            length = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                return binascii.a2b_uu(line[: length + 1])
            except binascii.Error:
                return b""
