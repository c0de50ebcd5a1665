"""What is remembered of an account's mailbox: how far each folder was read, and small facts found out about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import MailboxPosition
from proxyd.store.prepared import Prepared
from proxyd.store.tables import facts, positions

_FACT = Prepared(
    sa.select(facts.c.value).where(facts.c.account == sa.bindparam("of"), facts.c.key == sa.bindparam("is"))
)


def position(connection: sa.Connection, account: str, folder: str) -> MailboxPosition | None:
    row = connection.execute(
        sa.select(positions).where(positions.c.account == account, positions.c.folder == folder)
    ).one_or_none()
    return None if row is None else _position(row)


def _position(row: Any) -> MailboxPosition:
    anchors = tuple((uid, digest) for uid, digest in row.anchors or ())
    return MailboxPosition(row.uidvalidity, row.uidnext, row.seen_at, anchors, row.read_at)


def last_look(connection: sa.Connection, account: str) -> datetime | None:
    """When any of the account's folders was last looked at; None = none was, or nobody knows any more."""
    at: datetime | None = connection.scalar(
        sa.select(sa.func.max(positions.c.seen_at)).where(positions.c.account == account)
    )
    return at


def positions_of(connection: sa.Connection, account: str) -> dict[str, MailboxPosition]:
    """By folder."""
    rows = connection.execute(sa.select(positions).where(positions.c.account == account))
    return {row.folder: MailboxPosition(row.uidvalidity, row.uidnext, row.seen_at, read_at=row.read_at) for row in rows}


def set_position(connection: sa.Connection, account: str, folder: str, position: MailboxPosition) -> None:
    values = {
        "uidvalidity": position.uidvalidity,
        "uidnext": position.uidnext,
        "seen_at": position.seen_at,
        "anchors": [list(each) for each in position.anchors],
        "read_at": position.read_at,
    }
    where = (positions.c.account == account, positions.c.folder == folder)
    if not connection.execute(positions.update().where(*where).values(values)).rowcount:
        connection.execute(positions.insert(), {"account": account, "folder": folder} | values)


def fact(connection: sa.Connection, account: str, key: str) -> str | None:
    value: str | None = _FACT.value(connection, {"of": account, "is": key})
    return value


def set_fact(connection: sa.Connection, account: str, key: str, value: str) -> None:
    where = (facts.c.account == account, facts.c.key == key)
    if not connection.execute(facts.update().where(*where).values(value=value)).rowcount:
        connection.execute(facts.insert(), {"account": account, "key": key, "value": value})


def every_fact(connection: sa.Connection) -> dict[tuple[str, str], str]:
    """By account and key."""
    return {(row.account, row.key): row.value for row in connection.execute(sa.select(facts))}
