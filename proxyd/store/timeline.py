"""The log: one row for each message of a tracked conversation, and the JSON that people and programs see of it.

Exactly once by the unique key (account, Message-ID): a second sighting completes the row, it never adds one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from proxyd.model import Body, Direction, Kind, MailAddress, Source, State
from proxyd.rules.plus_tags import untagged
from proxyd.rules.threads import id_key
from proxyd.store import contacts, prepared, same_mail
from proxyd.store import deliveries as delivery_rows
from proxyd.store.prepared import Prepared
from proxyd.store.tables import (
    crm_entries,
    deliveries,
    dropbox_copies,
    last_words,
    message_ids,
    messages,
    participants,
    sent_copies,
)

_KNOWN = Prepared(
    sa.select(
        message_ids.c.message_id,
        messages.c.id,
        messages.c.thread,
        messages.c.state,
        messages.c.message_id,
        messages.c.direction,
    )
    .join(messages, messages.c.id == message_ids.c.message)
    .where(
        message_ids.c.account == sa.bindparam("account"),
        message_ids.c.message_id == sa.bindparam("is"),
    )
)
MANY = 100  # ids asked for at once, from which on one statement for all of them costs less than one for each
_THEIRS = sa.select(message_ids.c.message_id).where(message_ids.c.account == sa.bindparam("account"))
_SOME = _THEIRS.where(message_ids.c.message_id.in_(sa.bindparam("ids", expanding=True)))
_EVERY = _THEIRS.limit(sa.bindparam("most"))
_ANSWERS = Prepared(
    sa.select(messages.c.thread)
    .where(
        messages.c.account == sa.bindparam("account"),
        messages.c.in_reply_to == sa.bindparam("id"),
    )
    .distinct()
)
_words = sqlite_insert(last_words).values({name: sa.bindparam(name) for name in ("key", "tag", "account", "date")})
_INSERT = prepared.insert(
    messages,
    *("id", "account", "message_id", "direction", "kind", "state", "source", "thread", "in_reply_to", "date", "at"),
    *("heading", "subject", "contacts", "because", "submission", "content", "notice", "participant"),
)
_INSERT_ID = prepared.insert(message_ids, "account", "message_id", "message", "written")
_INSERT_PARTICIPANT = prepared.insert(participants, "message", "key", "tag", "account", "mail")
_LAST_WORDS = Prepared(
    _words.on_conflict_do_update(
        index_elements=["key", "tag", "account"], set_={"date": sa.func.max(last_words.c.date, _words.excluded.date)}
    )
)
_OF_SUBMISSION = Prepared(sa.select(messages.c.id).where(messages.c.submission == sa.bindparam("submission")))
_THREAD = Prepared(sa.select(messages.c.thread).where(messages.c.id == sa.bindparam("of")))
_CHANGE = messages.update().where(messages.c.id == sa.bindparam("of")).values(state=sa.bindparam("state"))
_SET_STATE = Prepared(_CHANGE)
_SET_SENT = Prepared(_CHANGE.where(messages.c.state != State.BOUNCED))


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to be logged. `ids` are all its Message-IDs; `people` the mailbox keys it is found under."""

    id: str
    account: str
    message_id: str
    direction: Direction
    kind: Kind
    state: State
    source: Source
    thread: str
    in_reply_to: str
    date: datetime
    at: datetime
    from_: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    bcc: tuple[MailAddress, ...]
    subject: str
    contacts: tuple[str, ...]
    because: str
    content: str
    submission: str | None = None
    ids: tuple[str, ...] = ()
    people: frozenset[str] = frozenset()
    notice: str | None = None
    participant: str | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """What a Message-ID leads to."""

    message: str
    thread: str
    state: State
    message_id: str
    outgoing: bool = True


def known(connection: sa.Connection, account: str, ids: Iterable[str]) -> dict[str, Logged]:
    """The logged messages of `account` that carry any of `ids`, however it is written there, by that id."""
    keys = {id: id_key(id) for id in ids}
    found: dict[str, Logged] = {}
    for key in _there(connection, account, set(keys.values())):
        row = _KNOWN.one(connection, {"account": account, "is": key})
        if row is not None:
            found[key] = Logged(row[1], row[2], State(row[3]), row[4], row[5] == Direction.OUTGOING)
    return {id: found[key] for id, key in keys.items() if key in found} if found else {}


def _there(connection: sa.Connection, account: str, keys: set[str]) -> set[str]:
    """Those of `keys` that are worth asking for, where they are many. A mailbox that is read through after a long
    absence names far more ids than most accounts have: then all of the account's are read rather than each looked for.
    """
    if len(keys) < MANY:
        return keys
    most = len(keys) // 4
    every = connection.scalars(_EVERY, {"account": account, "most": most}).all()
    if len(every) < most:
        return keys.intersection(every)
    return set(connection.scalars(_SOME, {"account": account, "ids": list(keys)}))


