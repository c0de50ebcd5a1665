"""The companies that contacts belong to: by hand, or by the domain of an address.

A domain belongs to one company. One that nobody has named is known by its domain alone; the first contact there whose
company is named gives it that name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from ulid import ULID

from proxyd.rules.company_domains import candidates, domain_of
from proxyd.store.tables import companies, company_domains, contact_addresses, contacts, last_words

_OF_DOMAINS = sa.select(company_domains).where(company_domains.c.domain.in_(sa.bindparam("domains", expanding=True)))


@dataclass(frozen=True, slots=True)
class Company:
    """`name` is "" where it is known by its domains alone; `people` is how many contacts belong to it."""

    id: str
    name: str
    domains: tuple[str, ...]
    people: int = 0
    last: datetime | None = None

    @property
    def label(self) -> str:
        return self.name or next(iter(self.domains), "")


def name_key(name: str) -> str:
    """What two spellings of one name have in common."""
    return " ".join(name.split()).casefold()


# --- finding ---------------------------------------------------------------------------------------------------


def find(connection: sa.Connection, word: str) -> str | None:
    """A company's id by its id, its name or one of its domains."""
    found: str | None = connection.scalar(
        sa.select(companies.c.id).where(sa.or_(companies.c.id == word, companies.c.name_key == name_key(word)))
    )
    return found or of_domain(connection, word.strip().lower().removeprefix("@"))


def of_domain(connection: sa.Connection, domain: str) -> str | None:
    """Whose a domain is, by itself or by the one that it lies below."""
    names = candidates(domain)
    there = {row.domain: row.company for row in connection.execute(_OF_DOMAINS, {"domains": names})}
    return next((there[each] for each in names if each in there), None)


def several(connection: sa.Connection, ids: Sequence[str], accounts: Collection[str] | None = None) -> list[Company]:
    """In the order of `ids`, with the newest message in `accounts` (None: in all)."""
    rows = {row.id: row for row in connection.execute(sa.select(companies).where(companies.c.id.in_(ids)))}
    domains: dict[str, list[str]] = {}
    query = sa.select(company_domains).where(company_domains.c.company.in_(ids)).order_by(company_domains.c.domain)
    for row in connection.execute(query):
        domains.setdefault(row.company, []).append(row.domain)
    counted = sa.select(contacts.c.company, sa.func.count()).where(contacts.c.company.in_(ids))
    people = {row[0]: row[1] for row in connection.execute(counted.group_by(contacts.c.company))}
    newest = (
        sa.select(contacts.c.company, sa.func.max(last_words.c.date))
        .select_from(contacts)
        .join(contact_addresses, contact_addresses.c.contact == contacts.c.key)
        .join(last_words, last_words.c.key == contact_addresses.c.key)
        .where(contacts.c.company.in_(ids), ~contact_addresses.c.tag, ~last_words.c.tag)
        .group_by(contacts.c.company)
    )
    if accounts is not None:
        newest = newest.where(last_words.c.account.in_(sorted(accounts)))
    last = {row[0]: row[1] for row in connection.execute(newest)}
    return [
        Company(each, rows[each].name, tuple(domains.get(each, ())), people.get(each, 0), last.get(each))
        for each in ids
        if each in rows
    ]


def people(connection: sa.Connection, company: str) -> list[str]:
    """The keys of the contacts who belong to it."""
    query = sa.select(contacts.c.key).where(contacts.c.company == company).order_by(contacts.c.key)
    return list(connection.scalars(query))


def keys(connection: sa.Connection, company: str) -> frozenset[str]:
    """The mailbox keys, also without their tags, of everybody who belongs to it."""
    query = (
        sa.select(contact_addresses.c.key)
        .join(contacts, contacts.c.key == contact_addresses.c.contact)
        .where(contacts.c.company == company)
    )
    return frozenset(connection.scalars(query))


def page(connection: sa.Connection, q: str, limit: int, behind: tuple[str, str] | None) -> list[tuple[str, str]]:
    """(label, id) of those in whose name or domain the casefolded `q` stands, by their label; behind the last one of
    the page before."""
    first = sa.select(sa.func.min(company_domains.c.domain)).where(company_domains.c.company == companies.c.id)
    label = sa.func.coalesce(companies.c.name_key, first.scalar_subquery(), "")
    named = sa.select(companies.c.id, label.label("label")).subquery()
    query = sa.select(named.c.label, named.c.id)
    if q:
        at = sa.select(company_domains.c.company).where(sa.func.instr(company_domains.c.domain, q) > 0)
        query = query.where(sa.or_(sa.func.instr(named.c.label, q) > 0, named.c.id.in_(at)))
    if behind is not None:
        query = query.where(sa.tuple_(named.c.label, named.c.id) > sa.tuple_(*map(sa.literal, behind)))
    rows = connection.execute(query.order_by(named.c.label, named.c.id).limit(limit))
    return [(row.label, row.id) for row in rows]


