"""Messages that may belong to a conversation and wait for a person's word; of what was refused only a hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import Kind
from proxyd.rules.suggestions import LiveThread
from proxyd.store import contacts
from proxyd.store.tables import messages, participants, refused_suggestions, suggestions

OPEN, ACCEPTED = "open", "accepted"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A message in a mailbox, by the few fields that were read of it. `id_hash` stands for it where it is refused;
    `message` is the newest record of the suggested `thread`."""

    id: str
    account: str
    folder: str
    uidvalidity: int
    uid: int
    message_id: str
    id_hash: str
    author: dict[str, str]
    subject: str
    date: datetime
    thread: str
    message: str
    because: str
    state: str
    at: datetime


def add(connection: sa.Connection, suggestion: Suggestion, most: int) -> bool:
    """False where it is suggested already, was refused, or so many wait that one more is of no use."""
    of = {"account": suggestion.account, "id_hash": suggestion.id_hash}
    for table in (refused_suggestions, suggestions):
        if connection.scalar(sa.select(sa.func.count()).select_from(table).filter_by(**of)):
            return False
    waiting = sa.select(sa.func.count()).select_from(suggestions).where(suggestions.c.account == suggestion.account)
    if (connection.scalar(waiting) or 0) >= most:
        return False
    connection.execute(suggestions.insert(), asdict(suggestion))
    return True


def waiting(connection: sa.Connection, accounts: Iterable[str] | None, state: str = OPEN) -> list[Suggestion]:
    """The newest first; `accounts` None = all."""
    query = sa.select(suggestions).where(suggestions.c.state == state).order_by(suggestions.c.date.desc())
    if accounts is not None:
        query = query.where(suggestions.c.account.in_(list(accounts)))
    return [_suggestion(row) for row in connection.execute(query)]


def get(connection: sa.Connection, id: str) -> Suggestion | None:
    row = connection.execute(sa.select(suggestions).where(suggestions.c.id == id)).one_or_none()
    return None if row is None else _suggestion(row)


def accept(connection: sa.Connection, id: str) -> None:
    connection.execute(suggestions.update().where(suggestions.c.id == id).values(state=ACCEPTED))


def refuse(connection: sa.Connection, suggestion: Suggestion, at: datetime) -> None:
    """It is forgotten; the hash remains, so that it is not suggested again."""
    drop(connection, suggestion.id)
    connection.execute(
        refused_suggestions.insert(), {"account": suggestion.account, "id_hash": suggestion.id_hash, "at": at}
    )


def drop(connection: sa.Connection, id: str) -> None:
    connection.execute(suggestions.delete().where(suggestions.c.id == id))


def drop_older(connection: sa.Connection, before: datetime) -> None:
    """Nobody has said a word on them, and their conversations are over."""
    connection.execute(suggestions.delete().where(suggestions.c.at < before, suggestions.c.state == OPEN))


def live_people(connection: sa.Connection, account: str, since: datetime, most: int) -> list[str]:
    """The mailbox keys of the people in the newest conversations, with all their addresses: `most` of each at most."""
    query = (
        sa.select(participants.c.key)
        .join(messages, messages.c.id == participants.c.message)
        .where(messages.c.account == account, messages.c.at >= since, messages.c.kind != Kind.BOUNCE)
        .where(~participants.c.tag)
        .group_by(participants.c.key)
        .order_by(sa.func.max(messages.c.at).desc(), participants.c.key)
        .limit(most)
    )
    people = list(connection.scalars(query))
    others = contacts.same_person(connection, people) - set(people)
    return people + sorted(others)[:most]


def live_threads(connection: sa.Connection, account: str, since: datetime, people: Sequence[str]) -> list[LiveThread]:
    """The conversations of these people, the newest first, each with its newest message."""
    query = (
        sa.select(messages.c.thread, messages.c.id, messages.c.subject, participants.c.key)
        .join(participants, participants.c.message == messages.c.id)
        .where(messages.c.account == account, messages.c.at >= since, messages.c.kind != Kind.BOUNCE)
        .where(participants.c.key.in_(people), ~participants.c.tag)
        .order_by(messages.c.at.desc(), messages.c.id.desc())
        .limit(2000)
    )
    found: dict[str, LiveThread] = {}
    for row in connection.execute(query):
        before = found.get(row.thread)
        seen = before.people if before else frozenset()
        newest = before or LiveThread(row.thread, row.id, row.subject, seen)
        found[row.thread] = LiveThread(newest.thread, newest.message, newest.subject, seen | {row.key})
    return [replace(each, people=contacts.same_person(connection, each.people)) for each in found.values()]


def _suggestion(row: Any) -> Suggestion:
    return Suggestion(**{each.name: getattr(row, each.name) for each in fields(Suggestion)})
