"""What a person types to find mail, read into what is asked: words, "phrases", -words, and from: to: subject: has:
before: after: account:.

Everything can be searched for and nothing is an error: what is no key we know is words, what is no date is words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MOST_TERMS = 40
_LONGEST_TERM = 200  # characters
_TOKEN = re.compile(
    r"(?P<minus>-?)(?:(?P<key>[A-Za-z]{2,10}):)?(?:[\"“„](?P<phrase>[^\"“”]*)[\"“”]?|(?P<word>[^\s\"“„”]*))"
)
_COLUMNS = {"from": "sender", "to": "recipients", "subject": "subject", "file": "files"}
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{1,2}))?(?:-([0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class Term:
    """`column` is one of the index's, "" = any. `begins`: words that only begin so are meant too; `also`: other texts
    that will do, as they stand."""

    text: str
    column: str = ""
    begins: bool = False
    excluded: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """`since` is inclusive, `until` is not; both None where any time will do."""

    terms: tuple[Term, ...] = ()
    has_attachment: bool = False
    since: datetime | None = None
    until: datetime | None = None
    account: str = ""

    @property
    def wanted(self) -> tuple[Term, ...]:
        return tuple(each for each in self.terms if not each.excluded)

    @property
    def excluded(self) -> tuple[Term, ...]:
        return tuple(each for each in self.terms if each.excluded)


def read_query(text: str) -> Query:
    """`before:2026-11` is before November began, `after:2026-11` from December on; both take year, month or day."""
    terms: list[Term] = []
    has_attachment = False
    since: datetime | None = None
    until: datetime | None = None
    account = ""
    for found in _TOKEN.finditer(text):
        key, phrase = (found["key"] or "").lower(), found["phrase"]
        said = phrase if phrase is not None else found["word"]
        span = _span(said) if key in ("before", "after") else None
        if key == "has" and said.lower() in ("attachment", "attachments", "file", "files"):
            has_attachment = True
        elif span is not None and key == "before":
            until = span[0]
        elif span is not None:
            since = span[1]
        elif key == "account" and said:
            account = said.lower()
        else:
            terms += _terms(key, said, phrase is not None, bool(found["minus"]))
    return Query(tuple(terms[:MOST_TERMS]), has_attachment, since, until, account)


def _terms(key: str, said: str, phrase: bool, excluded: bool) -> list[Term]:
    column = _COLUMNS.get(key, "")
    text = (said if column or not key else f"{key} {said}")[:_LONGEST_TERM]
    if not any(each.isalnum() for each in text):
        return []
    return [Term(text, column, begins=not phrase and text[-1].isalnum() and len(text) > 1, excluded=excluded)]


def _span(said: str) -> tuple[datetime, datetime] | None:
    """The first instant of a year, month or day, and the first one behind it; None for what is no date."""
    found = _DATE.fullmatch(said)
    if not found:
        return None
    year, month, day = (int(each) if each else None for each in found.groups())
    try:
        first = datetime(year or 1, month or 1, day or 1, tzinfo=UTC)
        if day:
            return first, first + timedelta(days=1)
        if month:
            return first, (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        return first, first.replace(year=first.year + 1)
    except (ValueError, OverflowError):
        return None


def match_expression(terms: tuple[Term, ...]) -> str:
    """The FTS5 query in which all of them are found. Every term is a quoted string: nothing in it is an operator."""
    return " AND ".join(_quoted(each) for each in terms)


def any_expression(terms: tuple[Term, ...]) -> str:
    """The FTS5 query in which at least one of them is found."""
    return " OR ".join(_quoted(each) for each in terms)


def _quoted(term: Term) -> str:
    texts = [each.replace('"', " ").replace("\0", " ") for each in (term.text, *term.also)]
    quoted = [f'"{texts[0]}"' + (" *" if term.begins else ""), *(f'"{each}"' for each in texts[1:])]
    any_of = quoted[0] if len(quoted) == 1 else f"({' OR '.join(quoted)})"
    return f"{{{term.column}}} : {any_of}" if term.column else any_of


def excerpt(text: str, terms: tuple[Term, ...], size: int = 200) -> str:
    """A piece of `text` around the first place where one of the terms stands; its beginning where none does."""
    words = " ".join(text.split())
    lowered = words.casefold()
    places = [lowered.find(each.text.casefold()) for each in terms if not each.excluded]
    first = min((each for each in places if each >= 0), default=0)
    start = max(0, first - size // 4)
    piece = words[start : start + size]
    return ("…" if start else "") + piece + ("…" if start + size < len(words) else "")
