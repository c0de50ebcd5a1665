"""A contact handed over (`export`) and forgotten (`forget`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from proxyd.formats import mbox
from proxyd.formats.mime import attachment as decoded_attachment
from proxyd.formats.transfer import Base64Encoder
from proxyd.journal import spooling
from proxyd.model import mailbox_key
from proxyd.store import contacts, erasing
from proxyd.store.database import Database
from proxyd.store.timeline import timestamp
from proxyd.web import answers_contacts
from proxyd.web.answers import MOST_MESSAGES, Document, message, octets_of, owner_of, timeline
from proxyd.web.viewer import OWNER, Viewer

# --- handing over ----------------------------------------------------------------------------------------------


def as_mbox(database: Database, contact: str, viewer: Viewer = OWNER) -> Iterator[bytes]:
    """Every message that is logged with the contact, under any of their addresses, as far as the viewer sees
    them, oldest first. Those whose octets are kept no longer are not in it. Blocks."""
    for document in _messages(database, contact, viewer):
        owner = owner_of(database, document["id"], viewer)
        if owner is not None:
            at = datetime.fromisoformat(document["date"])
            yield from mbox.entry(document["from"]["address"], at, octets_of(database, owner))


def as_json(database: Database, contact: str, viewer: Viewer = OWNER) -> Iterator[bytes]:
    """`{"contact", "messages": […]}`, oldest first; each attachment has its octets as `content`, in base64. Blocks."""
    with database.reading() as connection:
        person = contacts.get(connection, mailbox_key(contact))
    about = answers_contacts.document(person) if person is not None else None
    yield b'{"contact": ' + _json(about) + b', "messages": ['
    for index, document in enumerate(_messages(database, contact, viewer)):
        yield b",\n" if index else b"\n"
        yield from _with_contents(database, document, viewer)
    yield b"\n]}\n"


def _with_contents(database: Database, document: Document, viewer: Viewer) -> Iterator[bytes]:
    listed = document.pop("attachments")
    yield _json(document)[:-1] + b', "attachments": ['
    owner = owner_of(database, document["id"], viewer)
    for n, each in enumerate(listed):
        yield (b", " if n else b"") + _json(each)[:-1] + b', "content": '
        if owner is None:
            yield b"null}"
            continue
        yield b'"'
        yield from _base64(decoded_attachment(octets_of(database, owner), n))
        yield b'"}'
    yield b"]}"


def _messages(database: Database, contact: str, viewer: Viewer) -> Iterator[Document]:
    """Oldest first. The ids are read before the first message is: what comes meanwhile is not in it."""
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = timeline(database, contact, None, 200, viewer, cursor)
        ids += [each["id"] for each in page["messages"]]
        cursor = page["next"]
        if cursor is None or len(ids) >= 100 * MOST_MESSAGES:
            break
    for id in reversed(ids):
        document = message(database, id, viewer)
        if document is not None:
            yield document


def _base64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    encoder = Base64Encoder()
    for chunk in chunks:
        if encoded := encoder.feed(chunk):
            yield encoded
    yield encoder.finish()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


# --- forgetting ------------------------------------------------------------------------------------------------


def forget(database: Database, contact: str, now: datetime) -> Document:
    """Erase the contact, all their addresses and every message with them; the report is kept, and holds nothing of
    them. Mail to them that waits in the spool is sent all the same: `to_be_sent` says how many. Blocks."""
    with database.writing() as connection:
        people = contacts.same_person(connection, [mailbox_key(contact)])
        report = erasing.forget(connection, mailbox_key(contact), lambda key: _hash(database, key), now)
        waiting = spooling.waiting_for(connection, people)
        return _report(report) | ({"to_be_sent": waiting} if waiting else {})


def reports(database: Database, contact: str | None) -> Document:
    """`{"erasures": […]}`, newest first: all, or of one contact's address."""
    wanted = _hash(database, mailbox_key(contact)) if contact else None
    with database.reading() as connection:
        return {"erasures": [_report(each) for each in erasing.reports(connection, wanted)]}


def _hash(database: Database, key: str) -> str:
    return database.hash_id(f"contact {key}")


def _report(report: erasing.Report) -> Document:
    return {
        "id": report.id,
        "at": timestamp(report.at),
        "was_contact": report.known,
        "messages": report.messages,
        "shared": report.shared,
        "accounts": list(report.accounts),
        "crm": [{"account": account, "name": crm, "messages": count} for account, crm, count in report.crms],
    }
