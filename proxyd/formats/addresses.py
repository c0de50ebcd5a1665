"""Lists of addresses (RFC 5322 section 3.4): who is named, and how one of them is taken out without touching the rest.

Why our own reading: taking an address out needs to know which octets are its own, and the standard library's readers
recurse on nested comments and go quadratic on long lists. This one is a single pass that never raises; where the list
is badly formed it makes its best of it and says so (`sound`), and such a list is never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from proxyd.formats.words import decode_words, raw_text
from proxyd.model import MailAddress, mailbox_key

MOST = 2000  # addresses read of one message
_PATIENCE = 3  # brackets and quotes never closed, after which none is looked for: each costs a look at all that follows
_LONGEST = 512 * 1024  # octets of one field that are read for names; a field is rewritten whatever its length

_PLAIN = re.compile(r'(?:[^"(),:;<>\[]++|\[[^\[\]<>"]*+\])++')
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ANGLE = re.compile(r'<((?:[^<>"]++|"(?:[^"\\]++|\\.)*+")*+)>', re.DOTALL)
_COMMENT = re.compile(r"\([^()]*+\)")
_PAREN = re.compile(r"[()\\]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_STRAY = "<>()"  # left over where something was never closed
_HELD = "\ue000"  # stands for a space inside a quoted string while words are split


class Entry(NamedTuple):
    """One place between two separators: `start` and `end` are its span; `address` is empty where nobody is named."""

    start: int
    end: int
    name: str
    address: str


class Entries(NamedTuple):
    entries: list[Entry]
    sound: bool


def read_addresses(body: bytes, most: int = MOST) -> tuple[MailAddress, ...]:
    """The addresses in an unfolded field body, those in groups too; names are decoded. Never raises."""
    listed = _Reader(raw_text(body[:_LONGEST])).read(most)
    return tuple(MailAddress(decode_words(entry.name), entry.address) for entry in listed.entries if entry.address)


def without_addresses(raw: bytes, keys: Collection[str]) -> bytes | None:
    """The raw field without each address whose `mailbox_key` is in `keys`; every other octet as it was.

    None where nobody is left in it. A field that cannot be read soundly is returned as it is.
    """
    low = raw.lower()
    if not any(key.rpartition("@")[0].encode() in low for key in keys):
        return raw  # most mail: nobody to take out, nothing to read
    colon = raw.index(b":") + 1
    value = raw[colon:].decode("latin-1")  # one character per octet: spans are octets
    listed = _Reader(value, patience=1).read(len(value) + 1)
    gone = [entry for entry in listed.entries if _key(entry.address) in keys]
    if not gone or not listed.sound:
        return raw
    kept: list[str] = []
    position = 0
    for entry in gone:
        kept.append(value[position : entry.start])
        if value[entry.end : entry.end + 1] == ",":
            position = entry.end + 1
        else:  # the last of its list: the comma before it goes, its line end stays
            while kept and not kept[-1]:
                kept.pop()
            if kept:
                kept[-1] = kept[-1].removesuffix(",")
            position = entry.start + len(value[entry.start : entry.end].rstrip(" \t\r\n"))
    kept.append(value[position:])
    left = "".join(kept)
    if not left.strip(" \t\r\n,;"):
        return None
    return raw[:colon] + left.encode("latin-1")


def _key(address: str) -> str:
    return mailbox_key(raw_text(address.encode("latin-1"))) if address else ""


class _Reader:
    """One pass over a list of addresses."""

    def __init__(self, value: str, patience: int = _PATIENCE) -> None:
        self._value = value
        self._sound = True
        self._patience = patience
        self._entries: list[Entry] = []
        self._group = False
        self._begin(0)

    def _begin(self, start: int) -> None:
        self._start = start
        self._pieces: list[tuple[bool, str]] = []  # (quoted, text)
        self._comment = ""
        self._angle: str | None = None
        self._before = 0  # pieces that stand before the angle address

    def read(self, most: int) -> Entries:
        value = self._value
        position = 0
        while position < len(value) and len(self._entries) < most:
            if plain := _PLAIN.match(value, position):
                self._pieces.append((False, plain[0]))
                position = plain.end()
            else:
                position = self._special(value[position], position)
        if len(self._entries) < most:
            self._end(len(value))
        return Entries(self._entries, self._sound)

    def _special(self, character: str, position: int) -> int:
        if character in ",;":
            self._end(position)
            self._sound = self._sound and not (character == ";" and not self._group)
            self._group = self._group and character == ","
            self._begin(position + 1)
            return position + 1
        if character == ":" and self._angle is None and not self._group:
            self._group = True
            self._begin(position + 1)
            return position + 1
        if self._patience and (end := self._enclosed(character, position)):
            return end
        self._sound = False
        self._pieces.append((False, character))
        return position + 1

    def _enclosed(self, character: str, position: int) -> int:
        """Take the comment, quoted string or angle address that opens here; 0 where none does or it never closes."""
        if character == "(" and (end := self._comment_end(position)):
            self._comment = self._comment or self._value[position + 1 : end - 1]
            return end
        if character == '"' and (quoted := _QUOTED.match(self._value, position)):
            self._pieces.append((True, quoted[0]))
            return quoted.end()
        if character == "<" and (angle := _ANGLE.match(self._value, position)):
            if self._angle is not None:  # two addresses and no comma between them
                self._sound = False
                behind, self._pieces = self._pieces[self._before :], self._pieces[: self._before]
                self._end(position)
                self._begin(position)
                self._pieces = behind
            self._angle = angle[1]
            self._before = len(self._pieces)
            return angle.end()
        self._patience -= character in '("<'
        return 0

    def _comment_end(self, position: int) -> int:
        depth = 0
        skip = -1
        for found in _PAREN.finditer(self._value, position):
            if found.start() == skip:
                continue
            if found[0] == "\\":
                skip = found.end()
                continue
            depth += 1 if found[0] == "(" else -1
            if depth == 0:
                return found.end()
        return 0

    def _end(self, end: int) -> None:
        name, address = self._bare() if self._angle is None else (self._name(), _inside(self._angle))
        if self._comment and not name:
            name = self._comment
        self._entries.append(Entry(self._start, end, name, address))

    def _bare(self) -> tuple[str, str]:
        """Name and address where no angle brackets are: `ada@example.com`, `"ada l"@example.com`."""
        text = "".join(piece.replace(" ", _HELD) if quoted else piece for quoted, piece in self._pieces)
        if "@" not in text:
            return "", ""
        words = " ".join(text.split()).replace(" @", "@").replace("@ ", "@").split(" ")
        for index in range(len(words) - 1, -1, -1):
            word = words[index].strip(_STRAY)
            local, at, domain = word.rpartition("@")
            if at and local and domain:
                rest = " ".join(words[:index] + words[index + 1 :])
                return rest.replace(_HELD, " ").strip(_STRAY + '" '), word.replace(_HELD, " ")
        return "", ""

    def _name(self) -> str:
        texts = (_ESCAPED.sub(r"\1", piece[1:-1]) if quoted else piece for quoted, piece in self._pieces)
        return " ".join(" ".join(texts).split()).strip(_STRAY + '" ' if not self._sound else " ")


def _inside(angle: str) -> str:
    """The addr-spec between angle brackets, without an obsolete source route."""
    address = _COMMENT.sub("", angle).strip() if "(" in angle else angle.strip()
    if address.startswith("@") and ":" in address:
        address = address.partition(":")[2].strip()
    return address if '"' in address else "".join(address.split())
