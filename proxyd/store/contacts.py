"""The people whose conversations are logged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.store.prepared import Prepared
from proxyd.store.tables import contacts, messages, participants

_KNOWN = Prepared(sa.select(contacts.c.key).where(contacts.c.key == sa.bindparam("is")))


@dataclass(frozen=True, slots=True)
class Contact:
    key: str  # formats.message.mailbox_key
    email: str
    name: str = ""
    company: str = ""


def add(connection: sa.Connection, contact: Contact, at: datetime) -> bool:
    """True where it is new. What is given replaces what was known; what is left out stays."""
    row = connection.execute(sa.select(contacts).where(contacts.c.key == contact.key)).one_or_none()
    if row is None:
        connection.execute(
            contacts.insert(),
            {
                "key": contact.key,
                "email": contact.email,
                "name": contact.name,
                "company": contact.company,
                "at": at,
            },
        )
        return True
    values = {"name": contact.name or row.name, "company": contact.company or row.company}
    connection.execute(contacts.update().where(contacts.c.key == contact.key).values(values))
    return False


def known(connection: sa.Connection, keys: Iterable[str]) -> frozenset[str]:
    """Those of `keys` that are contacts."""
    return frozenset(key for key in keys if _KNOWN.value(connection, {"is": key}) is not None)


def every(connection: sa.Connection) -> list[Contact]:
    """By key."""
    rows = connection.execute(sa.select(contacts).order_by(contacts.c.key))
    return [Contact(row.key, row.email, row.name, row.company) for row in rows]


def logged_with(
    connection: sa.Connection, keys: Sequence[str], accounts: Collection[str] | None = None
) -> dict[str, tuple[int, datetime]]:
    """How many messages of `accounts` (None: of all) are logged with each of these, and the newest one's date; who is
    missing has none."""
    found: dict[str, tuple[int, datetime]] = {}
    for start in range(0, len(keys), 1000):
        query = (
            sa.select(participants.c.key, sa.func.count(messages.c.mail.distinct()), sa.func.max(messages.c.date))
            .join(messages, messages.c.id == participants.c.message)
            .where(participants.c.key.in_(keys[start : start + 1000]))
            .group_by(participants.c.key)
        )
        if accounts is not None:
            query = query.where(messages.c.account.in_(sorted(accounts)))
        found.update((row[0], (row[1], row[2])) for row in connection.execute(query))
    return found
