"""The contacts as documents: asked for by the page, made, completed, imported, merged and taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from proxyd.formats.address_book import Person, one_line, read_address_book, usable_address
from proxyd.model import mailbox_key
from proxyd.store import contact_pages, contacts, merging
from proxyd.store.contact_pages import Place
from proxyd.store.contacts import Contact, Known, Taken
from proxyd.store.database import Database
from proxyd.store.timeline import timestamp
from proxyd.web.answers import Document, Unacceptable
from proxyd.web.viewer import OWNER, Viewer

MOST_CONTACTS = 100_000


# --- read ------------------------------------------------------------------------------------------------------


def listed(
    database: Database,
    q: str = "",
    viewer: Viewer = OWNER,
    limit: int = MOST_CONTACTS,
    cursor: str | None = None,
    *,
    newest: bool = False,
    company: str | None = None,
) -> Document:
    """`{"contacts": […], "next", "total"}` by address, or with `newest` those with the newest words first; `q` is
    looked for in addresses, name and company. `company`: those who belong to this record."""
    wanted = q.strip().casefold()
    with database.reading() as connection:
        if newest:
            behind = _place(cursor) if cursor else None
            accounts = viewer.accounts
            places = contact_pages.newest_first(connection, wanted, limit + 1, behind, accounts, company)
        else:
            keys = contact_pages.by_address(connection, wanted, limit + 1, cursor, company)
            places = [Place(each) for each in keys]
        total = contact_pages.count(connection, wanted, company)
        page = places[:limit]
        documents = _documents(connection, [each.key for each in page], viewer)
    more = len(places) > len(page) and page
    following = (page[-1].cursor if newest else page[-1].key) if more else None
    return {"contacts": documents, "next": following, "total": total}


def one(database: Database, email: str, viewer: Viewer = OWNER) -> Document | None:
    """The contact who has this address, None where nobody has."""
    with database.reading() as connection:
        person = contacts.get(connection, mailbox_key(email))
        return _documents(connection, [person.key], viewer)[0] if person is not None else None


def names(database: Database, addresses: Iterable[str]) -> dict[str, str]:
    """How the contacts with these addresses are called, by mailbox key; who has no name is not among them."""
    with database.reading() as connection:
        people = contacts.of_addresses(connection, {mailbox_key(each) for each in addresses})
    return {key: each.name for key, each in people.items() if each.name}


def _documents(connection: sa.Connection, keys: Sequence[str], viewer: Viewer) -> list[Document]:
    people = contacts.several(connection, keys)
    logged = contacts.logged_with(connection, keys, viewer.accounts)
    documents = []
    for key in keys:
        count, last = logged.get(key, (0, None))
        documents.append(document(people[key]) | {"messages": count, "last": timestamp(last) if last else None})
    return documents


def document(contact: Known) -> Document:
    return {
        "email": contact.email,
        "name": contact.name,
        "company": contact.company_name,
        "addresses": list(contact.addresses),
        "company_id": contact.company,
        "company_by": contact.company_by or None,
    }


def _place(cursor: str) -> Place:
    try:
        return Place.read(cursor)
    except ValueError:
        raise Unacceptable("the cursor is none that was handed out; accepted: `next` of the page before") from None


# --- written ---------------------------------------------------------------------------------------------------


def add(database: Database, email: str, name: str = "", company: str = "", aliases: Sequence[str] = ()) -> Document:
    """Make a contact or complete one; `new` tells which, `aliases` are further addresses. Raises Unacceptable for what
    is no address, or is another contact's."""
    contact = Contact(
        mailbox_key(_address(email)), _address(email), one_line(name), one_line(company), tuple(map(_address, aliases))
    )
    with database.writing() as connection:
        try:
            new = contacts.add(connection, contact, datetime.now(UTC))
        except Taken as taken:
            cure = f"proxyd contact merge {contact.email} {taken.email}"
            raise Unacceptable(
                f"{taken.address} is the contact {taken.email} already; if they are one person: {cure}"
            ) from None
        person = contacts.get(connection, contact.key)
    assert person is not None
    return document(person) | {"new": new}


