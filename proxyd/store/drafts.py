"""What somebody is writing on the page and has not sent, with its files: theirs alone, and forgotten when nobody comes
back to it. A draft's files go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from ulid import ULID

from proxyd.store.tables import draft_files, drafts


@dataclass(frozen=True, slots=True)
class Attached:
    """A file of a draft; `size` in octets."""

    id: str
    name: str
    type: str
    size: int


def get(connection: sa.Connection, person: str, about: str) -> dict[str, Any] | None:
    """`person` is an account's address, "" = the owner; `about` names what is answered, or who is written to."""
    query = sa.select(drafts.c.draft).where(drafts.c.person == person, drafts.c.about == about)
    found: dict[str, Any] | None = connection.scalar(query)
    return found


def put(connection: sa.Connection, person: str, about: str, draft: dict[str, Any], at: datetime) -> None:
    values = {"draft": draft, "at": at}
    of = (drafts.c.person == person, drafts.c.about == about)
    if not connection.execute(drafts.update().where(*of).values(values)).rowcount:
        connection.execute(drafts.insert(), {"person": person, "about": about} | values)


def drop(connection: sa.Connection, person: str, about: str) -> None:
    connection.execute(drafts.delete().where(drafts.c.person == person, drafts.c.about == about))


def forget(connection: sa.Connection, before: datetime) -> None:
    """Those that were last touched before then."""
    connection.execute(drafts.delete().where(drafts.c.at < before))


# --- files -----------------------------------------------------------------------------------------------------


def attach(connection: sa.Connection, person: str, about: str, name: str, type: str, octets: bytes) -> None:
    """To a draft that is there."""
    row = {"id": str(ULID()), "person": person, "about": about, "name": name, "type": type, "octets": octets}
    connection.execute(draft_files.insert(), row)


def attached(connection: sa.Connection, person: str, about: str) -> list[Attached]:
    """In the order in which they were attached."""
    size = sa.func.length(draft_files.c.octets).label("size")
    query = sa.select(draft_files.c.id, draft_files.c.name, draft_files.c.type, size).where(*_of(person, about))
    return [Attached(*row) for row in connection.execute(query.order_by(draft_files.c.id))]


def octets(connection: sa.Connection, person: str, about: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Of those files that are there still."""
    query = sa.select(draft_files.c.id, draft_files.c.octets)
    rows = connection.execute(query.where(*_of(person, about), draft_files.c.id.in_(ids)))
    return {row.id: row.octets for row in rows}


def detach(connection: sa.Connection, person: str, about: str, id: str) -> None:
    connection.execute(draft_files.delete().where(*_of(person, about), draft_files.c.id == id))


def _of(person: str, about: str) -> tuple[sa.ColumnElement[bool], ...]:
    return draft_files.c.person == person, draft_files.c.about == about
