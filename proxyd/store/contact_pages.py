"""A page of the contacts, by address or by who was written with last, without reading the others.

Who had the last word is read from `last_words` in the order of its dates, so that a page costs a page however many
contacts and messages there are. Where few are looked for that way would pass everybody else: then these are read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from proxyd.store.contacts import folded
from proxyd.store.tables import contact_addresses, contacts, last_words

FEW = 3000  # contacts that are all read, to find the newest among them

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends: `date` is None behind those with whom something is logged."""

    key: str
    date: datetime | None = None

    @property
    def cursor(self) -> str:
        return f"{(self.date - _EPOCH) // _MICROSECOND}.{self.key}" if self.date else f".{self.key}"

    @classmethod
    def read(cls, cursor: str) -> Place:
        """Raises ValueError for what is no cursor."""
        micros, dot, key = cursor.partition(".")
        if not dot:
            raise ValueError(cursor)
        try:
            return cls(key, _EPOCH + int(micros) * _MICROSECOND if micros else None)
        except OverflowError:
            raise ValueError(cursor) from None


def by_address(
    connection: sa.Connection, q: str, limit: int, behind: str | None, company: str | None = None
) -> list[str]:
    """Contacts' keys in order. `q` is casefolded and stands in an address, the name or the company's name; `company`:
    those who belong to it."""
    query = _among(sa.select(contacts.c.key), q, company)
    if behind is not None:
        query = query.where(contacts.c.key > behind)
    return list(connection.scalars(query.order_by(contacts.c.key).limit(limit)))


def newest_first(
    connection: sa.Connection,
    q: str,
    limit: int,
    behind: Place | None,
    accounts: Collection[str] | None,
    company: str | None = None,
) -> list[Place]:
    """Those with the newest words in `accounts` (None: in all), then by address those with whom nothing is logged."""
    without_tags = not folded(connection)
    if (q or company is not None) and count(connection, q, company) <= FEW:
        everybody = _few(connection, q, accounts, company, without_tags)
        return [each for each in everybody if behind is None or _after(each, behind)][:limit]
    found: list[Place] = []
    if behind is None or behind.date is not None:
        found = _with_words(connection, q, limit, behind, accounts, company, without_tags)
        behind = None
    if len(found) < limit:
        words, addresses = last_words.alias(), contact_addresses.alias()
        written = _words_of(contacts.c.key, words, addresses, accounts, without_tags)
        query = _among(sa.select(contacts.c.key), q, company).where(~sa.exists(written.correlate(contacts)))
        if behind is not None:
            query = query.where(contacts.c.key > behind.key)
        query = query.order_by(contacts.c.key).limit(limit - len(found))
        found += [Place(key) for key in connection.scalars(query)]
    return found


def count(connection: sa.Connection, q: str, company: str | None = None) -> int:
    query = _among(sa.select(sa.func.count()).select_from(contacts), q, company)
    return int(connection.scalar(query) or 0)


def _with_words(
    connection: sa.Connection,
    q: str,
    limit: int,
    behind: Place | None,
    accounts: Collection[str] | None,
    company: str | None,
    without_tags: bool,
) -> list[Place]:
    words, addresses = last_words.alias(), contact_addresses.alias()
    later, of_later = last_words.alias(), contact_addresses.alias()
    # Of `contacts`, not of `addresses`: so it is asked of those alone who are looked for.
    newer = _words_of(contacts.c.key, later, of_later, accounts, without_tags).where(
        sa.tuple_(later.c.date, later.c.key, later.c.tag, later.c.account)
        > sa.tuple_(words.c.date, words.c.key, words.c.tag, words.c.account)
    )
    query = (
        sa.select(contacts.c.key, words.c.date)
        .select_from(words)
        .join(addresses, addresses.c.key == words.c.key)
        .join(contacts, contacts.c.key == addresses.c.contact)
        # True of all, and said so that the index of dates is gone through instead of everything sorted.
        .where(words.c.date >= _LONG_AGO)
        .where(*_seen(words, addresses, accounts, without_tags), ~sa.exists(newer.correlate(words, contacts)))
    )
    asked = _among(query, q, company)
    if behind is not None:
        same = sa.and_(words.c.date == behind.date, contacts.c.key < behind.key)
        asked = asked.where(words.c.date <= behind.date, sa.or_(words.c.date < behind.date, same))
    rows = connection.execute(asked.order_by(words.c.date.desc(), contacts.c.key.desc()).limit(limit))
    return [Place(row.key, row.date) for row in rows]


def _few(
    connection: sa.Connection, q: str, accounts: Collection[str] | None, company: str | None, without_tags: bool
) -> list[Place]:
    """Everybody who is looked for, in order."""
    words, addresses = last_words.alias(), contact_addresses.alias()
    seen = sa.and_(words.c.key == addresses.c.key, *_seen(words, addresses, accounts, without_tags))
    query = (
        sa.select(contacts.c.key, sa.func.max(words.c.date))
        .select_from(contacts)
        .join(addresses, addresses.c.contact == contacts.c.key)
        .outerjoin(words, seen)
        .group_by(contacts.c.key)
    )
    people = [Place(key, date) for key, date in connection.execute(_among(query, q, company))]
    written = sorted((each for each in people if each.date), key=_newest, reverse=True)
    return written + sorted((each for each in people if each.date is None), key=lambda each: each.key)


def _newest(place: Place) -> tuple[datetime, str]:
    return place.date or _EPOCH, place.key


def _after(place: Place, other: Place) -> bool:
    """Does it come behind the other?"""
    if place.date is None or other.date is None:
        return place.date is None and (other.date is not None or place.key > other.key)
    return _newest(place) < _newest(other)


def _words_of(
    contact: sa.ColumnElement[str],
    words: sa.FromClause,
    addresses: sa.FromClause,
    accounts: Collection[str] | None,
    without_tags: bool,
) -> sa.Select[Any]:
    """The last words with a contact, in any account that is seen."""
    return (
        sa.select(sa.literal(1))
        .select_from(addresses.join(words, words.c.key == addresses.c.key))
        .where(addresses.c.contact == contact, *_seen(words, addresses, accounts, without_tags))
    )


def _seen(
    words: sa.FromClause, addresses: sa.FromClause, accounts: Collection[str] | None, without_tags: bool
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [~words.c.tag, ~addresses.c.tag] if without_tags else []
    # As an expression, which no index of accounts serves: they are read in the order of dates.
    return conditions if accounts is None else [*conditions, (words.c.account + "").in_(sorted(accounts))]


def _among(query: sa.Select[Any], q: str, company: str | None) -> sa.Select[Any]:
    if q:
        query = query.where(sa.func.instr(contacts.c.sought, q) > 0)
    return query if company is None else query.where(contacts.c.company == company)
