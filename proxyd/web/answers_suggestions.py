"""Suggestions, listed and decided on. Who asks sees those of their own mailbox alone: that mail is not in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from proxyd.store import suggestions
from proxyd.store.database import Database
from proxyd.store.suggestions import Suggestion
from proxyd.store.timeline import bracketed, timestamp
from proxyd.web.viewer import OWNER, Viewer

Document = dict[str, Any]


def listed(database: Database, account: str | None = None, viewer: Viewer = OWNER) -> Document:
    """`{"suggestions": […]}`, the newest first."""
    accounts = None if viewer.person is None else [viewer.person]
    if account is not None:
        accounts = [each for each in (accounts or [account.lower()]) if each == account.lower()]
    with database.reading() as connection:
        rows = suggestions.waiting(connection, accounts)
    return {"suggestions": [_document(each) for each in rows]}


def accept(database: Database, id: str, viewer: Viewer = OWNER) -> Document | None:
    """The daemon fetches it and logs it into its conversation; None where there is none with this id to decide on."""
    with database.writing() as connection:
        row = _own(suggestions.get(connection, id), viewer)
        if row is None:
            return None
        suggestions.accept(connection, id)
    return _document(row) | {"state": suggestions.ACCEPTED}


def refuse(database: Database, id: str, now: datetime, viewer: Viewer = OWNER) -> Document | None:
    """Nothing of it is ever fetched, and what was read of it is forgotten."""
    with database.writing() as connection:
        row = _own(suggestions.get(connection, id), viewer)
        if row is None:
            return None
        suggestions.refuse(connection, row, now)
    return _document(row) | {"state": "refused"}


def _own(row: Suggestion | None, viewer: Viewer) -> Suggestion | None:
    if row is None or row.state != suggestions.OPEN or viewer.person not in (None, row.account):
        return None
    return row


def _document(row: Suggestion) -> Document:
    return {
        "id": row.id,
        "account": row.account,
        "state": row.state,
        "message_id": bracketed(row.message_id) if row.message_id else None,
        "folder": row.folder,
        "from": row.author,
        "subject": row.subject,
        "date": timestamp(row.date),
        "thread": row.thread,
        "message": row.message,
        "because": row.because,
    }
