"""The full-text index of what is logged: SQLite's FTS5, inside the encrypted file.

Why a row's number is its message's date in microseconds: FTS5 hands rows out by their numbers, newest first, and stops
when a page is full; a date's bounds are bounds of the number. So a word that stands in every message costs a page, not
all of them. The index holds no text (`content=''`): the texts are in `messages` already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from proxyd.formats.search_query import Query, any_expression, match_expression
from proxyd.model import Body
from proxyd.store.tables import indexed, messages
from proxyd.store.timeline import earlier_record

COLUMNS = ("subject", "body", "sender", "recipients", "files")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INDEX = sa.table("search_index", sa.column("rowid"), *(sa.column(each) for each in COLUMNS))
_PUT = sa.text(
    "INSERT INTO search_index(rowid, subject, body, sender, recipients, files)"
    " VALUES (:rowid, :subject, :body, :sender, :recipients, :files)"
)
_TAKEN = sa.select(indexed.c.id).where(indexed.c.id == sa.bindparam("id"))


@dataclass(frozen=True, slots=True)
class Hit:
    message: str
    number: int


def put(connection: sa.Connection, message: str, body: Body) -> None:
    """Index a logged message anew. Nothing happens where it is logged no longer."""
    row = connection.execute(
        sa.select(messages.c.date, messages.c.heading, messages.c.subject).where(messages.c.id == message)
    ).one_or_none()
    if row is None:
        return
    drop(connection, [message])
    number = (row.date - _EPOCH) // timedelta(microseconds=1)
    while connection.scalar(_TAKEN, {"id": number}) is not None:
        number += 1
    files = [each.name for each in body.attachments if not each.inline]
    connection.execute(indexed.insert(), {"id": number, "message": message, "attachments": len(files)})
    heading = row.heading
    texts = {
        "subject": row.subject,
        "body": body.text,
        "sender": _people([heading["from"]]),
        "recipients": _people([*heading["to"], *heading["cc"], *heading["bcc"]]),
        "files": "\n".join(files),
    }
    connection.execute(_PUT, {"rowid": number} | texts)


def _people(people: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(f"{each['name']} {each['address']}" for each in people)


def drop(connection: sa.Connection, ids: Collection[str]) -> None:
    """Take these messages out of the index: a trigger takes their words."""
    connection.execute(indexed.delete().where(indexed.c.message.in_(list(ids))))


def find(
    connection: sa.Connection, query: Query, limit: int, *, accounts: Collection[str] | None, behind: int | None
) -> list[Hit]:
    """Newest first; `behind` is the number of the last hit of the page before."""
    wanted, excluded = query.wanted, query.excluded
    number = _INDEX.c.rowid if wanted else indexed.c.id
    found = sa.select(indexed.c.message, number.label("number")).select_from(
        indexed.join(messages, messages.c.id == indexed.c.message)
    )
    if wanted:
        found = found.join(_INDEX, _INDEX.c.rowid == indexed.c.id).where(_matches(match_expression(wanted)))
    if excluded:
        found = found.where(number.not_in(sa.select(_INDEX.c.rowid).where(_matches(any_expression(excluded)))))
    for bound in _bounds(query, number, behind):
        found = found.where(bound)
    if query.has_attachment:
        found = found.where(indexed.c.attachments > 0)
    if query.account:
        found = found.where(messages.c.account == query.account)
    if accounts is not None:
        found = found.where(messages.c.account.in_(sorted(accounts)))
    found = found.where(~earlier_record(accounts, query.account or None)).order_by(number.desc()).limit(limit)
    return [Hit(row.message, row.number) for row in connection.execute(found)]


def _matches(expression: str) -> sa.ColumnElement[bool]:
    return sa.literal_column("search_index").op("MATCH", is_comparison=True)(expression)


def _bounds(query: Query, number: sa.ColumnElement[int], behind: int | None) -> Iterable[sa.ColumnElement[bool]]:
    if query.since is not None:
        yield number >= (query.since - _EPOCH) // timedelta(microseconds=1)
    if query.until is not None:
        yield number < (query.until - _EPOCH) // timedelta(microseconds=1)
    if behind is not None:
        yield number < behind
