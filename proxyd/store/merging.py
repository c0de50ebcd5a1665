"""Two contacts that are one person become one, and can be taken apart again.

What the second one was is kept with the first until that goes; so `split` gives back what `merge` took, name, company
and addresses.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import mailbox_key
from proxyd.store import companies, contacts
from proxyd.store.contacts import Contact, Known
from proxyd.store.tables import contact_addresses, merges
from proxyd.store.tables import contacts as contact_table


def merge(connection: sa.Connection, key: str, other: str, at: datetime) -> str | None:
    """The contact who has the address `other` becomes one with the contact who has the address `key`, whose name and
    company win. Returns the one's key; None where either is no contact. Both the same: nothing happens."""
    one, gone = contacts.get(connection, key), contacts.get(connection, other)
    if one is None or gone is None:
        return None
    if one.key == gone.key:
        return one.key
    was = {
        "email": gone.email,
        "name": gone.name,
        "company": gone.company_name if gone.company_by == "hand" else "",
        "addresses": list(gone.addresses),
        "gave_name": not one.name,
        "gave_company": one.company_by != "hand" and gone.company_by == "hand",
    }
    connection.execute(merges.insert(), {"contact": one.key, "merged": was, "at": at})
    connection.execute(merges.update().where(merges.c.contact == gone.key).values(contact=one.key))
    connection.execute(contact_table.delete().where(contact_table.c.key == gone.key))
    for email in gone.addresses:
        contacts.add_address(connection, one.key, email)
    values: dict[str, object] = {"name": one.name or gone.name}
    if was["gave_company"]:
        values |= {"company": gone.company, "company_by": "hand"}
    connection.execute(contact_table.update().where(contact_table.c.key == one.key).values(values))
    contacts.settle(connection, one.key, at)
    companies.tidy(connection, filter(None, (one.company, gone.company)))
    return one.key


def split(connection: sa.Connection, address: str, at: datetime) -> str | None:
    """The address (a mailbox key) is a contact of its own again: who it was when it was merged, with all that one's
    addresses, else a new one. Returns its key; None where it is no contact's, or a contact's first."""
    person = contacts.get(connection, address)
    own = {mailbox_key(each): each for each in person.addresses} if person else {}
    if person is None or address == person.key or address not in own:
        return None
    was = _merged(connection, person, address)
    theirs = {key: email for key, email in own.items() if key == address or (was and key in was["addresses"])}
    connection.execute(contact_addresses.delete().where(contact_addresses.c.contact == person.key))
    for key, email in own.items():
        if key not in theirs:
            contacts.add_address(connection, person.key, email)
    first = was["key"] if was and was["key"] in theirs else address
    others = tuple(email for key, email in theirs.items() if key != first)
    name, company = (was["name"], was["company"]) if was else ("", "")
    contacts.add(connection, Contact(first, theirs[first], name, company, others), at)
    contacts.settle(connection, person.key, at)
    return first


def _merged(connection: sa.Connection, person: Known, address: str) -> dict[str, Any] | None:
    """Who the address was; the contact it was merged with gives back what it had of that one."""
    rows = connection.execute(sa.select(merges).where(merges.c.contact == person.key).order_by(merges.c.id.desc()))
    for row in rows:
        was: dict[str, Any] = row.merged
        addresses = set(map(mailbox_key, was["addresses"]))
        if address not in addresses:
            continue
        connection.execute(merges.delete().where(merges.c.id == row.id))
        if was["gave_name"] and was["name"] == person.name:
            connection.execute(contact_table.update().where(contact_table.c.key == person.key).values(name=""))
        if was["gave_company"] and was["company"] == person.company_name:
            companies.leave(connection, person.key)
        return was | {"key": mailbox_key(was["email"]), "addresses": addresses}
    return None
