"""One mail in the logs of several accounts: each account has its own record, and they share a key (`messages.mail`).

The same mail is: one Message-ID in common, the same author, and a date that differs by minutes at most (a client that
writes none gets one from us). A Message-ID alone is not enough: anybody can send a known one again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from proxyd.model import mailbox_key
from proxyd.store.tables import message_ids, messages

NEAR = timedelta(minutes=10)

_FACTS = (messages.c.id, messages.c.account, messages.c.mail, messages.c.heading, messages.c.date)
_ONE = sa.select(*_FACTS).where(messages.c.id == sa.bindparam("of"))
_OTHERS = (
    sa.select(*_FACTS)
    .join(message_ids, message_ids.c.message == messages.c.id)
    .where(
        message_ids.c.message_id.in_(
            sa.select(message_ids.c.message_id).where(message_ids.c.message == sa.bindparam("of"))
        ),
        messages.c.account != sa.bindparam("account"),
    )
    .distinct()
)


def share(connection: sa.Connection, message: str) -> str:
    """Give the record `message` the key that its mail has in other accounts, its own id where it is in none; call it
    when a record is new, and when it got more Message-IDs. Returns the key."""
    row = connection.execute(_ONE, {"of": message}).one()
    same = [each for each in connection.execute(_OTHERS, {"of": message, "account": row.account}) if _same(row, each)]
    keys = {each.mail for each in same} | {row.mail or row.id}
    key: str = min(keys)
    if len(keys) > 1 or row.mail != key:
        connection.execute(
            messages.update().where(sa.or_(messages.c.mail.in_(keys - {""}), messages.c.id == message)).values(mail=key)
        )
    return key


def records(connection: sa.Connection, mail: str) -> list[str]:
    """The records, one for each account, that share this key; the oldest first."""
    return list(connection.scalars(sa.select(messages.c.id).where(messages.c.mail == mail).order_by(messages.c.id)))


def _same(one: Any, other: Any) -> bool:
    return _author(one) == _author(other) and abs(one.date - other.date) <= NEAR


def _author(row: Any) -> str:
    return mailbox_key(row.heading["from"]["address"])
