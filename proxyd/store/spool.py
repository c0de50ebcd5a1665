"""What waits here for the provider, and what could not be delivered: one row each, as long as it is not settled.

The row is made in the transaction by which proxyd takes a mail over, before the client hears 250, and goes in the one
that records that the provider has it. While it is there, nothing lets go of the mail's octets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from proxyd.store.prepared import Prepared
from proxyd.store.tables import spool


class SpoolState(StrEnum):
    """`waiting`: it is tried. `unknown`: it may have been sent. `failed`: given up. The last two wait for a person."""

    WAITING = "waiting"
    UNKNOWN = "unknown"
    FAILED = "failed"


class ReportState(StrEnum):
    OWED = "owed"
    MADE = "made"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row. `trying_since`: of a try whose outcome is not known."""

    id: str
    account: str
    state: SpoolState
    since: datetime
    due: datetime
    attempts: int
    trying_since: datetime | None
    error: str
    reply_code: int | None
    report: ReportState | None


_HOLDS = Prepared(sa.select(spool.c.id).where(spool.c.id == sa.bindparam("of")))
_TAKE_OUT = Prepared(spool.delete().where(spool.c.id == sa.bindparam("of")))


def _waiting(row: Any) -> Waiting:
    return Waiting(
        id=row.id,
        account=row.account,
        state=SpoolState(row.state),
        since=row.since,
        due=row.due,
        attempts=row.attempts,
        trying_since=row.trying_since,
        error=row.error,
        reply_code=row.reply_code,
        report=None if row.report is None else ReportState(row.report),
    )


def holds(connection: sa.Connection, id: str) -> bool:
    return _HOLDS.value(connection, {"of": id}) is not None


def get(connection: sa.Connection, id: str) -> Waiting | None:
    row = connection.execute(sa.select(spool).where(spool.c.id == id)).one_or_none()
    return None if row is None else _waiting(row)


def every(
    connection: sa.Connection, states: Iterable[SpoolState] = tuple(SpoolState), account: str | None = None
) -> list[Waiting]:
    """In the order in which they came."""
    query = sa.select(spool).where(spool.c.state.in_(list(states)))
    if account is not None:
        query = query.where(spool.c.account == account)
    return [_waiting(row) for row in connection.execute(query.order_by(spool.c.id))]


def reports_owed(connection: sa.Connection) -> list[Waiting]:
    query = sa.select(spool).where(spool.c.report == ReportState.OWED).order_by(spool.c.id)
    return [_waiting(row) for row in connection.execute(query)]


def wait(
    connection: sa.Connection, id: str, account: str, error: str, due: datetime, at: datetime, *, trying: bool
) -> None:
    """It waits, or waits again after a try."""
    values = {"state": SpoolState.WAITING, "error": error, "due": due, "trying_since": at if trying else None}
    again = spool.update().where(spool.c.id == id).values(**values, attempts=spool.c.attempts + 1)
    if not connection.execute(again).rowcount:
        connection.execute(spool.insert().values(id=id, account=account, since=at, attempts=0, **values))


def trying(connection: sa.Connection, id: str, at: datetime) -> None:
    connection.execute(spool.update().where(spool.c.id == id).values(trying_since=at))


def unknown(connection: sa.Connection, id: str, error: str, at: datetime) -> None:
    """Its outcome is not known; the try is remembered, for what it may have left lies behind its beginning."""
    row = get(connection, id)
    since = at if row is None or row.trying_since is None else row.trying_since
    values = {"state": SpoolState.UNKNOWN, "error": error, "trying_since": since}
    connection.execute(spool.update().where(spool.c.id == id).values(values))


def failed(connection: sa.Connection, id: str, error: str, code: int | None) -> None:
    values = {"state": SpoolState.FAILED, "error": error, "reply_code": code, "trying_since": None}
    connection.execute(spool.update().where(spool.c.id == id).values(**values, report=ReportState.OWED))


def owe_report(connection: sa.Connection, id: str) -> None:
    connection.execute(spool.update().where(spool.c.id == id, spool.c.report.is_(None)).values(report=ReportState.OWED))


def reported(connection: sa.Connection, id: str) -> None:
    connection.execute(spool.update().where(spool.c.id == id).values(report=ReportState.MADE))


def afresh(connection: sa.Connection, id: str, at: datetime) -> None:
    """A person says so: as if it had just come."""
    values = {"state": SpoolState.WAITING, "since": at, "due": at, "attempts": 0, "trying_since": None}
    connection.execute(spool.update().where(spool.c.id == id).values(**values, report=None, reply_code=None))


def take_out(connection: sa.Connection, id: str) -> None:
    _TAKE_OUT.run(connection, {"of": id})
