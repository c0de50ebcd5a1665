"""vCard 4.0 (RFC 6350), 3.0 (RFC 2426) and 2.1, as far as a contact is concerned: EMAIL, FN, N, NICKNAME, ORG."""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_LINE = 64 * 1024  # characters of one unfolded line; a photo is longer and is not read


@dataclass(slots=True)
class Card:
    """One card, begun in `line`. `emails` are (line, address as written), the preferred one first; `problem` says why a
    card is none."""

    line: int
    emails: list[tuple[int, str]] = field(default_factory=list)
    formatted: str = ""
    parts: tuple[str, ...] = ()  # N: family, given, additional, prefixes, suffixes
    nickname: str = ""
    company: str = ""
    problem: str = ""
    preferred: bool = False  # the first of `emails` is said to be

    @property
    def name(self) -> str:
        family, given, middle = (*self.parts, "", "", "")[:3]
        spoken = " ".join(part for part in (given, middle, family) if part)
        return self.formatted or spoken or self.nickname


@dataclass(frozen=True, slots=True)
class _Property:
    line: int
    name: str  # upper case, without its group
    parameters: str  # upper case, as written
    value: str


def cards(text: str) -> Iterator[Card]:
    """Every card of the file, the broken ones with their problem. Never raises."""
    card: Card | None = None
    for each in _properties(text):
        what = each.value.strip().upper()
        if each.name == "BEGIN" and what == "VCARD":
            if card is not None:
                card.problem = "the card does not end: END:VCARD is missing"
                yield card
            card = Card(each.line)
        elif each.name == "END" and what == "VCARD" and card is not None:
            yield card
            card = None
        elif card is not None:
            _take(card, each)
    if card is not None:
        card.problem = "the card does not end: END:VCARD is missing"
        yield card


_PREFERRED = re.compile(r";(?:PREF(?:=\"?1\"?)?(?:;|$)|TYPE=[^;:]*\bPREF\b)")  # 4.0, 2.1 and 3.0


def _take(card: Card, read: _Property) -> None:
    match read.name:
        case "EMAIL":
            email = (read.line, _unescaped(read.value))
            if _PREFERRED.search(read.parameters) and not card.preferred:
                card.emails.insert(0, email)
                card.preferred = True
            else:
                card.emails.append(email)
        case "FN":
            card.formatted = card.formatted or _tidy(_unescaped(read.value))
        case "N":
            card.parts = card.parts or tuple(_tidy(_unescaped(part)) for part in _split(read.value, ";"))
        case "NICKNAME":
            card.nickname = card.nickname or _tidy(_unescaped(_split(read.value, ",")[0]))
        case "ORG":
            card.company = card.company or _tidy(_unescaped(_split(read.value, ";")[0]))


_CONTENT_LINE = re.compile(
    r"(?:[A-Za-z0-9-]+\.)?(?P<name>[A-Za-z0-9-]+)(?P<parameters>(?:;(?:[^\":;]|\"[^\"]*\")*)*):(?P<value>.*)", re.DOTALL
)


def _properties(text: str) -> Iterator[_Property]:
    for line, content in _unfolded(text):
        found = _CONTENT_LINE.fullmatch(content)
        if found is None:
            continue
        parameters, value = found["parameters"].upper(), found["value"]
        if "QUOTED-PRINTABLE" in parameters:
            value = _quoted_printable(value, parameters)
        yield _Property(line, found["name"].upper(), parameters, value)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, logical line). A line that begins with white space goes on with the one before; in
    2.1 a quoted-printable value goes on behind a `=` at the end of its line."""
    begun, parts, soft = 0, [""], False
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if begun and (soft or line[:1] in (" ", "\t")):
            parts.append(f"\n{line}" if soft else line[1:])
        else:
            if begun:
                yield begun, "".join(parts)[:MOST_LINE]
            begun, parts = number, [line]
        soft = line.endswith("=") and "QUOTED-PRINTABLE" in parts[0].upper()
    if begun:
        yield begun, "".join(parts)[:MOST_LINE]


def _quoted_printable(value: str, parameters: str) -> str:
    octets = quopri.decodestring(value.encode("utf-8", "replace"))
    charset = re.search(r"CHARSET=\"?([\w.:-]+)", parameters)
    for name in (charset.group(1) if charset else "utf-8", "utf-8"):
        try:
            return octets.decode(name)
        except (LookupError, UnicodeError):
            continue
    return octets.decode("latin-1")


def _split(value: str, separator: str) -> list[str]:
    """Cut where `separator` is not escaped by a backslash; what is escaped stays so."""
    return ["".join(parts) for parts in _cut(re.findall(r"\\.|.", value, re.DOTALL), separator)]


def _cut(tokens: list[str], separator: str) -> list[list[str]]:
    pieces: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def _unescaped(value: str) -> str:
    """RFC 6350 section 3.4."""
    return re.sub(r"\\(.)", lambda found: " " if found[1] in "nN" else found[1], value)


def _tidy(value: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