def _address(email: str) -> str:
    address = usable_address(email)
    if address is None:
        raise Unacceptable(
            f"{one_line(email)[:80]!r} is not an e-mail address; accepted: one such as grace@customer.example"
        )
    return address


def merge(database: Database, email: str, other: str) -> Document:
    """The contact with the address `other` becomes one with the contact who has `email`. Raises Unacceptable where
    either is none."""
    with database.writing() as connection:
        for each in (email, other):
            if contacts.get(connection, mailbox_key(each)) is None:
                raise Unacceptable(f"{one_line(each)[:80]} is no contact; proxyd contact list shows them")
        key = merging.merge(connection, mailbox_key(email), mailbox_key(other), datetime.now(UTC))
        assert key is not None
        return document(contacts.several(connection, [key])[key])


def split(database: Database, address: str) -> Document:
    """An address of a contact is a contact of its own (again). Raises Unacceptable where it is no contact's further
    address."""
    with database.writing() as connection:
        key = merging.split(connection, mailbox_key(address), datetime.now(UTC))
        if key is None:
            person = contacts.get(connection, mailbox_key(address))
            why = "is no contact's address" if person is None else f"is the first address of {person.email}"
            raise Unacceptable(f"{one_line(address)[:80]} {why}; accepted: one that was added or merged")
        return document(contacts.several(connection, [key])[key])


def take_in(database: Database, octets: bytes, kind: str = "") -> Document:
    """Take an address book in; `kind` is csv, vcard or "" = told by its content.

    `{"new", "updated", "unchanged", "problems": [{"line", "why"}], "remarks": [the same]}`; a line that is not usable
    stops no other. Two contacts never become one by it: an address that is somebody else's stays theirs, with a remark.
    """
    if kind not in ("", "csv", "vcard"):
        raise Unacceptable(f"{kind!r} is no kind of address book; accepted: csv, vcard")
    book = read_address_book(octets, kind)
    counts = {"new": 0, "updated": 0, "unchanged": 0}
    remarks: list[Document] = []
    now = datetime.now(UTC)
    with database.writing() as connection:
        for person in book.people:
            counts[_take_in(connection, person, remarks, now)] += 1
    return {**counts, "problems": [asdict(each) for each in book.problems], "remarks": remarks}


def _take_in(connection: sa.Connection, person: Person, remarks: list[Document], now: datetime) -> str:
    """One entry of an address book: what came of it."""
    given = {mailbox_key(each): each for each in (person.email, *person.others)}
    owning = contacts.owners(connection, given)
    owner = _who(person, owning.get(mailbox_key(person.email)), contacts.of_addresses(connection, given))
    theirs = [email for key, email in given.items() if owning.get(key, owner) == owner]
    for key, email in given.items():
        if owning.get(key, owner) != owner:
            why = f"{email} is the contact {owning[key]} already, and stays it; if they are one person:"
            merge = f"proxyd contact merge {owner or theirs[0]} {owning[key]}"
            remarks.append({"line": person.line, "why": f"{why} {merge}"})
    before = contacts.several(connection, [owner])[owner] if owner else None
    email = before.email if before else theirs[0]
    contact = Contact(mailbox_key(email), email, person.name, person.company, tuple(theirs))
    if before is not None and not _tells_more(contact, before):
        return "unchanged"
    contacts.add(connection, contact, now)
    return "updated" if before is not None else "new"


def _who(person: Person, owner: str | None, there: Mapping[str, Known]) -> str | None:
    """Which contact an entry of an address book is: the one of its first address. By a further one only where the names
    do not differ: many an office has one address for all."""
    if owner is not None:
        return owner
    name = person.name.casefold()
    alike = (each.key for each in there.values() if not name or each.name.casefold() in ("", name))
    return next(alike, None)


def _tells_more(given: Contact, kept: Known) -> bool:
    """Is there more in what an address book says than is known?"""
    addresses = {mailbox_key(each) for each in kept.addresses}
    named = given.name not in ("", kept.name)
    # A company that was told by the domain alone is not the same as one that is said.
    company = given.company and (given.company != kept.company_name or kept.company_by != "hand")
    return bool(named or company or {mailbox_key(each) for each in given.others} - addresses)
