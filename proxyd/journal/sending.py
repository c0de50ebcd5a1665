"""What is written of a message that the person sends: when it is begun, when its outcome is known.

Every function here is one job of the writer: it runs inside a transaction and either all of it is kept or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.formats.message import fingerprint_of, wire_form, without_recipients
from proxyd.formats.reply_ids import ids_in_reply
from proxyd.journal import finding
from proxyd.journal.entries import Hash, crms_of, outgoing_entry
from proxyd.journal.finding import alike
from proxyd.journal.intake import Intake, KeptContent
from proxyd.model import (
    CopyState,
    DropboxPostponed,
    DropboxSent,
    Envelope,
    Heading,
    LookedFor,
    NotAccepted,
    NotSent,
    SendUnknown,
    Sent,
    SmtpReply,
    Source,
    State,
    ThreadMatch,
    Tracked,
    mailbox_key,
)
from proxyd.rules import dropbox, sent_copy, threads, tracking
from proxyd.rules.late_answers import renamed_late
from proxyd.store import ahead, contacts, content, ledger, mailboxes, outbox, sent_copies, spool, submissions, timeline
from proxyd.store.submissions import Submitted

SAME_AGAIN = timedelta(hours=24)  # how long after an unclear answer the same mail finds its first outcome
KEPT_UNKNOWN = timedelta(days=7)  # how long a mail of unknown outcome is a person's to look at, and kept
KEPT_UNFILED = timedelta(days=30)  # how long one is kept whose Sent copy could not be filed
STOPPED = "proxyd stopped while the message was being handed over"


@dataclass(frozen=True, slots=True)
class Submission:
    """What the relay took from a client. `heading` is of the message as the client sent it, with the Message-ID that it
    goes out with; `fingerprint` is the hex SHA-256 over the octets as received and the envelope."""

    account: str
    envelope: Envelope
    heading: Heading
    fingerprint: str
    source: Source = Source.SMTP


@dataclass(frozen=True, slots=True)
class Begun:
    """Durable: now it may go upstream, with this envelope and these octets."""

    id: str
    envelope: Envelope
    content: KeptContent


@dataclass(frozen=True, slots=True)
class Joined:
    """The same mail was begun before and its client heard no 250: this is what is known of it. `spooled`: it waits
    here, and is ours to deliver."""

    id: str
    state: State
    reply: SmtpReply | None
    spooled: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """A message for the log alone: it is kept and goes nowhere."""

    id: str
    because: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What follows of a message that was taken: the account whose Sent copy became due, the record in the log.
    `nothing_owed`: its octets are to be let go of, for which nobody needs to wait. `late`: answers may have been read
    that name it by an id which is known only now."""

    account: str | None = None
    message: str | None = None
    nothing_owed: bool = False
    late: bool = False


def tracking_settings(account: Account) -> tracking.TrackingSettings:
    return tracking.TrackingSettings(
        address=account.address,
        aliases=tuple(account.aliases),
        track=account.track,
        never_log=tuple(account.never_log),
        dropbox=account.dropbox,
        plus_tags=account.plus_tags,
    )


def first_outcome(connection: sa.Connection, submission: Submission, hash: Hash, at: datetime) -> Joined | None:
    """What became of the same mail when it was sent before, where that is not settled with the client."""
    same = submissions.same_again(connection, submission.account, hash(submission.fingerprint), at - SAME_AGAIN)
    if same is None:
        return None
    if same.state is State.UNKNOWN and same.looked_at is not None:
        # It was looked for and is not there: the person's wish to send it again is the best knowledge left.
        why = "not found in the mailbox; the client sent it again"
        submissions.ended(connection, same.id, State.REFUSED, at, None, why)
        submissions.step(connection, same.id, at, "superseded", why)
        spool.take_out(connection, same.id)
        if not same.tracked:
            submissions.empty(connection, same.id)
        return None
    spooled = same.state is State.SUBMITTING and spool.holds(connection, same.id)
    return Joined(same.id, same.state, same.reply, spooled)


def decide(
    connection: sa.Connection, account: Account, submission: Submission
) -> tuple[tracking.Verdict, ThreadMatch | None, frozenset[str]]:
    """(verdict, what it answers, the contacts among its recipients)."""
    heading = submission.heading
    addresses = [each.address for each in submission.envelope.recipients]
    people = {mailbox_key(each) for each in addresses}
    known = contacts.known(connection, people)
    named = (*heading.in_reply_to, *heading.references)
    logged = timeline.known(connection, submission.account, named) if named else {}
    match = threads.match(heading, {id: threads.KnownMessage(row.message, row.thread) for id, row in logged.items()})
    verdict = tracking.decide(
        tracking_settings(account), heading, addresses, contacts=known, answers=match.message if match else None
    )
    return verdict, match, known


