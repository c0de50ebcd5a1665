"""The Sent copies that are due, present or given up; one row for each submission that was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState, FiledBy, Found
from proxyd.store.tables import sent_copies


@dataclass(frozen=True, slots=True)
class SentCopy:
    """A row of `sent_copies`. `appended_uid` is ours; `uid` any copy that is there."""

    id: str
    account: str
    state: CopyState
    accepted_at: datetime
    due: datetime
    attempts: int
    appending_since: datetime | None
    folder: str
    uidvalidity: int
    uid: int | None
    appended_uid: int | None
    by: FiledBy | None
    copies: int


def _sent_copy(row: sa.Row[Any]) -> SentCopy:
    return SentCopy(
        id=row.id,
        account=row.account,
        state=CopyState(row.state),
        accepted_at=row.accepted_at,
        due=row.due,
        attempts=row.attempts,
        appending_since=row.appending_since,
        folder=row.folder or "",
        uidvalidity=row.uidvalidity or 0,
        uid=row.uid,
        appended_uid=row.appended_uid,
        by=None if row.by is None else FiledBy(row.by),
        copies=row.copies,
    )


def insert(
    connection: sa.Connection, id: str, account: str, state: CopyState, accepted_at: datetime, due: datetime
) -> None:
    connection.execute(
        sent_copies.insert(),
        {"id": id, "account": account, "state": state, "accepted_at": accepted_at, "due": due},
    )


def waiting(connection: sa.Connection, account: str) -> list[SentCopy]:
    rows = connection.execute(
        sa.select(sent_copies)
        .where(sent_copies.c.account == account, sent_copies.c.state == CopyState.WAITING)
        .order_by(sent_copies.c.due)
    )
    return [_sent_copy(row) for row in rows]


def get(connection: sa.Connection, ids: Sequence[str]) -> dict[str, SentCopy]:
    rows = connection.execute(sa.select(sent_copies).where(sent_copies.c.id.in_(ids)))
    return {row.id: _sent_copy(row) for row in rows}


def present(connection: sa.Connection, id: str, found: Found, by: FiledBy, copies: int) -> None:
    """A copy is there. Ours is remembered by its UID, for it is the only one we may ever remove."""
    values: dict[str, Any] = {
        "state": CopyState.PRESENT,
        "by": by,
        "copies": copies,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "appended_uid": found.uid if by is FiledBy.PROXYD else None,
        "appending_since": None,
        "error": None,
    }
    connection.execute(sent_copies.update().where(sent_copies.c.id == id).values(values))


def appending(connection: sa.Connection, id: str, folder: str, at: datetime) -> None:
    connection.execute(
        sent_copies.update()
        .where(sent_copies.c.id == id)
        .values(appending_since=at, folder=folder, attempts=sent_copies.c.attempts + 1)
    )


def postponed(connection: sa.Connection, id: str, error: str, due: datetime, failed: bool) -> None:
    connection.execute(
        sent_copies.update()
        .where(sent_copies.c.id == id)
        .values(
            state=CopyState.FAILED if failed else CopyState.WAITING,
            error=error,
            due=due,
            attempts=sent_copies.c.attempts + 1,
        )
    )


def waiting_by_account(connection: sa.Connection) -> dict[str, int]:
    rows = connection.execute(
        sa.select(sent_copies.c.account, sa.func.count())
        .where(sent_copies.c.state == CopyState.WAITING)
        .group_by(sent_copies.c.account)
    )
    return {row[0]: row[1] for row in rows}  # dict(rows) would ask the result for keys()
