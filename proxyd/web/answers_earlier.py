"""What is told of earlier mail: since when a mailbox is read, and how going through what came before is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import Backfill
from proxyd.store import backfills, mailboxes
from proxyd.store.timeline import timestamp

Document = dict[str, Any]


def earlier_document(connection: sa.Connection, account: str) -> Document:
    """Since when the mailbox is read without a gap, whether that is because the positions were lost, and how going
    through what came before is, where it was asked for."""
    going = next((each for each in backfills.of_account(connection, account) if not each.dry_run), None)
    return {
        "read_from": _whole_seconds(mailboxes.fact(connection, account, "read_from")),
        "positions_lost": _whole_seconds(mailboxes.fact(connection, account, "positions_lost")),
        "backfill": None if going is None else backfill_document(going),
    }


def _whole_seconds(fact: str | None) -> str | None:
    return None if fact is None else timestamp(datetime.fromisoformat(fact))


def backfill_document(going: Backfill) -> Document:
    """How going through earlier mail is. `remaining` are seconds, None where nobody can tell yet."""
    rate = going.read / going.seconds if going.seconds > 0 else 0.0
    left = max(going.total - going.read, 0)
    return {
        "account": going.account,
        "state": going.state,
        "dry_run": going.dry_run,
        "since": going.since.isoformat(),
        "until": going.asked_at.date().isoformat(),
        "gone_through_to": going.next_day.isoformat(),
        "total": going.total,
        "read": going.read,
        "headers": going.headers,
        "found": {"incoming": going.incoming, "outgoing": going.outgoing},
        "logged": going.logged,
        "rate": round(rate, 1),
        "remaining": round(left / rate) if rate and going.state == "running" else None,
        "waits_for": going.waits_for or None,
        "asked_at": timestamp(going.asked_at),
        "ended_at": timestamp(going.ended_at) if going.ended_at else None,
    }
