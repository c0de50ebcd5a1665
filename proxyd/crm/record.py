"""A logged message as an adapter gets it: cut to what the CRM takes, its people and its owner worked out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from html import escape

from proxyd.config import Account, CrmOptions
from proxyd.crm.adapter import Adapter, Attachment, Limits, Person, Record
from proxyd.errors import Refused
from proxyd.journal.ledger import Ledger, LoggedMessage
from proxyd.model import Direction, Kind, MailAddress, State, mailbox_key
from proxyd.rules import crm_entry
from proxyd.rules.crm_entry import plain


def record_of(logged: LoggedMessage, account: Account, options: CrmOptions, limits: Limits, ledger: Ledger) -> Record:
    """Without `people`, who are looked for in the CRM by `with_people`."""
    document = logged.document
    from_ = _person(document["from"])
    to, cc, bcc = (tuple(map(_person, document[field])) for field in ("to", "cc", "bcc"))
    files = [(n, each) for n, each in enumerate(logged.body.attachments) if not each.inline]
    fitting = [(n, each) for n, each in files if limits.attachment is None or each.size <= limits.attachment]
    note = ""
    if limits.attachment is not None and limits.attachments:
        too_large = [(plain(each.name), each.size) for n, each in files if (n, each) not in fitting]
        note = crm_entry.left_out(too_large, limits.attachment)
    return Record(
        id=document["id"],
        account=document["account"],
        direction=Direction(document["direction"]),
        kind=Kind(document["kind"]),
        state=State(document["state"]),
        message_id=_bare(document["message_id"]),
        other_ids=tuple(_bare(each) for each in document["other_ids"]),
        in_reply_to=_bare(document["in_reply_to"]) if document["in_reply_to"] else None,
        thread=document["thread"],
        parent=logged.parent,
        date=datetime.fromisoformat(document["date"]),
        from_=from_,
        to=to,
        cc=cc,
        bcc=bcc,
        subject=crm_entry.line(plain(document["subject"]), limits.subject),
        text=crm_entry.cut(plain(logged.body.text), limits.text, note),
        new_text=crm_entry.cut(plain(logged.body.new_text), limits.text),
        owner=crm_entry.owner(options.owners, from_.address, (each.address for each in (*to, *cc)), account.address),
        people=(),
        attachments=tuple(
            Attachment(
                n,
                plain(each.name),
                each.type,
                each.size,
                each.sha256,
                functools.partial(ledger.attachment, logged.owner, n),
            )
            for n, each in fitting
        ),
        size=logged.size,
        octets=functools.partial(ledger.octets, logged.owner),
        read_html=functools.partial(_html, logged, limits, note, ledger),
    )


def _person(document: dict[str, str]) -> MailAddress:
    return MailAddress(plain(document["name"]), plain(document["address"]))


def _bare(message_id: str) -> str:
    return message_id.removeprefix("<").removesuffix(">")


async def _html(logged: LoggedMessage, limits: Limits, note: str, ledger: Ledger) -> str:
    """`note`, what was left out, is said at the end of it too."""
    if not logged.body.has_html or not logged.owner:
        return ""
    html = plain(await ledger.html(logged.owner))
    html += f"<p>{escape(note.strip())}</p>" if note else ""
    return "" if limits.html is not None and len(html) > limits.html else html


async def with_people(record: Record, logged: LoggedMessage, account: Account, adapter: Adapter) -> Record:
    """The record with its people as the CRM knows them, by whichever of their addresses; those who are to be there and
    are not are made, under their first."""
    ours = {key: each for key, each in logged.people.items() if each.key in logged.document["contacts"]}
    wanted = crm_entry.people(
        record.direction,
        record.from_,
        (*record.to, *record.cc, *record.bcc),
        (account.address, *account.aliases),
        ours,
    )
    found: dict[str, Person] = {}
    for each in wanted:
        known = ours.get(mailbox_key(each.person.address))
        who = known.key if known else each.person.address
        if who in found:  # by another of their addresses
            continue
        addresses = crm_entry.addresses(each.person.address, known.addresses if known else ())
        name = each.person.name or (known.name if known else "")
        try:
            person = await _found(adapter, name, addresses)
            if person is None and each.create:
                made = Person(name, known.addresses[0] if known else each.person.address)
                person = replace(made, remote_id=await adapter.create_contact(made))
        except Refused:  # an address that this CRM does not take; the message goes there all the same
            if not each.create or len(wanted) == 1:
                raise
            continue
        if person is not None:
            found[who] = person
    return replace(record, people=tuple(found.values()))


async def _found(adapter: Adapter, name: str, addresses: Sequence[str]) -> Person | None:
    for address in addresses:
        if (remote := await adapter.find_contact(address)) is not None:
            return Person(name, address, remote)
    return None