def begin(
    connection: sa.Connection, account: Account, intake: Intake, submission: Submission, hash: Hash, at: datetime
) -> Begun:
    """The row that says *submitting*, with its octets, and its place in the log where it is tracked."""
    verdict, match, known = decide(connection, account, submission)
    envelope = dropbox.upstream_envelope(submission.envelope, account.dropbox)
    hidden = _hidden(account, envelope)
    if hidden:  # the CRM's address is in nobody's copy, not even where the person typed it
        intake.replace_header(without_recipients(intake.kept().header, hidden))
    intake.finish(connection)
    kept = intake.kept()
    habit = sent_copy.habit(account.provider.files_sent, mailboxes.fact(connection, submission.account, "files_sent"))
    envelope = dropbox.with_copy(tracking_settings(account), verdict, envelope, habit)
    row = Submitted(
        id=intake.id,
        account=submission.account,
        state=State.SUBMITTING,
        fingerprint=hash(submission.fingerprint),
        message_id=submission.heading.message_id,
        copy_fingerprint=fingerprint_of(submission.heading, hidden=[account.dropbox] if account.dropbox else []),
        envelope=envelope,
        tracked=isinstance(verdict, Tracked),
        because=verdict.because,
        begun_at=at,
        reply=None,
        told_code=None,
        looked_at=None,
    )
    submissions.insert(connection, row)
    names = (row.message_id, alike(row.copy_fingerprint))
    submissions.add_hashes(connection, row.account, map(hash, names), row.id)
    submissions.step(connection, row.id, at, "begun", "kept on disk; about to be handed to the provider")
    if row.tracked:
        _log(connection, account, submission, row, match, known, at)
    return Begun(row.id, envelope, kept.with_header(wire_form(kept.header, hidden=hidden)))


def _hidden(account: Account, envelope: Envelope) -> frozenset[str]:
    """The dropbox, unless the mail goes to nobody else: then it is a recipient like any other."""
    if not account.dropbox or mailbox_key(account.dropbox) in {
        mailbox_key(each.address) for each in envelope.recipients
    }:
        return frozenset()
    return frozenset({account.dropbox})


def _log(
    connection: sa.Connection,
    account: Account,
    submission: Submission,
    row: Submitted,
    match: ThreadMatch | None,
    known: frozenset[str],
    at: datetime,
) -> None:
    there = timeline.known(connection, row.account, [row.message_id]).get(row.message_id)
    if there is not None:
        timeline.resubmitted(connection, there.message, row.id)
        return
    entry = outgoing_entry(account, submission.heading, submission.envelope, match, known, row, submission.source, at)
    timeline.insert(connection, entry)


def sent(connection: sa.Connection, accounts: Mapping[str, Account], event: Sent, hash: Hash) -> Taken:
    """The provider took it: the log, the due Sent copy, the CRM's copies, in this one transaction.

    Hearing of it twice changes nothing.
    """
    row = submissions.get(connection, event.id)
    if row is None or row.state is State.SENT:
        return Taken()
    account = accounts.get(row.account)
    waited = spool.holds(connection, event.id)
    if waited:
        spool.take_out(connection, event.id)
    submissions.ended(connection, event.id, State.SENT, event.at, event.reply)
    submissions.step(connection, event.id, event.at, "taken by the provider", event.reply.text)
    host = account.provider.smtp.host if account is not None else ""
    people = (row.envelope.sender, *(each.address for each in row.envelope.recipients))
    renamed = ids_in_reply(event.reply.lines, host, people)
    if renamed:
        submissions.add_hashes(connection, row.account, map(hash, renamed), row.id)
    message = timeline.set_state(connection, event.id, State.SENT) if row.tracked else None
    late = False
    if message is not None:
        since = row.begun_at if renamed_late(row.begun_at, event.at) else None
        late = finding.name(connection, row.account, message, renamed, since)
        ledger.owe(connection, message, crms_of(account), event.at)
    owed = _owe_sent_copy(connection, account, row, event.at, waited=waited)
    if row.tracked and account is not None:
        _owe_dropbox_copy(connection, account, row, event)
    nothing_owed = not row.tracked and not owed
    return Taken(row.account if owed else None, message, nothing_owed, late)


