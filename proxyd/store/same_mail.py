"""One mail in the logs of several accounts: each account has its own record, and they share a key (`messages.mail`).

The same mail is: one Message-ID in common, the same author, and a date that differs by minutes at most (a client that
writes none gets one from us). A Message-ID alone is not enough: anybody can send a known one again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from proxyd.model import mailbox_key
from proxyd.store.prepared import Prepared
from proxyd.store.tables import message_ids, messages, participants

NEAR = timedelta(minutes=10)

_FACTS = (messages.c.id, messages.c.account, messages.c.mail, messages.c.heading, messages.c.date)
_ONE = Prepared(sa.select(*_FACTS).where(messages.c.id == sa.bindparam("of")))
_OTHERS = Prepared(
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
_RENAME = Prepared(messages.update().where(messages.c.mail == sa.bindparam("of")).values(mail=sa.bindparam("key")))
_THEIRS = Prepared(
    participants.update().where(participants.c.message == sa.bindparam("of")).values(mail=sa.bindparam("key"))
)
_SET_KEY = Prepared(messages.update().where(messages.c.id == sa.bindparam("of")).values(mail=sa.bindparam("key")))


def share(connection: sa.Connection, message: str) -> str:
    """Give the record `message` the key that its mail has in other accounts, its own id where it is in none; call it
    when a record is new, and when it got more Message-IDs. Returns the key."""
    row = _ONE.one(connection, {"of": message})
    if row is None:
        raise LookupError(f"no record {message}")
    others = _OTHERS.all(connection, {"of": message, "account": row.account})
    same = [each for each in others if _same(row, each)]
    keys = {each.mail for each in same} | {row.mail or row.id}
    key: str = min(keys)
    if len(keys) > 1 or row.mail != key:
        changed = [message] if key != message else []
        for old in keys - {key}:
            changed += records(connection, old)
            _RENAME.run(connection, {"of": old, "key": key})
        _SET_KEY.run(connection, {"of": message, "key": key})
        _THEIRS.run_each(connection, [{"of": each, "key": key} for each in changed])
    return key


def records(connection: sa.Connection, mail: str) -> list[str]:
    """The records, one for each account, that share this key; the oldest first."""
    return list(connection.scalars(sa.select(messages.c.id).where(messages.c.mail == mail).order_by(messages.c.id)))


def _same(one: Any, other: Any) -> bool:
    return _author(one) == _author(other) and abs(one.date - other.date) <= NEAR


def _author(row: Any) -> str:
    return mailbox_key(row.heading["from"]["address"])
