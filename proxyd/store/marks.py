"""Messages that are in the log and are to show it in the mailbox: where they lie, until they do or it is too late."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.model import Found
from proxyd.store import prepared
from proxyd.store.tables import marks

_INSERT = prepared.insert(marks, "account", "folder", "uidvalidity", "uid", "at", where_missing=True)


@dataclass(frozen=True, slots=True)
class Mark:
    """Owed since `at`."""

    account: str
    folder: str
    uidvalidity: int
    uid: int
    at: datetime


def owe(connection: sa.Connection, account: str, found: Found, at: datetime) -> None:
    place = {"account": account, "folder": found.folder, "uidvalidity": found.uidvalidity, "uid": found.uid}
    _INSERT.run(connection, place | {"at": at})


def every(connection: sa.Connection) -> list[Mark]:
    return [Mark(**row._mapping) for row in connection.execute(sa.select(marks))]


def done(connection: sa.Connection, account: str, folder: str, uidvalidity: int, uids: Collection[int]) -> None:
    for uid in uids:
        connection.execute(
            marks.delete().where(
                marks.c.account == account,
                marks.c.folder == folder,
                marks.c.uidvalidity == uidvalidity,
                marks.c.uid == uid,
            )
        )


def drop_older(connection: sa.Connection, before: datetime) -> None:
    connection.execute(marks.delete().where(marks.c.at <= before))
