"""The HTTP API's tokens: of each its keyed hash, never the token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.store.tables import tokens


@dataclass(frozen=True, slots=True)
class Token:
    """`person` is an account's address, None = it sees everything."""

    name: str
    digest: str
    person: str | None
    may: str
    at: datetime


def every(connection: sa.Connection) -> list[Token]:
    rows = connection.execute(sa.select(tokens).order_by(tokens.c.name))
    return [Token(row.name, row.digest, row.person, row.may, row.at) for row in rows]


def add(connection: sa.Connection, token: Token) -> bool:
    """False where the name is taken: nothing is written then."""
    if connection.scalar(sa.select(tokens.c.name).where(tokens.c.name == token.name)) is not None:
        return False
    values = {
        "name": token.name,
        "digest": token.digest,
        "person": token.person,
        "may": token.may,
        "at": token.at,
    }
    connection.execute(tokens.insert(), values)
    return True


def revoke(connection: sa.Connection, name: str) -> bool:
    """False where there is none of this name."""
    return bool(connection.execute(tokens.delete().where(tokens.c.name == name)).rowcount)
