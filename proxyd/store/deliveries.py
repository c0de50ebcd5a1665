"""What became of a sent message for each of its recipients, as reports about it said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import mailbox_key
from proxyd.reported import RecipientStatus
from proxyd.store.tables import deliveries


def note(
    connection: sa.Connection, message: str, statuses: Iterable[RecipientStatus], report: str, at: datetime
) -> list[RecipientStatus]:
    """The newest word on each recipient counts, but for a late "delayed" after an end; returns what was news."""
    before = {
        row.key: row.state for row in connection.execute(sa.select(deliveries).where(deliveries.c.message == message))
    }
    news = []
    for each in statuses:
        key = mailbox_key(each.address)
        if before.get(key) == each.action or (key in before and each.action == "delayed"):
            continue
        said = {"address": each.address, "state": each.action, "status": each.status, "detail": each.detail}
        values: dict[str, Any] = said | {"at": at, "report": report}
        if key in before:
            where = (deliveries.c.message == message, deliveries.c.key == key)
            connection.execute(deliveries.update().where(*where).values(values))
        else:
            connection.execute(deliveries.insert(), {"message": message, "key": key} | values)
        before[key] = each.action
        news.append(each)
    return news


def of_messages(connection: sa.Connection, messages: Sequence[str]) -> dict[str, list[Any]]:
    """The rows of each of these messages, by message."""
    found: dict[str, list[Any]] = {}
    for row in connection.execute(
        sa.select(deliveries).where(deliveries.c.message.in_(messages)).order_by(deliveries.c.key)
    ):
        found.setdefault(row.message, []).append(row)
    return found