def count(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(companies)) or 0)


# --- who belongs to which --------------------------------------------------------------------------------------


def make(connection: sa.Connection, name: str, at: datetime, *, by_hand: bool = False) -> str:
    """The company of this name ("" = one more without a name), made where there is none."""
    there = connection.scalar(sa.select(companies.c.id).where(companies.c.name_key == name_key(name))) if name else None
    if there is not None:
        if by_hand:
            made_by_hand(connection, there)
        return str(there)
    id = str(ULID.from_datetime(at))
    values = {
        "id": id,
        "name": " ".join(name.split()),
        "name_key": name_key(name) or None,
        "by_hand": by_hand,
        "at": at,
    }
    connection.execute(companies.insert(), values)
    return id


def assign(connection: sa.Connection, contact: str, name: str, at: datetime) -> str | None:
    """By hand. Where the domain of the contact's first address is nobody's, or a company's without a name, it is this
    one's from now on. Returns the company where others came to it, or it got another name, by that."""
    domain = domain_of(contact)
    there = of_domain(connection, domain) if domain else None
    nameless = there is not None and not _name(connection, there)
    if nameless and _named(connection, name) is None:
        assert there is not None
        rename(connection, there, name)
    company = make(connection, name, at)
    before = _of(connection, contact)
    values = {"company": company, "company_by": "hand"}
    connection.execute(contacts.update().where(contacts.c.key == contact).values(values))
    if domain and there is None:
        give_domain(connection, company, domain)
    elif nameless and there != company:
        assert there is not None
        _become(connection, there, company)
    if before is not None and before != company:
        tidy(connection, [before])
    return company if nameless else None


def leave(connection: sa.Connection, contact: str) -> None:
    """Not by hand any more: `by_domain` says which one it is."""
    before = _of(connection, contact)
    connection.execute(contacts.update().where(contacts.c.key == contact).values(company=None, company_by=""))
    if before is not None:
        tidy(connection, [before])


def by_domain(connection: sa.Connection, contact: str, addresses: Iterable[str], at: datetime) -> None:
    """The company of the first of a contact's addresses that tells one; made where nobody has the domain yet."""
    domains = [each for each in map(domain_of, addresses) if each is not None]
    before = _of(connection, contact)
    company = next((found for each in domains if (found := of_domain(connection, each)) is not None), None)
    if company is None and domains:
        company = make(connection, "", at)
        give_domain(connection, company, domains[0])
    if company != before:
        values = {"company": company, "company_by": "domain" if company else ""}
        connection.execute(contacts.update().where(contacts.c.key == contact).values(values))
        if before is not None:
            tidy(connection, [before])


def give_domain(connection: sa.Connection, company: str, domain: str) -> None:
    connection.execute(company_domains.delete().where(company_domains.c.domain == domain))
    connection.execute(company_domains.insert(), {"domain": domain, "company": company})


def take_domains(connection: sa.Connection, company: str, domains: Collection[str]) -> None:
    of = company_domains.c.company == company
    connection.execute(company_domains.delete().where(of, company_domains.c.domain.in_(list(domains))))


def rename(connection: sa.Connection, company: str, name: str) -> None:
    values = {"name": " ".join(name.split()), "name_key": name_key(name) or None}
    connection.execute(companies.update().where(companies.c.id == company).values(values))


def made_by_hand(connection: sa.Connection, company: str) -> None:
    """It stays, though nobody belongs to it any more."""
    connection.execute(companies.update().where(companies.c.id == company).values(by_hand=True))


def tidy(connection: sa.Connection, ids: Iterable[str]) -> None:
    """Those of these companies that nobody belongs to go, but for what a person made."""
    there = sa.exists().where(contacts.c.company == companies.c.id)
    connection.execute(companies.delete().where(companies.c.id.in_(list(ids)), ~companies.c.by_hand, ~there))


def _become(connection: sa.Connection, company: str, other: str) -> None:
    """All that belongs to `company` belongs to `other`."""
    connection.execute(company_domains.update().where(company_domains.c.company == company).values(company=other))
    connection.execute(contacts.update().where(contacts.c.company == company).values(company=other))
    connection.execute(companies.delete().where(companies.c.id == company))


def _of(connection: sa.Connection, contact: str) -> str | None:
    found: str | None = connection.scalar(sa.select(contacts.c.company).where(contacts.c.key == contact))
    return found


def _name(connection: sa.Connection, company: str) -> str:
    return str(connection.scalar(sa.select(companies.c.name).where(companies.c.id == company)) or "")


def _named(connection: sa.Connection, name: str) -> Any | None:
    return connection.scalar(sa.select(companies.c.id).where(companies.c.name_key == name_key(name)))