def insert(connection: sa.Connection, entry: Entry) -> None:
    people = [asdict(each) for each in (*entry.to, *entry.cc, *entry.bcc)]
    to, cc = len(entry.to), len(entry.cc)
    _INSERT.run(
        connection,
        {
            "id": entry.id,
            "account": entry.account,
            "message_id": entry.message_id,
            "direction": entry.direction,
            "kind": entry.kind,
            "state": entry.state,
            "source": entry.source,
            "thread": entry.thread,
            "in_reply_to": entry.in_reply_to or None,
            "date": entry.date,
            "at": entry.at,
            "heading": {
                "from": asdict(entry.from_),
                "to": people[:to],
                "cc": people[to : to + cc],
                "bcc": people[to + cc :],
            },
            "subject": entry.subject,
            "contacts": list(entry.contacts),
            "because": entry.because,
            "submission": entry.submission,
            "content": entry.content,
            "notice": entry.notice,
            "participant": entry.participant,
        },
    )
    add_ids(connection, entry.account, entry.id, (entry.message_id, *entry.ids))
    if entry.people:
        bare = {untagged(key) for key in entry.people} - entry.people
        rows = [(key, False) for key in sorted(entry.people)] + [(key, True) for key in sorted(bare)]
        told = {"message": entry.id, "account": entry.account, "date": entry.date, "mail": entry.id}
        _INSERT_PARTICIPANT.run_each(connection, [told | {"key": key, "tag": tag} for key, tag in rows])
        _LAST_WORDS.run_each(connection, [told | {"key": key, "tag": tag} for key, tag in rows])
    same_mail.share(connection, entry.id)


def add_ids(connection: sa.Connection, account: str, message: str, ids: Iterable[str]) -> bool:
    """More names for one message; False where none of them is new. An id that already names another message stays with
    it."""
    wanted: dict[str, str] = {}
    for id in ids:
        if id:
            wanted.setdefault(id_key(id), id)
    taken = set(known(connection, account, wanted))
    rows = [
        {"account": account, "message_id": key, "message": message, "written": id if id != key else None}
        for key, id in wanted.items()
        if key not in taken
    ]
    _INSERT_ID.run_each(connection, rows)
    return bool(rows)


def name(connection: sa.Connection, account: str, message: str, ids: Iterable[str]) -> bool:
    """As `add_ids`, for a record that stands: under its new names it may be known in another account, or answered."""
    added = [each for each in ids if each]
    new = add_ids(connection, account, message, added)
    same_mail.share(connection, message)
    thread = _THREAD.value(connection, {"of": message})
    if thread is not None:
        join_threads(connection, account, thread, added)
    return new


def join_threads(connection: sa.Connection, account: str, thread: str, ids: Iterable[str]) -> None:
    """What is logged already and answers one of `ids` was found before the message that has them, which is in
    `thread`: its conversation is the same."""
    wanted = {form for each in ids for form in (each, id_key(each))}
    others = {answer for id in wanted for answer in _ANSWERS.column(connection, {"account": account, "id": id})} - {
        thread
    }
    if others:
        of = (messages.c.account == account, messages.c.thread.in_(others))
        connection.execute(messages.update().where(*of).values(thread=thread))


def resubmitted(connection: sa.Connection, message: str, submission: str) -> None:
    """The person sends a message again that is logged already: the row follows its newest submission."""
    connection.execute(
        messages.update()
        .where(messages.c.id == message)
        .values(submission=submission, content=submission, state=State.SUBMITTING, body=None, expired=None)
    )
    connection.execute(deliveries.delete().where(deliveries.c.message == message))


def set_state(connection: sa.Connection, submission: str, state: State) -> str | None:
    """The state of what was logged of `submission`; returns its record's id, None where nothing was. That it was sent
    is no news of a message that has bounced."""
    row = of_submission(connection, submission)
    if row is not None:
        (_SET_SENT if state is State.SENT else _SET_STATE).run(connection, {"of": row, "state": state})
    return row


def bounced(connection: sa.Connection, message: str) -> None:
    """A report says that somebody does not get it."""
    _SET_STATE.run(connection, {"of": message, "state": State.BOUNCED})


def recipients_of(connection: sa.Connection, message: str) -> list[str]:
    """The addresses that a logged message went to, as they were written."""
    heading = connection.scalar(sa.select(messages.c.heading).where(messages.c.id == message)) or {}
    return [each["address"] for name in ("to", "cc", "bcc") for each in heading.get(name, ())]


