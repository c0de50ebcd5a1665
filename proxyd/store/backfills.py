"""How far going through earlier mail has come: one row for each account, and one for its trial run."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from proxyd.model import Backfill
from proxyd.store.tables import backfills

UNFINISHED = ("asked", "running")


def _row(row: Any) -> Backfill:
    return Backfill(**{each.name: getattr(row, each.name) for each in fields(Backfill)})


def get(connection: sa.Connection, account: str, dry_run: bool) -> Backfill | None:
    where = (backfills.c.account == account, backfills.c.dry_run == dry_run)
    row = connection.execute(sa.select(backfills).where(*where)).one_or_none()
    return None if row is None else _row(row)


def unfinished(connection: sa.Connection, account: str) -> Backfill | None:
    """The account's next piece of work; a trial run goes first, for somebody waits for its figures."""
    query = sa.select(backfills).where(backfills.c.account == account, backfills.c.state.in_(UNFINISHED))
    row = connection.execute(query.order_by(backfills.c.dry_run.desc()).limit(1)).one_or_none()
    return None if row is None else _row(row)


def put(connection: sa.Connection, backfill: Backfill) -> None:
    connection.execute(
        backfills.delete().where(backfills.c.account == backfill.account, backfills.c.dry_run == backfill.dry_run)
    )
    connection.execute(backfills.insert(), asdict(backfill))


def progress(connection: sa.Connection, backfill: Backfill) -> bool:
    """Write how far it is. False: it was stopped, or another was asked for, and nothing is written."""
    done = connection.execute(
        backfills.update()
        .where(
            backfills.c.account == backfill.account,
            backfills.c.dry_run == backfill.dry_run,
            backfills.c.asked_at == backfill.asked_at,
            backfills.c.state.in_(UNFINISHED),
        )
        .values(asdict(backfill))
    )
    return bool(done.rowcount)


def of_account(connection: sa.Connection, account: str) -> list[Backfill]:
    return [_row(row) for row in connection.execute(sa.select(backfills).where(backfills.c.account == account))]
