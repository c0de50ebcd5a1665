"""The words of one client's command (RFC 3501 section 9): what LOGIN, AUTHENTICATE, SELECT and APPEND are given.

A command is text with literals in it: `parts` is text, literal, text, literal … text. Reading never raises; what
cannot be read is None.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*)"')
_ATOM = re.compile(rb'[^\x00-\x20\x7f(){%*"\\]+')
_LITERAL = re.compile(rb"~?\{\d{1,19}\+?\}\r?\n\Z")
_ESCAPED = re.compile(rb"\\(.)")
_FLAGS = re.compile(rb"\(([^()\"{}\r\n]*)\) ")
_DATE = re.compile(rb'"([^"\\\r\n]{1,64})" ')


def astrings(parts: Sequence[bytes]) -> list[bytes] | None:
    """All words behind tag and verb, each an atom, a quoted string or a literal."""
    words: list[bytes] = []
    rest = _behind_verb(parts[0])
    for index in range(0, len(parts), 2):
        rest = parts[index] if index else rest
        literal = parts[index + 1] if index + 1 < len(parts) else None
        if literal is not None:
            rest = _LITERAL.sub(b"", rest)
            if not rest.endswith(b" ") and rest:
                return None
        found = _spaced(rest.rstrip(b"\r\n"), after_literal=index > 0)
        if found is None:
            return None
        words += found
        if literal is not None:
            words.append(literal)
    return words


def _behind_verb(line: bytes) -> bytes:
    words = line.split(b" ", 2)
    return words[2] if len(words) > 2 else b""


def _spaced(text: bytes, *, after_literal: bool) -> list[bytes] | None:
    """Words with one space between them."""
    words: list[bytes] = []
    at = 1 if after_literal and text[:1] == b" " else 0
    if after_literal and text and not at:
        return None
    while at < len(text):
        word, end = _word(text, at)
        if word is None or text[end : end + 1] not in (b"", b" "):
            return None
        words.append(word)
        at = end + 1
    return words


def _word(text: bytes, at: int) -> tuple[bytes | None, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPED.sub(rb"\1", quoted[1]), quoted.end()
    atom = _ATOM.match(text, at)
    return (None, at) if atom is None else (atom[0], atom.end())


# --- APPEND --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append:
    """What stands before an APPEND's message: `mailbox` as the client wrote it, unquoted; `flags` and `internaldate`
    likewise."""

    mailbox: bytes
    flags: tuple[str, ...] = ()
    internaldate: str | None = None


def append_mailbox(line: bytes) -> bytes | None:
    """The mailbox of APPEND's first line; None where it is a literal that follows, or no mailbox stands there."""
    word, end = _word(rest := _behind_verb(line), 0)
    return word if rest[end : end + 1] == b" " else None


def has_literal_mailbox(line: bytes) -> bool:
    return _LITERAL.fullmatch(_behind_verb(line)) is not None


def append(parts: Sequence[bytes]) -> Append | None:
    """`parts`: the line up to the message's announcement; or the line, the mailbox as a literal, the rest of the line.

    None where it is another kind of APPEND than that of RFC 3501 (CATENATE, UTF8).
    """
    if len(parts) == 3:
        mailbox, rest = parts[1], parts[2].removeprefix(b" ")
    else:
        line = _behind_verb(parts[0])
        word, end = _word(line, 0)
        if word is None or line[end : end + 1] != b" ":
            return None
        mailbox, rest = word, line[end + 1 :]
    flags = _FLAGS.match(rest)
    rest = rest[flags.end() :] if flags else rest
    date = _DATE.match(rest)
    rest = rest[date.end() :] if date else rest
    if _LITERAL.fullmatch(rest) is None or rest.startswith(b"~"):
        return None
    return Append(
        mailbox,
        tuple(flags[1].decode("latin-1").split()) if flags else (),
        date[1].decode("latin-1") if date else None,
    )


# --- writing -------------------------------------------------------------------------------------------------------


def quoted(value: bytes) -> bytes | None:
    """`value` as a quoted string; None where it cannot be one and has to be a literal."""
    if any(octet in b"\r\n\0" or octet > 126 for octet in value):
        return None
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


# --- names of mailboxes ----------------------------------------------------------------------------------------------

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def decoded_mailbox(name: bytes) -> str:
    """Modified UTF-7 (RFC 3501 section 5.1.3) read; what is none stands as it is, as UTF-8 where it is that."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return _SHIFTED.sub(_unshifted, text)


def _unshifted(found: re.Match[str]) -> str:
    coded = found[1]
    if not coded:
        return "&"
    try:
        octets = b64decode(coded.replace(",", "/") + "=" * (-len(coded) % 4), validate=True)
        return octets.decode("utf-16-be")
    except ValueError:
        return found[0]
