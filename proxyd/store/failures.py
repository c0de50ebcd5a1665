"""What was given up: Sent copies and dropbox copies that failed for good, counted by account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from proxyd.store.tables import dropbox_copies, sent_copies


@dataclass(frozen=True, slots=True)
class Failures:
    """`error` is what the newest of them came to; `id` is its submission."""

    what: str  # sent_copies | dropbox
    account: str
    count: int
    id: str
    error: str


def failures(connection: sa.Connection, since: str) -> list[Failures]:
    """Those whose id, a ULID, is not older than `since`."""
    kinds: dict[str, sa.Select[Any]] = {
        "sent_copies": _failed(sent_copies, since),
        "dropbox": _failed(dropbox_copies, since),
    }
    found: list[Failures] = []
    for what, select in kinds.items():
        by_account: dict[str, Failures] = {}
        for account, id, error in connection.execute(select):
            count = by_account[account].count if account in by_account else 0
            by_account[account] = Failures(what, account, count + 1, id, error or "")
        found += by_account.values()
    return found


def _failed(table: sa.Table, since: str) -> sa.Select[Any]:
    return (
        sa.select(table.c.account, table.c.id, table.c.error)
        .where(table.c.state == "failed", table.c.id >= since)
        .order_by(table.c.id)
    )