def people_of_thread(connection: sa.Connection, account: str, thread: str) -> frozenset[str]:
    """The mailbox keys of everybody in a thread but the account's own, by which of their addresses they write."""
    query = (
        sa.select(participants.c.key)
        .join(messages, messages.c.id == participants.c.message)
        .where(messages.c.account == account, messages.c.thread == thread, ~participants.c.tag)
    )
    return contacts.same_person(connection, connection.scalars(query))


def of_submission(connection: sa.Connection, submission: str) -> str | None:
    row: str | None = _OF_SUBMISSION.value(connection, {"submission": submission})
    return row


def is_logged(connection: sa.Connection, owner: str) -> bool:
    """Is there a record of this submission, or with this id?"""
    of = sa.or_(messages.c.id == owner, messages.c.submission == owner)
    return connection.scalar(sa.select(messages.c.id).where(of).limit(1)) is not None


def ids_of(connection: sa.Connection, message: str) -> tuple[str, ...]:
    written = sa.func.coalesce(message_ids.c.written, message_ids.c.message_id)
    return tuple(connection.scalars(sa.select(written).where(message_ids.c.message == message)))


def newest_sent_ids(connection: sa.Connection, account: str, since: datetime, most: int) -> list[str]:
    written = sa.func.coalesce(message_ids.c.written, message_ids.c.message_id)
    query = (
        sa.select(written)
        .join(messages, messages.c.id == message_ids.c.message)
        .where(messages.c.account == account, messages.c.direction == Direction.OUTGOING, messages.c.at >= since)
        .order_by(messages.c.at.desc(), messages.c.id)
        .limit(most)
    )
    return list(connection.scalars(query))


def unread(connection: sa.Connection) -> list[tuple[str, str]]:
    """(record, owner of its octets) of every message whose body was not read yet."""
    rows = connection.execute(sa.select(messages.c.id, messages.c.content).where(messages.c.body.is_(None)))
    return [(row.id, row.content) for row in rows]


def set_body(connection: sa.Connection, message: str, content: str, body: Body) -> bool:
    """False where the record has other octets by now, or is none any more."""
    of = (messages.c.id == message, messages.c.content == content)
    return bool(connection.execute(messages.update().where(*of).values(body=asdict(body))).rowcount)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of messages ends: the next one begins behind it."""

    date: datetime
    id: str


def of_people(
    connection: sa.Connection,
    keys: Collection[str] | None,
    account: str | None,
    limit: int,
    *,
    accounts: Collection[str] | None = None,
    behind: Place | None = None,
) -> list[str]:
    """Record ids, newest first; `keys` are as `contacts.same_person` gives them (None: whoever it is with), `accounts`
    those that may be seen (None: all of them).

    A message that several of them have is named once: by the record that was made first.
    """
    query = sa.select(messages.c.id).where(~earlier_record(accounts, account))
    if accounts is not None:
        query = query.where(_one_of(messages.c.account, accounts))
    if account is not None:
        query = query.where(messages.c.account == account)
    if keys is not None:
        theirs = sa.select(participants.c.message).where(contacts.takes_part(connection, keys))
        query = query.where(messages.c.id.in_(theirs))
    if behind is not None:
        same = sa.and_(messages.c.date == behind.date, messages.c.id < behind.id)
        query = query.where(messages.c.date <= behind.date, sa.or_(messages.c.date < behind.date, same))
    return list(connection.scalars(query.order_by(messages.c.date.desc(), messages.c.id.desc()).limit(limit)))


def _one_of(account: sa.ColumnElement[str], accounts: Collection[str]) -> sa.ColumnElement[bool]:
    """As an expression, which no index of accounts serves: a page is read in the order of dates instead."""
    return (account + "").in_(sorted(accounts))


def earlier_record(accounts: Collection[str] | None, account: str | None = None) -> sa.Exists:
    """Has another of these accounts the message of this row of `messages` on an earlier record?"""
    other = messages.alias("other")
    query = sa.select(other.c.id).where(other.c.mail == messages.c.mail, other.c.id < messages.c.id)
    if accounts is not None:
        query = query.where(_one_of(other.c.account, accounts))
    if account is not None:
        query = query.where(other.c.account == account)
    return sa.exists(query).correlate(messages)


def places(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Place]:
    rows = connection.execute(sa.select(messages.c.id, messages.c.date).where(messages.c.id.in_(ids)))
    return {row.id: Place(row.date, row.id) for row in rows}


def accounts_of(
    connection: sa.Connection, mails: Iterable[str], accounts: Collection[str] | None
) -> dict[str, list[str]]:
    """The accounts that have each of these mails (`messages.mail`), as far as `accounts` may be seen; the earliest
    record's first."""
    query = sa.select(messages.c.mail, messages.c.account).where(messages.c.mail.in_(list(mails)))
    found: dict[str, list[str]] = {}
    for row in connection.execute(query.order_by(messages.c.id)):
        if accounts is None or row.account in accounts:
            found.setdefault(row.mail, []).append(row.account)
    return found


