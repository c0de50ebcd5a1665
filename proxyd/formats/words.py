"""Encoded words of header fields (RFC 2047), and the 8-bit text that some senders put there raw.

Why our own: the standard library's reader raises on bad base64, decodes each word on its own (so that a character cut
by two words is lost), and looks for the end of a word again from every start, which is quadratic on hostile input.
"""

from __future__ import annotations

import binascii
import re

from proxyd.formats.charsets import text_of

# Encoded text holds no question mark, so one pass finds every word. Spaces in it are against the RFC, and seen.
_WORD = re.compile(r"=\?([^?\s*]{1,64})(?:\*[^?\s]{0,64})?\?([bBqQ])\?([^?]*+)\?=")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
LONGEST = 65_536  # characters of a text field that are read


def raw_text(octets: bytes) -> str:
    """The octets of a header field as text: UTF-8 (RFC 6532), else Windows-1252. Encoded words stay as they are."""
    return octets.decode("ascii") if octets.isascii() else text_of(octets)


def decode_words(text: str) -> str:
    """`text` with its encoded words decoded, on one line, without control characters. Never raises."""
    text = text[:LONGEST]
    if "=?" not in text:
        return one_line(text)
    done: list[str] = []
    pending: list[bytes] = []  # octets of neighbouring words in one charset: a character may be cut between two
    charset = ""
    end = 0
    for word in _WORD.finditer(text):
        gap = text[end : word.start()]
        if pending and (gap.strip() or word[1].lower() != charset):
            done.append(text_of(b"".join(pending), charset))
            pending = []
        if end == 0 or gap.strip():
            done.append(gap)
        charset = word[1].lower()
        pending.append(_octets(word[2], word[3]))
        end = word.end()
    if pending:
        done.append(text_of(b"".join(pending), charset))
    done.append(text[end:])
    return one_line("".join(done))


def one_line(text: str) -> str:
    """`text` with runs of control characters (line breaks and tabs among them) as one space, trimmed."""
    return _CONTROLS.sub(" ", text).strip()


def _octets(encoding: str, encoded: str) -> bytes:
    raw = encoded.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw.replace(b" ", b"_"), header=True)
    return base64_octets(raw)


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def base64_octets(raw: bytes) -> bytes:
    """As many octets as `raw` holds: characters outside the alphabet are skipped, missing padding is no fault."""
    clean = _NOT_BASE64.sub(b"", raw)
    if len(clean) % 4 == 1:
        clean = clean[:-1]  # six bits are no octet
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
