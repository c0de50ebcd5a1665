"""What somebody is writing on the page and has not sent: theirs alone, and forgotten when nobody comes back to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.store.tables import drafts


def get(connection: sa.Connection, person: str, about: str) -> dict[str, Any] | None:
    """`person` is an account's address, "" = the owner; `about` names what is answered, or who is written to."""
    query = sa.select(drafts.c.draft).where(drafts.c.person == person, drafts.c.about == about)
    found: dict[str, Any] | None = connection.scalar(query)
    return found


def put(connection: sa.Connection, person: str, about: str, draft: dict[str, Any], at: datetime) -> None:
    drop(connection, person, about)
    connection.execute(drafts.insert(), {"person": person, "about": about, "draft": draft, "at": at})


def drop(connection: sa.Connection, person: str, about: str) -> None:
    connection.execute(drafts.delete().where(drafts.c.person == person, drafts.c.about == about))


def forget(connection: sa.Connection, before: datetime) -> None:
    """Those that were last touched before then."""
    connection.execute(drafts.delete().where(drafts.c.at < before))