def of_record(connection: sa.Connection, id: str) -> tuple[str, str] | None:
    """(record, account) by the id of a logged message or of a submission of it."""
    row = connection.execute(
        sa.select(messages.c.id, messages.c.account).where(sa.or_(messages.c.id == id, messages.c.submission == id))
    ).first()
    return None if row is None else (row.id, row.account)


def documents(connection: sa.Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The logged messages as CONTRACT section 3 has them, in the order of `ids`."""
    rows = {row.id: row for row in connection.execute(sa.select(messages).where(messages.c.id.in_(ids)))}
    names: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(message_ids).where(message_ids.c.message.in_(ids))):
        names.setdefault(row.message, []).append(row.written or row.message_id)
    submitted = [row.submission or row.id for row in rows.values()]
    copies = {row.id: row for row in connection.execute(sa.select(sent_copies).where(sent_copies.c.id.in_(submitted)))}
    dropboxes = {
        row.id: row for row in connection.execute(sa.select(dropbox_copies).where(dropbox_copies.c.id.in_(submitted)))
    }
    crms: dict[str, list[Any]] = {}
    for row in connection.execute(sa.select(crm_entries).where(crm_entries.c.message.in_(ids))):
        crms.setdefault(row.message, []).append(row)
    delivery = delivery_rows.of_messages(connection, ids)
    owners = contacts.owners(connection, {key for row in rows.values() for key in row.contacts})
    return [
        _document(
            rows[id],
            [owners.get(key, key) for key in rows[id].contacts],
            names.get(id, []),
            copies.get(rows[id].submission or id),
            dropboxes.get(rows[id].submission or id),
            crms.get(id, []),
        )
        | {"delivery": [_delivery_document(each) for each in delivery.get(id, [])]}
        for id in ids
        if id in rows
    ]


def bracketed(message_id: str) -> str:
    return f"<{message_id}>"


def timestamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(
    row: Any, people: list[str], names: list[str], copy: Any, dropbox: Any, crms: list[Any]
) -> dict[str, Any]:
    body = row.body or asdict(Body())
    return {
        "id": row.id,
        "account": row.account,
        "direction": row.direction,
        "kind": row.kind,
        "message_id": bracketed(row.message_id),
        "other_ids": [bracketed(each) for each in sorted(names) if each != row.message_id],
        "thread": row.thread,
        "mail": row.mail,
        "in_reply_to": bracketed(row.in_reply_to) if row.in_reply_to else None,
        "date": timestamp(row.date),
        "from": row.heading["from"],
        "to": row.heading["to"],
        "cc": row.heading["cc"],
        "bcc": row.heading["bcc"],
        "subject": row.subject,
        "text": body["text"],
        "new_text": body["new_text"],
        "has_html": body["has_html"],
        "attachments": body["attachments"],
        "expired": row.expired,
        "contacts": list(dict.fromkeys(people)),  # by their first addresses
        "because": row.because,
        "state": row.state,
        "source": row.source,
        "notice": row.notice,
        "participant": row.participant,
        "sent_copy": sent_copy_document(copy),
        "dropbox": dropbox_document(dropbox),
        "crm": [_crm_document(each) for each in sorted(crms, key=lambda each: str(each.crm))],
    }


def delivery_documents(connection: sa.Connection, message: str) -> list[dict[str, Any]]:
    """What reports said of one message, for each recipient."""
    rows = delivery_rows.of_messages(connection, [message]).get(message, [])
    return [_delivery_document(each) for each in rows]


def _delivery_document(row: Any) -> dict[str, Any]:
    said = {"address": row.address, "state": row.state, "status": row.status, "detail": row.detail}
    return said | {"at": timestamp(row.at), "report": row.report}


def sent_copy_document(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    document = {"state": row.state, "by": row.by, "folder": row.folder, "copies": row.copies}
    return document | ({"error": row.error} if row.error else {})


def dropbox_document(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    document = {"address": row.address, "state": row.state}
    return document | ({"error": row.error} if row.error else {})


def _crm_document(row: Any) -> dict[str, Any]:
    document = {"name": row.crm, "state": row.state, "remote_id": row.remote_id}
    return document | ({"error": row.error} if row.error else {})
