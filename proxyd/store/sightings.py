"""What a message that comes again is compared with, and the exchange of a record's octets for better ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import Attachment, Body, Direction
from proxyd.rules.threads import id_key
from proxyd.store.tables import message_ids, messages, steps


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record and who owns its octets; `body` is None where it was not read yet."""

    message: str
    content: str
    body: Body | None


def incoming(connection: sa.Connection, account: str, ids: Sequence[str], since: datetime) -> dict[str, Sighting]:
    """The records of messages that came in and were logged after `since`, by those of `ids` that are theirs."""
    wanted: dict[str, list[str]] = {}
    for id in ids:
        wanted.setdefault(id_key(id), []).append(id)
    rows = connection.execute(
        sa.select(message_ids.c.message_id, messages.c.id, messages.c.content)
        .join(messages, messages.c.id == message_ids.c.message)
        .where(
            message_ids.c.account == account,
            message_ids.c.message_id.in_(list(wanted)),
            messages.c.direction == Direction.INCOMING,
            messages.c.submission.is_(None),
            messages.c.at >= since,
        )
    )
    return {id: Sighting(row[1], row[2], None) for row in rows for id in wanted[row[0]]}


def one(connection: sa.Connection, message: str) -> Sighting | None:
    row = connection.execute(
        sa.select(messages.c.id, messages.c.content, messages.c.body).where(messages.c.id == message)
    ).one_or_none()
    return None if row is None else Sighting(row.id, row.content, _body(row.body))


def count(connection: sa.Connection, message: str, what: Sequence[str]) -> int:
    """How many of these steps the record has."""
    query = sa.select(sa.func.count()).select_from(steps).where(steps.c.owner == message, steps.c.what.in_(what))
    return connection.scalar(query) or 0


def replace(connection: sa.Connection, message: str, before: str, after: str) -> bool:
    """Give the record the octets of `after`, to be read anew; False where it has not those of `before` any more."""
    of = (messages.c.id == message, messages.c.content == before)
    return bool(connection.execute(messages.update().where(*of).values(content=after, body=sa.null())).rowcount)


def _body(document: dict[str, Any] | None) -> Body | None:
    if document is None:
        return None
    attachments = tuple(Attachment(**each) for each in document["attachments"])
    return Body(document["text"], document["new_text"], document["has_html"], attachments)
