"""The page's sessions: of each the hash of its cookie, never the cookie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.store.tables import sessions


@dataclass(frozen=True, slots=True)
class Held:
    """`person` is an account's address, None = the owner."""

    person: str | None
    since: datetime
    used: datetime


def every(connection: sa.Connection) -> dict[str, Held]:
    """By the hash of its cookie, the oldest first."""
    rows = connection.execute(sa.select(sessions).order_by(sessions.c.since))
    return {row.digest: Held(row.person, row.since, row.used) for row in rows}


def put(connection: sa.Connection, digest: str, held: Held) -> None:
    drop(connection, digest)
    values = {"digest": digest, "person": held.person, "since": held.since, "used": held.used}
    connection.execute(sessions.insert(), values)


def drop(connection: sa.Connection, digest: str) -> None:
    connection.execute(sessions.delete().where(sessions.c.digest == digest))
