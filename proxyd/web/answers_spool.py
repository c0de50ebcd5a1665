"""What waits here for the provider, and what could not be delivered: listed, written out, decided on.

It is the mail of one person, logged or not: nobody sees it but they and the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import sqlalchemy as sa

from proxyd.formats.message import heading
from proxyd.journal import spooling
from proxyd.store import content, spool, submissions
from proxyd.store.database import Database
from proxyd.store.spool import SpoolState, Waiting
from proxyd.store.timeline import bracketed, timestamp
from proxyd.web.answers import Document, Unacceptable, octets_of
from proxyd.web.viewer import OWNER, Viewer


def listed(database: Database, account: str | None = None, viewer: Viewer = OWNER) -> Document:
    """`{"mails"}`, in the order in which they came."""
    with database.reading() as connection:
        return {"mails": [_document(connection, each) for each in _seen(connection, account, viewer)]}


def _seen(connection: sa.Connection, account: str | None, viewer: Viewer) -> list[Waiting]:
    wanted = None if account is None else account.strip().lower()
    return [
        each
        for each in spool.every(connection)
        if viewer.person in (None, each.account) and wanted in (None, each.account)
    ]


def _document(connection: sa.Connection, row: Waiting) -> Document:
    submitted = submissions.get(connection, row.id)
    said = heading(content.chunk(connection, row.id, 0) or b"")
    people = () if submitted is None else submitted.envelope.recipients
    message_id = submitted.message_id if submitted is not None else said.message_id
    return {
        "id": row.id,
        "message_id": bracketed(message_id) if message_id else None,
        "account": row.account,
        "state": row.state,
        "since": timestamp(row.since),
        "due": timestamp(row.due) if row.state is SpoolState.WAITING else None,
        "attempts": row.attempts,
        "error": row.error,
        "recipients": [each.address for each in people if not each.optional],
        "subject": said.subject,
        "size": content.size(connection, row.id),
    }


def written(database: Database, said: str, viewer: Viewer = OWNER) -> Iterator[bytes] | None:
    """The octets of one, as it would be filed; None where there is none that `said` means."""
    with database.reading() as connection:
        found = _named(_seen(connection, None, viewer), said)
    return octets_of(database, found[0].id) if len(found) == 1 else None


def retry(
    database: Database, ids: list[str] | None, account: str | None, now: datetime, viewer: Viewer = OWNER
) -> Document:
    """They are tried again. `ids` None: all but those that may have been sent. Raises Unacceptable for one that is none
    of them."""
    return {"mails": _decide(database, ids, account, viewer, lambda c, row: spooling.again(c, row, now))}


def drop(database: Database, ids: list[str], now: datetime, viewer: Viewer = OWNER) -> Document:
    """They are never sent, and not kept. Raises Unacceptable for one that is none of them."""
    return {"mails": _decide(database, ids, None, viewer, lambda c, row: spooling.drop(c, row, now))}


def _decide(
    database: Database,
    ids: list[str] | None,
    account: str | None,
    viewer: Viewer,
    job: Callable[[sa.Connection, Waiting], None],
) -> int:
    with database.writing() as connection:
        rows = _seen(connection, account, viewer)
        sure = [each for each in rows if each.state is not SpoolState.UNKNOWN]
        chosen = sure if ids is None else [_one(rows, said) for said in ids]
        free = [each for each in chosen if each.state is not SpoolState.WAITING or each.trying_since is None]
        if ids is not None and len(free) < len(chosen):
            raise Unacceptable("the mail is being handed over at this moment; see again in a minute")
        for each in free:
            job(connection, each)
    return len(free)


def _one(rows: list[Waiting], said: str) -> Waiting:
    found = _named(rows, said)
    if len(found) != 1:
        kind = "no mail" if not found else "more than one mail"
        raise Unacceptable(f"{kind} in the spool has the id {said!r}; accepted: an id of the list, or its end")
    return found[0]


def _named(rows: list[Waiting], said: str) -> list[Waiting]:
    end = said.strip().upper()
    return [each for each in rows if end and each.id.endswith(end)]