def _owe_dropbox_copy(connection: sa.Connection, account: Account, row: Submitted, event: Sent) -> None:
    """The CRM's copy: to be sent, or what became of it where it was part of the person's own transaction."""
    refused = {mailbox_key(address): reply for address, reply in event.without}
    went_to = [each.address for each in row.envelope.recipients if not each.optional]
    in_it = {mailbox_key(each.address) for each in row.envelope.recipients if each.optional}
    for address in dropbox.copies(tracking_settings(account), Tracked(row.because), went_to):
        outbox.add_dropbox(connection, event.id, row.account, address, event.at)
        reply = refused.get(mailbox_key(address))
        if reply is not None:
            wait = dropbox.next_try(NotAccepted(reply), 1, 0.5)
            due = None if wait is None else event.at + timedelta(seconds=wait)
            dropbox_event(connection, DropboxPostponed(event.id, reply.text, due, event.at))
        elif mailbox_key(address) in in_it:
            dropbox_event(connection, DropboxSent(event.id, event.reply, event.at))


def _owe_sent_copy(
    connection: sa.Connection, account: Account | None, row: Submitted, at: datetime, *, waited: bool
) -> bool:
    """`waited`: in the spool, so that its client may have filed its own copy by now."""
    of, settle = ("nothing", 0.0) if account is None else (account.sent_copy.of, account.sent_copy.settle)
    there = sent_copies.accepted(connection, row.id, at, at + timedelta(seconds=settle)) if waited else None
    if there is not None:
        return there.state is CopyState.WAITING
    wanted = of == "everything" or (of == "tracked" and row.tracked)
    state = CopyState.WAITING if wanted else CopyState.NOT_WANTED
    sent_copies.insert(connection, row.id, row.account, state, at, at + timedelta(seconds=settle))
    return wanted


def not_sent(connection: sa.Connection, event: NotSent) -> None:
    """The provider does not have it. An untracked message leaves nothing; a tracked one is logged as refused. One from
    the spool, of which a person has found that out, is kept until they decide."""
    row = submissions.get(connection, event.id)
    if row is None or row.state is State.SENT:
        return
    submissions.ended(connection, event.id, State.REFUSED, event.at, event.reply, event.why)
    submissions.step(connection, event.id, event.at, "not sent", event.why or event.reply.text)
    timeline.set_state(connection, event.id, State.REFUSED)
    if spool.holds(connection, event.id):
        spool.failed(connection, event.id, event.why, None)
        spool.reported(connection, event.id)
        sent_copies.not_wanted(connection, event.id)
    elif not row.tracked:
        submissions.empty(connection, event.id)


def unknown(connection: sa.Connection, event: SendUnknown) -> str | None:
    """Returns the account in whose mailbox it is to be looked for."""
    row = submissions.get(connection, event.id)
    if row is None or row.state is State.SENT:
        return None
    submissions.ended(connection, event.id, State.UNKNOWN, event.at, None, event.why)
    if spool.holds(connection, event.id):
        spool.unknown(connection, event.id, event.why, event.at)
    submissions.step(connection, event.id, event.at, "outcome unknown", event.why)
    timeline.set_state(connection, event.id, State.UNKNOWN)
    return row.account


def looked(connection: sa.Connection, event: LookedFor) -> None:
    """Whose client heard 250 is to be told that nobody knows."""
    submissions.looked(connection, event.id, event.at)
    spool.owe_report(connection, event.id)
    submissions.step(connection, event.id, event.at, "looked for, not found", event.where)


def dropbox_event(connection: sa.Connection, event: DropboxSent | DropboxPostponed) -> None:
    if isinstance(event, DropboxSent):
        outbox.dropbox_settled(connection, event.id)
        submissions.step(connection, event.id, event.at, "dropbox copy taken by the provider", event.reply.text)
        return
    outbox.dropbox_settled(connection, event.id, event.error, event.due)
    what = "dropbox copy given up" if event.due is None else "dropbox copy postponed"
    submissions.step(connection, event.id, event.at, what, event.error)


def tidy(connection: sa.Connection, now: datetime) -> None:
    """Nothing of an untracked mail is kept for ever, not even of one that was never settled."""
    for id in submissions.never_settled(connection, now - KEPT_UNKNOWN, now - KEPT_UNFILED):
        submissions.empty(connection, id)


def after_start(connection: sa.Connection, now: datetime) -> set[str]:
    """Nothing is on its way any more. Returns the accounts in whose mailboxes there is something to look for."""
    content.drop_orphans(connection)
    tidy(connection, now)
    ahead.bring_back(connection, now)
    for id in outbox.interrupted_dropboxes(connection):
        why = "proxyd stopped while the copy was being handed over; it is not sent a second time"
        dropbox_event(connection, DropboxPostponed(id, why, None, now))
    waiting = {each.id for each in spool.every(connection) if each.trying_since is None}
    for row in submissions.in_state(connection, State.SUBMITTING):
        if row.id in waiting:  # it was certainly not being handed over
            continue
        unknown(connection, SendUnknown(row.id, STOPPED, now))
    return {row.account for row in submissions.in_state(connection, State.UNKNOWN)}
