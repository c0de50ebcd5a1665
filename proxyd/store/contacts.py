"""The people whose conversations are logged: each with one address or several, the first of which names them.

Whether an address with a tag counts as the same without it is the configuration's word (`rules.plus_tags`), and may
change any day. So what an address is without its tag is kept beside it (`tag`), and only looked at where tags are
folded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import mailbox_key
from proxyd.rules.plus_tags import PlusTags, untagged
from proxyd.store import companies, mailboxes
from proxyd.store.prepared import Prepared
from proxyd.store.tables import companies as company_table
from proxyd.store.tables import contact_addresses, contacts, last_words, participants

AT_ONCE = 500  # values in one statement
PLUS_TAGS = ("", "plus_tags")  # the fact that says folded, where they are

_ADDRESSES = Prepared(
    sa.select(contact_addresses.c.contact, contact_addresses.c.tag).where(contact_addresses.c.key == sa.bindparam("is"))
)


@dataclass(frozen=True, slots=True)
class Contact:
    """As it is given: `key` is the mailbox_key of `email`, `company` a name, `others` are further addresses."""

    key: str
    email: str
    name: str = ""
    company: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """As it is kept. `addresses` begin with `email`; `company` is a record's id, `company_name` "" where that has
    none but its domain; `company_by`: hand | domain."""

    key: str
    email: str
    name: str
    addresses: tuple[str, ...]
    company: str | None
    company_name: str
    company_by: str


class Taken(Exception):
    """An address is another contact's already. `email` is that one's first."""

    def __init__(self, address: str, email: str) -> None:
        super().__init__(address, email)
        self.address = address
        self.email = email


# --- whose address is it? --------------------------------------------------------------------------------------


def folded(connection: sa.Connection) -> bool:
    """Do addresses count without their tags?"""
    return mailboxes.fact(connection, *PLUS_TAGS) == "folded"


def fold(connection: sa.Connection, plus_tags: PlusTags) -> None:
    if folded(connection) is not (plus_tags == "folded"):
        mailboxes.set_fact(connection, *PLUS_TAGS, plus_tags)


def owners(connection: sa.Connection, keys: Iterable[str]) -> dict[str, str]:
    """Those of these mailbox keys that are a contact's address, and whose: by that contact's key. An address that is
    somebody's as it stands is not another's by its tag."""
    wanted = dict.fromkeys(keys)
    without = folded(connection)
    owning = ((key, _own(connection, key) or (_other(connection, key) if without else None)) for key in wanted)
    return {key: owner for key, owner in owning if owner is not None}


def _own(connection: sa.Connection, key: str) -> str | None:
    return next((row.contact for row in _ADDRESSES.all(connection, {"is": key}) if not row.tag), None)


def _other(connection: sa.Connection, key: str) -> str | None:
    """Whose it is when tags do not count: that has no tag comes first."""
    rows = _ADDRESSES.all(connection, {"is": untagged(key)})
    return next((row.contact for row in sorted(rows, key=lambda row: (row.tag, row.contact))), None)


def known(connection: sa.Connection, keys: Iterable[str]) -> frozenset[str]:
    """Those of `keys` that are contacts' addresses."""
    return frozenset(owners(connection, keys))


def get(connection: sa.Connection, key: str) -> Known | None:
    """The contact who has this address."""
    owner = owners(connection, [key]).get(key)
    return None if owner is None else several(connection, [owner]).get(owner)


def of_addresses(connection: sa.Connection, keys: Iterable[str]) -> dict[str, Known]:
    """The contacts whose addresses are among these, by them."""
    owning = owners(connection, keys)
    people = several(connection, set(owning.values()))
    return {key: people[owner] for key, owner in owning.items()}


def several(connection: sa.Connection, keys: Iterable[str]) -> dict[str, Known]:
    """Contacts by their keys."""
    found: dict[str, Known] = {}
    for portion in portions(keys):
        addresses: dict[str, list[str]] = {}
        own = sa.select(contact_addresses.c.contact, contact_addresses.c.email).where(
            contact_addresses.c.contact.in_(portion), ~contact_addresses.c.tag
        )
        for row in connection.execute(own.order_by(contact_addresses.c.place)):
            addresses.setdefault(row.contact, []).append(row.email)
        query = (
            sa.select(contacts, company_table.c.name.label("company_name"))
            .outerjoin(company_table, company_table.c.id == contacts.c.company)
            .where(contacts.c.key.in_(portion))
        )
        for row in connection.execute(query):
            found[row.key] = Known(
                row.key,
                row.email,
                row.name,
                tuple(addresses.get(row.key, (row.email,))),
                row.company,
                row.company_name or "",
                row.company_by,
            )
    return found


def same_person(connection: sa.Connection, keys: Iterable[str]) -> frozenset[str]:
    """Every mailbox key that stands for somebody of these: they themselves, and where one is a contact's address, all
    of that contact's. Where tags are folded, without them too."""
    asked = set(keys)
    for portion in portions(set(owners(connection, asked).values())):
        query = sa.select(contact_addresses.c.key).where(contact_addresses.c.contact.in_(portion))
        asked.update(connection.scalars(query if folded(connection) else query.where(~contact_addresses.c.tag)))
    return frozenset(asked | {untagged(each) for each in asked} if folded(connection) else asked)


def every_key(connection: sa.Connection) -> list[str]:
    """The mailbox keys of every contact's addresses, in order."""
    query = sa.select(contact_addresses.c.key).where(~contact_addresses.c.tag)
    return list(connection.scalars(query.order_by(contact_addresses.c.key)))


