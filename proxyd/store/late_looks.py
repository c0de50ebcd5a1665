"""Looks that are due: for answers that were read before the message that they answer, or a name of it, was on record.

A row is written in the transaction that makes the message known, and goes when the look has come to its end. Of what is
looked for there is nothing here but the message that it would answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.store import prepared, timeline
from proxyd.store.tables import late_looks

_INSERT = prepared.insert(late_looks, "account", "message", "since")


@dataclass(frozen=True, slots=True)
class LateLook:
    """For answers to the logged `message`, which `ids` name; what came before `since` is none."""

    id: int
    message: str
    since: datetime
    ids: tuple[str, ...]


def owe(connection: sa.Connection, account: str, message: str, since: datetime) -> None:
    _INSERT.run(connection, {"account": account, "message": message, "since": since})


def due(connection: sa.Connection, account: str, most: int) -> list[LateLook]:
    """The oldest first."""
    query = sa.select(late_looks).where(late_looks.c.account == account).order_by(late_looks.c.id).limit(most)
    rows = connection.execute(query).all()
    return [LateLook(row.id, row.message, row.since, timeline.ids_of(connection, row.message)) for row in rows]


def done(connection: sa.Connection, looks: Iterable[LateLook]) -> None:
    for each in looks:
        of = (late_looks.c.id == each.id, late_looks.c.message == each.message)
        connection.execute(late_looks.delete().where(*of))
