"""Address books as other programs write them: CSV and vCard (RFC 6350, 2426, and 2.1), octets to entries.

Why our own reading: an address book of thousands of cards always has some that are broken, and whoever imports it wants
the rest taken and each broken line named. The vCard libraries stop at the first fault and know no line numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxyd.formats.vcard import cards

MOST_CELL = 4096  # characters of one field that are read; what is longer is no name and no address
LONGEST_ADDRESS = 320  # characters


@dataclass(frozen=True, slots=True)
class Person:
    """One person; `line` is where their address stands in the file, from 1. `others` are further addresses."""

    line: int
    email: str
    name: str = ""
    company: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class AddressBook:
    people: tuple[Person, ...] = ()
    problems: tuple[Unusable, ...] = ()


def usable_address(text: str) -> str | None:
    """The address in `text` (also as `Name <address>` or `mailto:`), None where it is none that mail goes to."""
    if len(text) > MOST_CELL:
        return None
    trimmed = text.strip()
    angle = re.search(r"<([^<>]*)>\s*$", trimmed)
    address = (angle.group(1) if angle else trimmed).strip().removeprefix("mailto:")
    if len(address) > LONGEST_ADDRESS or any(not c.isprintable() or c in ' <>(),;:"\\[]' for c in address):
        return None
    local, at, domain = address.rpartition("@")
    labels = domain.split(".")
    whole = at and local and "@" not in local and not local.startswith(".") and not local.endswith(".")
    return address if whole and all(labels) and not domain.startswith("-") else None


def read_address_book(octets: bytes, kind: str = "") -> AddressBook:
    """Everybody in the file who has a usable address. `kind` is csv, vcard, or "" = told by its first line. Never
    raises."""
    text = _decoded(octets)
    if not kind:
        kind = "vcard" if re.match(r"\s*BEGIN\s*:\s*VCARD", text, re.IGNORECASE) else "csv"
    return _of_vcards(text) if kind == "vcard" else _of_csv(text)


def _decoded(octets: bytes) -> str:
    """UTF-8, UTF-16 by its mark, else what Outlook on Windows writes."""
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return octets.decode("utf-16", "replace")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def _person(written: Sequence[tuple[int, str]], name: str, company: str, problems: list[Unusable]) -> Iterator[Person]:
    """The one whose addresses these are, each with its line; nobody where none is usable."""
    addresses: list[tuple[int, str]] = []
    for line, email in written:
        address = usable_address(email)
        if address is None:
            problems.append(Unusable(line, f"{_quoted(email)} is not an e-mail address"))
        elif address not in (each for _, each in addresses):
            addresses.append((line, address))
    if addresses:
        line, first = addresses[0]
        yield Person(line, first, name, company, tuple(each for _, each in addresses[1:]))


# --- vCard ---------------------------------------------------------------------------------------------------


def _of_vcards(text: str) -> AddressBook:
    people: list[Person] = []
    problems: list[Unusable] = []
    for card in cards(text):
        if card.problem:
            problems.append(Unusable(card.line, card.problem))
            continue
        if not card.emails:
            problems.append(Unusable(card.line, f"{card.name or 'this card'} has no e-mail address"))
        people += _person(card.emails, card.name, card.company, problems)
    if not people and not problems:
        problems.append(Unusable(1, "there is no vCard in this file"))
    return AddressBook(tuple(people), tuple(problems))


# --- CSV -----------------------------------------------------------------------------------------------------

_EMAIL = re.compile(
    r"(primary|main|home|work|business)?(e?mail|emailadresse?|adresse?(e?mail|mail))(address)?\d*(value|address)?"
)
_NAME = frozenset({"name", "fullname", "displayname", "contactname", "contact", "nomcomplet", "anzeigename", "nombre"})
_FIRST = frozenset({"firstname", "givenname", "first", "vorname", "prénom", "forename"})
_MIDDLE = frozenset({"middlename", "additionalname"})
_LAST = frozenset({"lastname", "familyname", "surname", "last", "nachname", "nom", "apellidos"})
_COMPANY = frozenset(
    {
        "company", "companyname", "organisation", "organization", "organizationname", "organisationname",
        "organization1name", "org", "firma", "société", "entreprise", "account", "accountname", "employer", "empresa",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where in a row what stands."""

    emails: tuple[int, ...]
    name: int | None = None
    parts: tuple[int, ...] = ()
    company: int | None = None

    def name_of(self, row: Sequence[str]) -> str:
        whole = _cell(row, self.name)
        return whole or " ".join(part for part in (_cell(row, each) for each in self.parts) if part)


def _of_csv(text: str) -> AddressBook:
    people: list[Person] = []
    problems: list[Unusable] = []
    columns: _Columns | None = None
    for line, row in _rows(text, problems):
        if columns is None:
            columns = _by_header(row)
            if columns is not None:
                continue
            columns = _by_content(row)
            if columns is None:
                problems.append(Unusable(line, "no column is called email; give the columns names in the first line"))
                break
        _take(line, row, columns, people, problems)
    if columns is None and not problems:
        problems.append(Unusable(1, "the file is empty"))
    return AddressBook(tuple(people), tuple(problems))


def _take(line: int, row: Sequence[str], columns: _Columns, people: list[Person], problems: list[Unusable]) -> None:
    name, company = columns.name_of(row), _cell(row, columns.company)
    # Google writes several addresses of one kind into one field: `a@x ::: b@x`.
    written = [part.strip() for each in columns.emails for part in _cell(row, each).split(":::") if part.strip()]
    if not written:
        problems.append(Unusable(line, f"{name or 'this line'} has no e-mail address"))
    people += _person([(line, each) for each in written], name, company, problems)


def _rows(text: str, problems: list[Unusable]) -> Iterator[tuple[int, list[str]]]:
    """(line where the row begins, its cells) of every row that is not empty."""
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=_delimiter(text))
    begun = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(Unusable(begun, f"the rest cannot be read: {error}"))
            return
        if any(cell.strip() for cell in row):
            yield begun, row
        begun = reader.line_num + 1


def _delimiter(text: str) -> str:
    """The one that cuts the first line into most cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")[:MOST_CELL]
    bare = re.sub(r'"[^"]*"', "", first)
    return max(",;\t|", key=bare.count)


def _by_header(row: Sequence[str]) -> _Columns | None:
    names = [re.sub(r"[\W_]", "", cell.strip().lower()) for cell in row]
    emails = tuple(n for n, name in enumerate(names) if _EMAIL.fullmatch(name))
    if not emails:
        return None

    def first(words: frozenset[str]) -> int | None:
        return next((n for n, name in enumerate(names) if name in words), None)

    parts = tuple(n for n in (first(_FIRST), first(_MIDDLE), first(_LAST)) if n is not None)
    return _Columns(emails, first(_NAME), parts, first(_COMPANY))


def _by_content(row: Sequence[str]) -> _Columns | None:
    """A file without names of columns: the address is what looks like one, the name stands first beside it."""
    email = next((n for n, cell in enumerate(row) if usable_address(cell)), None)
    if email is None:
        return None
    others = [n for n in range(len(row)) if n != email]
    return _Columns((email,), name=next(iter(others[:1]), None), company=next(iter(others[1:2]), None))


def _cell(row: Sequence[str], n: int | None) -> str:
    return "" if n is None or n >= len(row) else one_line(row[n])


def one_line(text: str) -> str:
    """Text as a name may be kept: printable, one line, no runs of space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:MOST_CELL]).split())


def _quoted(text: str) -> str:
    shown = one_line(text)
    return f'"{shown if len(shown) <= 60 else shown[:60] + "…"}"'