def takes_part(connection: sa.Connection, keys: Collection[str]) -> sa.ColumnElement[bool]:
    """Of a row of `participants`: it stands for one of these keys (as `same_person` gives them)."""
    among = participants.c.key.in_(sorted(keys))
    return among if folded(connection) else sa.and_(among, ~participants.c.tag)


# --- making and completing -------------------------------------------------------------------------------------


def add(connection: sa.Connection, contact: Contact, at: datetime) -> bool:
    """True where it is new. What is given replaces what was known; what is left out stays. The contact is found by any
    of its addresses. Raises Taken where one of `others` is somebody else's."""
    owner = owners(connection, [contact.key]).get(contact.key)
    new = owner is None
    key = contact.key if owner is None else owner
    if new:
        values = {"key": key, "email": contact.email, "name": contact.name, "at": at}
        connection.execute(contacts.insert(), values)
        _put_address(connection, key, contact.email, place=0)
    elif contact.name:
        connection.execute(contacts.update().where(contacts.c.key == key).values(name=contact.name))
    for each in contact.others:
        add_address(connection, key, each)
    others = companies.assign(connection, key, contact.company, at) if contact.company else None
    if others is not None:
        settle_company(connection, others, at)
    settle(connection, key, at)
    return new


def add_address(connection: sa.Connection, key: str, email: str) -> bool:
    """One more address of the contact `key`; False where it is theirs already. Raises Taken. `settle` follows."""
    given = mailbox_key(email)
    owner = connection.scalar(
        sa.select(contact_addresses.c.contact).where(contact_addresses.c.key == given, ~contact_addresses.c.tag)
    )
    if owner is not None:
        if owner != key:
            raise Taken(email, several(connection, [owner])[owner].email)
        return False
    of = contact_addresses.c.contact == key
    last = connection.scalar(sa.select(sa.func.max(contact_addresses.c.place)).where(of))
    _put_address(connection, key, email, place=(last or 0) + 1)
    return True


def _put_address(connection: sa.Connection, contact: str, email: str, place: int) -> None:
    key = mailbox_key(email)
    bare = untagged(key)
    of = sa.and_(contact_addresses.c.contact == contact, contact_addresses.c.key == key)
    connection.execute(contact_addresses.delete().where(of))  # it may have stood there as another one's without its tag
    row = {"contact": contact, "email": email, "place": place}
    connection.execute(contact_addresses.insert(), row | {"key": key, "tag": False})
    same = sa.and_(contact_addresses.c.contact == contact, contact_addresses.c.key == bare)
    if bare != key and connection.execute(sa.select(contact_addresses.c.key).where(same)).first() is None:
        connection.execute(contact_addresses.insert(), row | {"key": bare, "tag": True})


def settle(connection: sa.Connection, key: str, at: datetime) -> None:
    """What follows of a contact's name, addresses and company: the company by its domains, what a search looks in."""
    person = several(connection, [key])[key]
    if person.company_by != "hand":
        companies.by_domain(connection, key, [mailbox_key(each) for each in person.addresses], at)
        person = several(connection, [key])[key]
    _sought(connection, person)


def settle_company(connection: sa.Connection, company: str, at: datetime) -> None:
    """The same for everybody of a company."""
    of = contacts.c.company == company
    for key in list(connection.scalars(sa.select(contacts.c.key).where(of))):
        settle(connection, key, at)


def settle_domain(connection: sa.Connection, domain: str, at: datetime) -> None:
    """The same for everybody who has an address at a domain, or below it."""
    ends = sa.or_(
        contact_addresses.c.key.endswith(f"@{domain}", autoescape=True),
        contact_addresses.c.key.endswith(f".{domain}", autoescape=True),
    )
    for key in list(connection.scalars(sa.select(contact_addresses.c.contact).where(ends).distinct())):
        settle(connection, key, at)


def _sought(connection: sa.Connection, person: Known) -> None:
    words = "\n".join((*person.addresses, person.name, person.company_name)).casefold()
    connection.execute(contacts.update().where(contacts.c.key == person.key).values(sought=words))


# --- what was logged with them ---------------------------------------------------------------------------------


def logged_with(
    connection: sa.Connection, keys: Sequence[str], accounts: Collection[str] | None = None
) -> dict[str, tuple[int, datetime]]:
    """How many messages of `accounts` (None: of all) are logged with each of these contacts, and the newest one's
    date; who is missing has none."""
    found: dict[str, tuple[int, datetime]] = {}
    for portion in portions(keys):
        counts = dict(
            map(
                tuple,
                connection.execute(
                    _of_each(connection, participants, sa.func.count(participants.c.mail.distinct()), portion, accounts)
                ),
            )
        )
        newest = connection.execute(_of_each(connection, last_words, sa.func.max(last_words.c.date), portion, accounts))
        found.update((contact, (counts[contact], date)) for contact, date in newest if contact in counts)
    return found


def _of_each(
    connection: sa.Connection,
    table: sa.Table,
    what: sa.ColumnElement[Any],
    keys: Sequence[str],
    accounts: Collection[str] | None,
) -> sa.Select[Any]:
    """For each of these contacts `what` of the rows of `table` that stand for them, in accounts that may be seen."""
    query = (
        sa.select(contact_addresses.c.contact, what)
        .select_from(contact_addresses)
        .join(table, table.c.key == contact_addresses.c.key)
        .where(contact_addresses.c.contact.in_(keys))
        .group_by(contact_addresses.c.contact)
    )
    if not folded(connection):
        query = query.where(~contact_addresses.c.tag, ~table.c.tag)
    return query if accounts is None else query.where(table.c.account.in_(sorted(accounts)))


def portions(values: Iterable[str]) -> Iterable[list[str]]:
    listed = list(values)
    return (listed[start : start + AT_ONCE] for start in range(0, len(listed), AT_ONCE))
