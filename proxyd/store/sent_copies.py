"""The Sent copies that are due, present or given up; one row for each submission that was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState, FiledBy, Found
from proxyd.store import prepared
from proxyd.store.tables import sent_copies, spool

_INSERT = prepared.insert(sent_copies, "id", "account", "state", "accepted_at", "due")
_NOT_SENT_YET = sent_copies.c.id.in_(sa.select(spool.c.id))  # nothing is due of these


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
    promised: frozenset[str] | None = None  # flags of an upload that was answered in its stead; None: there was none


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
        promised=None if row.promised_flags is None else frozenset(row.promised_flags.split()),
    )


def insert(
    connection: sa.Connection, id: str, account: str, state: CopyState, accepted_at: datetime, due: datetime
) -> None:
    _INSERT.run(connection, {"id": id, "account": account, "state": state, "accepted_at": accepted_at, "due": due})


def accepted(connection: sa.Connection, id: str, at: datetime, due: datetime) -> SentCopy | None:
    """The provider took it at last; returns what is known of its copy, None where there is no row yet."""
    values = {"accepted_at": at, "due": due}
    connection.execute(sent_copies.update().where(sent_copies.c.id == id).values(values))
    return get(connection, [id]).get(id)


def not_wanted(connection: sa.Connection, id: str) -> None:
    """It will not be sent. A copy that a client has put there all the same is the client's."""
    still = (sent_copies.c.id == id, sent_copies.c.state == CopyState.WAITING)
    values = {"state": CopyState.NOT_WANTED, "promised_flags": None, "error": None}
    connection.execute(sent_copies.update().where(*still).values(values))


def wanted(connection: sa.Connection, id: str) -> None:
    """It is going to be sent after all."""
    not_now = (sent_copies.c.id == id, sent_copies.c.state == CopyState.NOT_WANTED)
    connection.execute(sent_copies.update().where(*not_now).values(state=CopyState.WAITING))


def waiting(connection: sa.Connection, account: str) -> list[SentCopy]:
    rows = connection.execute(
        sa.select(sent_copies)
        .where(sent_copies.c.account == account, sent_copies.c.state == CopyState.WAITING, ~_NOT_SENT_YET)
        .order_by(sent_copies.c.due)
    )
    return [_sent_copy(row) for row in rows]


def promised(connection: sa.Connection, account: str) -> list[SentCopy]:
    """Those that are there and do not carry yet what a client was promised of them."""
    rows = connection.execute(
        sa.select(sent_copies).where(
            sent_copies.c.account == account,
            sent_copies.c.state == CopyState.PRESENT,
            sent_copies.c.promised_flags.is_not(None),
        )
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


def promise(connection: sa.Connection, id: str, flags: frozenset[str]) -> None:
    """A client's upload of it is answered; with what it promised before, where it came more than once."""
    before = get(connection, [id])[id].promised or frozenset()
    words = " ".join(sorted(before | flags))
    connection.execute(sent_copies.update().where(sent_copies.c.id == id).values(promised_flags=words))


def promise_kept(connection: sa.Connection, id: str, flags: frozenset[str]) -> None:
    """It carries `flags`; where more was promised meanwhile, that is still to come."""
    kept = (sent_copies.c.id == id, sent_copies.c.promised_flags == " ".join(sorted(flags)))
    connection.execute(sent_copies.update().where(*kept).values(promised_flags=None))


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
        .where(sent_copies.c.state == CopyState.WAITING, ~_NOT_SENT_YET)
        .group_by(sent_copies.c.account)
    )
    return {row[0]: row[1] for row in rows}  # dict(rows) would ask the result for keys()
