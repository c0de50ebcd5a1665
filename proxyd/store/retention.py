"""What an account's `keep` lets go of: bodies and attachments that are older than it says; the entry in the log stays.

The header section is kept with the entry: answers are threaded by it. A message with an attachment is one piece, so
that with the attachment its octets and its HTML go; its text is kept until `bodies` is over.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from proxyd.model import Body, CopyState
from proxyd.store import search
from proxyd.store.tables import chunks, dropbox_copies, messages, sent_copies, spool

AT_ONCE = 200  # messages in one transaction: nobody's mail waits for it

ATTACHMENTS, BODIES = "attachments", "bodies"  # messages.expired


def expire(
    connection: sa.Connection, account: str, bodies_before: datetime | None, attachments_before: datetime | None
) -> int:
    """Let go of at most AT_ONCE messages; returns of how many. None = kept for ever."""
    gone = 0
    if bodies_before is not None:
        for id, content in _due(connection, account, bodies_before, messages.c.expired.is_distinct_from(BODIES)):
            _drop(connection, content)
            values = {"expired": BODIES, "body": asdict(Body())}
            connection.execute(messages.update().where(messages.c.id == id).values(values))
            search.put(connection, id, Body())
            gone += 1
    if attachments_before is not None and gone < AT_ONCE:
        attached = sa.func.json_array_length(messages.c.body, "$.attachments") > 0
        for id, content in _due(connection, account, attachments_before, messages.c.expired.is_(None), attached):
            _drop(connection, content)
            connection.execute(messages.update().where(messages.c.id == id).values(expired=ATTACHMENTS))
            gone += 1
    return gone


def _due(
    connection: sa.Connection, account: str, before: datetime, *where: sa.ColumnElement[bool]
) -> list[tuple[str, str]]:
    """(record, owner of its octets) of messages whose bodies were read, that do not wait in the spool, and whose copies
    are not owed any more."""
    owed = sa.select(sent_copies.c.id).where(
        sent_copies.c.state == CopyState.WAITING,
        sent_copies.c.id.in_([messages.c.id, messages.c.submission]),
    )
    waiting = sa.select(dropbox_copies.c.id).where(
        dropbox_copies.c.state == "waiting", dropbox_copies.c.id == messages.c.submission
    )
    unsent = sa.select(spool.c.id).where(spool.c.id.in_([messages.c.id, messages.c.submission]))
    rows = connection.execute(
        sa.select(messages.c.id, messages.c.content)
        .where(
            messages.c.account == account,
            messages.c.date < before,
            messages.c.body.is_not(None),
            ~sa.exists(owed),
            ~sa.exists(waiting),
            ~sa.exists(unsent),
            *where,
        )
        .order_by(messages.c.date)
        .limit(AT_ONCE)
    )
    return [(row.id, row.content) for row in rows]


def _drop(connection: sa.Connection, content: str) -> None:
    """All but the header section."""
    connection.execute(chunks.delete().where(chunks.c.owner == content, chunks.c.seq > 0))
