"""The full text of what is logged, as a document."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from proxyd.formats.search_query import Term, excerpt, read_query
from proxyd.model import mailbox_key
from proxyd.store import contacts, history, search
from proxyd.store.database import Database
from proxyd.web.answers import Document, Unacceptable, complete, told
from proxyd.web.viewer import OWNER, Viewer


def found(database: Database, q: str, limit: int, viewer: Viewer = OWNER, cursor: str | None = None) -> Document:
    """`{"messages": […], "next"}`, newest first: the logged messages that `q` asks for, each with an `excerpt`.

    Raises Unacceptable for a cursor that is none of ours.
    """
    if cursor is not None and not cursor.removeprefix("-").isdecimal():
        raise Unacceptable("the cursor is none that was handed out; accepted: `next` of the page before")
    query = read_query(q)
    with database.reading() as connection:
        query = replace(query, terms=tuple(_by_any_address(connection, each) for each in query.terms))
        behind = max(-(2**62), min(int(cursor[:20]), 2**62)) if cursor else None
        hits = search.find(connection, query, limit + 1, accounts=viewer.accounts, behind=behind)
        page = hits[:limit]
        documents = told(connection, [each.message for each in page], viewer)
        unread = history.unread(connection, [each.message for each in page])
    messages = [complete(database, each, unread) for each in documents]
    return {
        "messages": [each | {"excerpt": excerpt(each["text"], query.terms)} for each in messages],
        "next": str(page[-1].number) if page and len(hits) > len(page) else None,
    }


def _by_any_address(connection: sa.Connection, term: Term) -> Term:
    """Who asks for a contact by one address means the person: whichever of them the mail went to."""
    key = mailbox_key(term.text)
    if "@" not in key or term.column not in ("", "sender", "recipients"):
        return term
    person = contacts.get(connection, key)
    others = [each for each in person.addresses if mailbox_key(each) != key] if person else []
    return replace(term, also=tuple(others))
