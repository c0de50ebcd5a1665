"""A message's row in the log, made of what its header says: functions of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from proxyd.config import Account
from proxyd.model import (
    LOG_ADDRESS,
    Direction,
    Envelope,
    Heading,
    Kind,
    MailAddress,
    Seen,
    Source,
    State,
    ThreadMatch,
    mailbox_key,
)
from proxyd.rules.notices import Notice
from proxyd.store.submissions import Submitted
from proxyd.store.timeline import Entry

Hash = Callable[[str], str]  # Database.hash_id

NOBODY = MailAddress("", "")


def outgoing_entry(
    account: Account,
    heading: Heading,
    envelope: Envelope,
    match: ThreadMatch | None,
    known: frozenset[str],
    row: Submitted,
    source: Source,
    at: datetime,
) -> Entry:
    """Of a message that goes through us. Who is in the envelope and not in the header got it as a blind copy."""
    hidden = {mailbox_key(LOG_ADDRESS), mailbox_key(account.dropbox or "")}
    to, cc, bcc = (_without(each, hidden) for each in (heading.to, heading.cc, heading.bcc))
    named = {mailbox_key(each.address) for each in (*to, *cc, *bcc)}
    blind = (
        MailAddress("", each.address) for each in envelope.recipients if mailbox_key(each.address) not in named | hidden
    )
    bcc = (*bcc, *blind)
    people = frozenset(mailbox_key(each.address) for each in (*to, *cc, *bcc))
    return Entry(
        id=row.id,
        account=row.account,
        message_id=row.message_id,
        direction=Direction.OUTGOING,
        kind=Kind.MESSAGE,
        state=row.state,
        source=source,
        thread=match.thread if match else row.id,
        in_reply_to=_first(heading.in_reply_to),
        date=heading.date or at,
        at=at,
        from_=heading.from_[0] if heading.from_ else MailAddress(account.name, account.address),
        to=to,
        cc=cc,
        bcc=bcc,
        subject=heading.subject,
        contacts=tuple(sorted(known & people)),
        because=row.because,
        content=row.id,
        submission=row.id,
        people=people,
    )


def seen_entry(
    seen: Seen,
    id: str,
    message_id: str,
    people: frozenset[str],
    known: frozenset[str],
    notice: Notice,
    participant: str | None,
) -> Entry:
    """Of a message found in the mailbox; `people` are the mailbox keys it is found under, `known` the contacts among
    them."""
    heading = seen.heading
    outgoing = seen.direction is Direction.OUTGOING
    return Entry(
        id=id,
        account=seen.account,
        message_id=message_id,
        direction=seen.direction,
        kind=notice.kind,
        state=State.SENT if outgoing else State.RECEIVED,
        source=seen.source,
        thread=seen.match.thread if seen.match else id,
        in_reply_to=_first(heading.in_reply_to),
        date=heading.date or seen.found.internaldate or seen.at,
        at=seen.at,
        from_=heading.from_[0] if heading.from_ else NOBODY,
        to=heading.to,
        cc=heading.cc,
        bcc=heading.bcc,
        subject=heading.subject,
        contacts=tuple(sorted(known & people)),
        because=seen.verdict.because,
        content=id,
        ids=heading.original_ids,
        people=people,
        notice=notice.what or None,
        participant=participant,
    )


def seen_people(heading: Heading) -> Iterable[str]:
    return (mailbox_key(each.address) for each in (*heading.from_, *heading.to, *heading.cc, *heading.bcc))


def crms_of(account: Account | None, kind: Kind = Kind.MESSAGE) -> list[str]:
    """Where a logged message goes. A bounce stays here: a CRM hears of it as the state of what bounced."""
    if account is None:
        return ["local"]
    return [crm.name for crm in account.crm if crm.options is None or kind is not Kind.BOUNCE]


def _without(addresses: tuple[MailAddress, ...], hidden: set[str]) -> tuple[MailAddress, ...]:
    return tuple(each for each in addresses if mailbox_key(each.address) not in hidden)


def _first(ids: tuple[str, ...]) -> str:
    return ids[0] if ids else ""
