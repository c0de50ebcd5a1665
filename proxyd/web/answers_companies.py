"""The companies as documents: listed with how many people they have, named, and given their domains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from proxyd.formats.address_book import one_line
from proxyd.rules.company_domains import written_domain
from proxyd.store import companies, contacts
from proxyd.store.companies import Company
from proxyd.store.database import Database
from proxyd.store.timeline import timestamp
from proxyd.web.answers import Document, Unacceptable
from proxyd.web.viewer import OWNER, Viewer

MOST_COMPANIES = 100_000


def listed(
    database: Database, q: str = "", viewer: Viewer = OWNER, limit: int = MOST_COMPANIES, cursor: str | None = None
) -> Document:
    """`{"companies": […], "next", "total"}` by name; `q` is looked for in name and domains."""
    behind = _place(cursor) if cursor else None
    with database.reading() as connection:
        found = companies.page(connection, q.strip().casefold(), limit + 1, behind)
        page = found[:limit]
        documents = [_document(each) for each in companies.several(connection, _ids(page), viewer.accounts)]
        total = companies.count(connection)
    return {
        "companies": documents,
        "next": "\t".join(page[-1]) if page and len(found) > limit else None,
        "total": total,
    }


def _ids(page: Sequence[tuple[str, str]]) -> list[str]:
    return [id for _label, id in page]


def _place(cursor: str) -> tuple[str, str]:
    label, tab, id = cursor.rpartition("\t")
    if not tab:
        raise Unacceptable("the cursor is none that was handed out; accepted: `next` of the page before")
    return label, id


def one(database: Database, word: str, viewer: Viewer = OWNER) -> Document | None:
    """The company of this id, name or domain; None where there is none."""
    with database.reading() as connection:
        id = companies.find(connection, word)
        return None if id is None else _document(companies.several(connection, [id], viewer.accounts)[0])


def _document(company: Company) -> Document:
    return {
        "id": company.id,
        "name": company.name,
        "label": company.label,
        "domains": list(company.domains),
        "contacts": company.people,
        "last": timestamp(company.last) if company.last else None,
    }


def make(database: Database, name: str, domains: Sequence[str] = ()) -> Document:
    """The company of this name, made where there is none; further domains are its own from now on. Raises Unacceptable
    for what is no domain of a company's."""
    now = datetime.now(UTC)
    given = [_domain(each) for each in domains]
    with database.writing() as connection:
        id = companies.make(connection, _named(name), now, by_hand=True)
        _give(connection, id, given, now)
        return _document(companies.several(connection, [id])[0])


def change(database: Database, word: str, name: str | None, domains: Sequence[str] | None) -> Document | None:
    """Another name, other domains (all of them, None = as they are); None where there is no such company."""
    now = datetime.now(UTC)
    given = None if domains is None else [_domain(each) for each in domains]
    with database.writing() as connection:
        id = companies.find(connection, word)
        if id is None:
            return None
        if name is not None:
            _rename(connection, id, _named(name), now)
        before = companies.several(connection, [id])[0]
        companies.made_by_hand(connection, id)
        if given is not None:
            gone = [each for each in before.domains if each not in given]
            companies.take_domains(connection, id, gone)
            _give(connection, id, [each for each in given if each not in before.domains], now)
            for each in gone:
                contacts.settle_domain(connection, each, now)
        return _document(companies.several(connection, [id])[0])


def _rename(connection: sa.Connection, id: str, name: str, now: datetime) -> None:
    other = companies.find(connection, name)
    if other not in (None, id):
        label = companies.several(connection, [other])[0].label if other else ""
        raise Unacceptable(f"{label} is another company's name or domain already")
    companies.rename(connection, id, name)
    contacts.settle_company(connection, id, now)


def _give(connection: sa.Connection, id: str, domains: Sequence[str], now: datetime) -> None:
    for each in domains:
        companies.give_domain(connection, id, each)
        contacts.settle_domain(connection, each, now)


def _named(name: str) -> str:
    named = one_line(name)
    if not named:
        raise Unacceptable("a company needs a name")
    return named


def _domain(text: str) -> str:
    domain = written_domain(text)
    if domain is None:
        raise Unacceptable(
            f"{one_line(text)[:80]!r} is no domain of a company's; accepted: one such as customer.example, not one"
            " where anybody may have an address"
        )
    return domain
