"""What is asked to be sent, read into a draft; and what came of it, as a document."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from proxyd.config import Account
from proxyd.formats.addresses import read_addresses
from proxyd.formats.compose import Draft, File
from proxyd.formats.message import heading
from proxyd.journal.sending import KEPT_UNKNOWN
from proxyd.model import MailAddress, SmtpReply, mailbox_key
from proxyd.store import content, spool, submissions, timeline
from proxyd.store.database import Database
from proxyd.store.history import Unsettled, unsettled
from proxyd.store.timeline import bracketed
from proxyd.web.answers import Document, Unacceptable, message, owner_of
from proxyd.web.documents import SendMessage
from proxyd.web.viewer import Viewer


def sender(asked: str | None, author: str | None, viewer: Viewer, accounts: Mapping[str, Account]) -> Account:
    """The account to send through: the one that is named, else whose address `author` is, else the asker's own.

    Raises Unacceptable where none is meant, and where the viewer may not send as it.
    """
    mine = [each for each in accounts.values() if viewer.speaks_for(each.address)]
    if asked is not None:
        meant = [each for each in mine if each.address == asked.strip().lower()]
    elif author:
        key = mailbox_key(author)
        meant = [each for each in mine if key in map(mailbox_key, (each.address, *each.aliases))]
    else:
        meant = [each for each in mine if viewer.person == each.address] or mine
    if len(meant) != 1:
        listed = ", ".join(each.address for each in mine) or "none: this token sends for nobody"
        raise Unacceptable(f"it is not clear which account is to send this; accepted as account: {listed}")
    return meant[0]


def draft(database: Database, asked: SendMessage, account: Account, viewer: Viewer) -> Draft:
    """What is asked, with what it takes from the message that it answers. Blocks. Raises Unacceptable."""
    answered = _answered(database, asked.reply_to_message, account, viewer) if asked.reply_to_message else None
    to = _people(asked.to) or (answered.to if answered and not (asked.cc or asked.bcc) else ())
    return Draft(
        from_=_author(asked.from_, account),
        to=to,
        cc=_people(asked.cc),
        bcc=_people(asked.bcc),
        subject=asked.subject if asked.subject is not None else answered.subject if answered else "",
        text=asked.text,
        html=asked.html,
        in_reply_to=answered.in_reply_to if answered else "",
        references=answered.references if answered else (),
        files=tuple(
            File(each.name, each.type, _octets(each.content), (each.content_id or "").strip("<>"))
            for each in asked.attachments
        ),
        log=asked.log,
    )


def _author(asked: str | None, account: Account) -> MailAddress:
    if asked is None:
        return MailAddress(account.name, account.address)
    (author, *more) = _people([asked])
    if more:
        raise Unacceptable("a message has one author; accepted as from: one address")
    return author if author.name else MailAddress(account.name, author.address)


def _people(said: Iterable[str]) -> tuple[MailAddress, ...]:
    found: list[MailAddress] = []
    for each in said:
        read = read_addresses(each.encode("utf-8", "replace"))
        if not read or any(character in each for character in "\r\n\0"):
            raise Unacceptable(f"{each[:80]!r} names nobody; accepted: grace@customer.example, or Grace <grace@…>")
        found += read
    return tuple(found)


def _octets(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Unacceptable("an attachment's content is not base64 (RFC 4648 section 4)") from None


def _answered(database: Database, id: str, account: Account, viewer: Viewer) -> Draft:
    """Of the message that is answered: whom to answer, the subject, and the thread."""
    logged = message(database, id, viewer)
    owner = owner_of(database, id, viewer, whole=False)
    if logged is None or owner is None:
        raise Unacceptable("no logged message has the id that reply_to_message names")
    with database.reading() as connection:
        said = heading(content.chunk(connection, owner, 0) or b"")
    own = set(map(mailbox_key, (account.address, *account.aliases)))
    others = logged["to"] if logged["direction"] == "outgoing" else [logged["from"]]
    people = tuple(MailAddress(**each) for each in others if mailbox_key(each["address"]) not in own)
    name: str = logged["message_id"].strip("<>")
    subject: str = logged["subject"]
    before = said.references or said.in_reply_to
    return Draft(
        from_=MailAddress("", ""),
        to=people,
        subject=subject if subject[:3].lower() == "re:" else f"Re: {subject}",
        in_reply_to=name,
        references=(*(each for each in before if each != name), name),
    )


def unknown_one(database: Database, said: str, viewer: Viewer, now: datetime) -> Unsettled:
    """The mail of unknown outcome that `said` means, a Message-ID or the end of its submission's id. Raises
    Unacceptable."""
    bare = said.strip().removeprefix("<").removesuffix(">")
    with database.reading() as connection:
        open_ones = [each for each in unsettled(connection, now - KEPT_UNKNOWN) if viewer.speaks_for(each.account)]
    meant = [each for each in open_ones if each.message_id == bare or each.id.endswith(bare.upper())] if bare else []
    if len(meant) != 1:
        kind = "no mail" if not meant else "more than one mail"
        raise Unacceptable(f"{kind} whose outcome is unknown has the id {said!r}; proxyd status names them")
    return meant[0]


def outcome(database: Database, id: str, state: str, reply: SmtpReply | None) -> Document:
    """What came of submission `id`; "" where none was begun. Blocks."""
    with database.reading() as connection:
        row = submissions.get(connection, id) if id else None
        record = timeline.of_record(connection, id) if id else None
        spooled = spool.holds(connection, id)
    document: dict[str, Any] = {
        "id": id,
        "account": row.account if row else None,
        "message_id": bracketed(row.message_id) if row and row.message_id else None,
        "state": state,
        "logged": record is not None,
        "because": row.because if row else "",
        "message": record[0] if record else None,
        "reply": reply.text if reply else None,
        "spooled": spooled,
    }
    return document
