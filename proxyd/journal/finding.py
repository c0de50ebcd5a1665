"""What is written of messages that are found in the mailbox: answers, mail sent from elsewhere, Sent copies.

Every function that takes a connection is one job of the writer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.formats.fields import split_header
from proxyd.journal import reports
from proxyd.journal.entries import Hash, crms_of, seen_entry, seen_people
from proxyd.journal.intake import Intake, KeptContent
from proxyd.journal.marks import to_be_marked
from proxyd.model import (
    Body,
    CopyAppending,
    CopyPostponed,
    CopyPresent,
    CopyPromised,
    CopyState,
    Direction,
    FiledBy,
    Seen,
    State,
    mailbox_key,
)
from proxyd.reported import NO_REPORT, Report
from proxyd.rules import notices
from proxyd.rules.late_answers import looked_from
from proxyd.store import contacts, content, late_looks, ledger, marks, sent_copies, spool, submissions, timeline
from proxyd.store.sent_copies import SentCopy

KeepContent = Callable[[sa.Connection, str], KeptContent | None]  # a submission's filed form, None once it is gone


@dataclass(frozen=True, slots=True)
class DueCopy:
    """A Sent copy as the watcher sees it. `ids` is empty once the message is gone and only `id_hashes` are left;
    `content` is the filed form, None once it is gone. `appended_uid` is ours, in `folder` at `uidvalidity`."""

    id: str
    account: str
    ids: tuple[str, ...]
    id_hashes: tuple[str, ...]
    fingerprint: str
    accepted_at: datetime
    due: datetime
    attempts: int
    appending_since: datetime | None
    folder: str
    uidvalidity: int
    appended_uid: int | None
    state: CopyState
    by: FiledBy | None
    copies: int
    content: KeptContent | None
    sender: str = ""  # the reverse-path
    uid: int | None = None  # of a copy that is there, in `folder` at `uidvalidity`
    relayed: bool = True  # it went through us; False: it was found in Sent
    promised: frozenset[str] | None = None  # flags of an upload that was answered in its stead
    spooled: bool = False  # it waits here: the provider does not have it yet
    tracked: bool = False

    @property
    def wanted(self) -> bool:
        return self.state is not CopyState.NOT_WANTED


@dataclass(frozen=True, slots=True)
class UnknownSubmission:
    """`begun_at`: when the try began of which it is not known what came of it. `spooled`: its client heard 250."""

    id: str
    ids: tuple[str, ...]
    fingerprint: str
    begun_at: datetime
    looked_at: datetime | None
    spooled: bool = False


def alike(fingerprint: str) -> str:
    """What stands beside the Message-IDs for a copy that has none: no id, for it holds a space."""
    return f"copy {fingerprint}"


def ids_of(connection: sa.Connection, account: str, message_id: str) -> tuple[str, ...]:
    """Every Message-ID of what was submitted under this one."""
    if not message_id:
        return ()
    logged = timeline.known(connection, account, [message_id]).get(message_id)
    others = timeline.ids_of(connection, logged.message) if logged else ()
    return tuple(dict.fromkeys((message_id, *others)))


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message on its way into the log: its record's id and its octets as chunks, header section first."""

    seen: Seen
    intake: Intake
    message_id: str
    report: Report = NO_REPORT
    body: Body | None = None  # read on its way, where it is to be compared with what is logged

    @property
    def id(self) -> str:
        return self.intake.id


def without_id(header: bytes) -> str:
    """A name for a message that has no Message-ID: the same header gives the same name (RFC 2606's .invalid)."""
    return f"{hashlib.sha256(header).hexdigest()[:40]}@no-message-id.invalid"


def header_and_body(first: bytes) -> tuple[bytes, bytes]:
    """The first chunks of a message, cut behind the header section."""
    end = split_header(first)
    return (first, b"") if end is None else (first[:end], first[end:])


def log_seen(connection: sa.Connection, account: Account | None, arrived: Arrived, hash: Hash) -> str | None:
    """Log a message that was found; None where it is logged already (its octets are dropped again)."""
    seen, message_id = arrived.seen, arrived.message_id
    names = (message_id, *seen.heading.original_ids)
    there = timeline.known(connection, seen.account, names)
    if there:
        content.drop(connection, arrived.id)
        if seen.direction is Direction.OUTGOING:  # the client's copy and the provider's, under an id of its own
            owner = next(iter(there.values())).message
            submissions.add_hashes(connection, seen.account, map(hash, names), owner)
            name(connection, seen.account, owner, names, looked_from(seen))
        return None
    arrived.intake.finish(connection)
    entry = _entry(connection, account, arrived)
    timeline.insert(connection, entry)
    timeline.join_threads(connection, seen.account, entry.thread, (message_id, *entry.ids))
    ledger.owe(connection, arrived.id, crms_of(account, entry.kind), seen.at)
    submissions.add_hashes(connection, seen.account, map(hash, names), arrived.id)
    if (since := looked_from(seen)) is not None:
        late_looks.owe(connection, seen.account, arrived.id, since)
    submissions.step(connection, arrived.id, seen.at, "found in the mailbox", f"{seen.found.folder}")
    if seen.direction is Direction.OUTGOING:
        sent_copies.insert(connection, arrived.id, seen.account, CopyState.WAITING, seen.at, seen.at)
        sent_copies.present(connection, arrived.id, seen.found, FiledBy.CLIENT, 1)
    return arrived.id


def _entry(connection: sa.Connection, account: Account | None, arrived: Arrived) -> timeline.Entry:
    """Its row. What it reports on is noted at the message that it is about, and stands with that one's recipients."""
    seen, message_id = arrived.seen, arrived.message_id
    own = account.own if account else frozenset()
    people = frozenset(seen_people(seen.heading)) - own
    notice, participant = notices.PERSONS, None
    if seen.direction is Direction.INCOMING:
        notice = notices.notice(seen.heading, arrived.report)
        about = reports.subject_of(connection, seen.account, arrived.report, seen.match)
        if about is not None:
            seen = replace(seen, match=about)
            told = reports.statuses(connection, notice, arrived.report, about.message)
            reports.note(connection, about.message, told, notice, arrived.id, seen.at)
            people |= {mailbox_key(each.address) for each in told} - own
        participant = reports.participant(connection, seen.account, about, seen.heading, notice)
    known = contacts.known(connection, people)
    return seen_entry(seen, arrived.id, message_id, people, known, notice, participant)


def logged_under(connection: sa.Connection, account: str, hashes: Collection[str]) -> frozenset[str]:
    """Those of these hashed ids that a logged message has."""
    owners = submissions.owners(connection, list(hashes), account)
    return frozenset(digest for digest, owner in owners.items() if timeline.is_logged(connection, owner))


def name(connection: sa.Connection, account: str, message: str, ids: Iterable[str], since: datetime | None) -> bool:
    """A logged message is known by these ids too; True: what was read `since` then (None: nothing was) is to be looked
    through for answers that name a new one."""
    if not timeline.name(connection, account, message, ids) or since is None:
        return False
    late_looks.owe(connection, account, message, since)
    return True


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows of a Sent copy that is there. `account`: the one of a logged message; "" of any other. `late`:
    answers to an id that was not known before are to be looked for; `marked`: the copy is to show that it is logged."""

    account: str = ""
    late: bool = False
    marked: bool = False


def copy_present(connection: sa.Connection, accounts: Mapping[str, Account], event: CopyPresent, hash: Hash) -> Settled:
    """The Sent copy is there. With that, nothing is owed of an untracked message."""
    row = submissions.get(connection, event.id)
    before = sent_copies.get(connection, [event.id]).get(event.id)
    sent_copies.present(connection, event.id, event.found, event.by, event.copies)
    if row is None:  # it was found in Sent, and so was this other copy of it
        place = timeline.places(connection, [event.id]).get(event.id)
        if before is None or place is None:
            return Settled()
        submissions.add_hashes(connection, before.account, map(hash, event.ids), event.id)
        since = min(before.accepted_at, place.date)
        return _logged_copy(connection, accounts, event, before.account, event.id, since)
    if before is None or (before.state, before.by, before.copies) != (CopyState.PRESENT, event.by, event.copies):
        who = "proxyd" if event.by is FiledBy.PROXYD else f"the {event.by}"
        copies = "one Sent copy" if event.copies == 1 else f"{event.copies} Sent copies"
        what = f"{copies} present, filed by {who}"
        submissions.step(connection, event.id, event.at, what, event.found.folder)
    if event.flags is not None:
        sent_copies.promise_kept(connection, event.id, event.flags)
    submissions.add_hashes(connection, row.account, map(hash, event.ids), event.id)
    message = timeline.of_submission(connection, event.id)
    if not row.tracked:
        submissions.empty(connection, event.id)
    if message is None:
        return Settled()
    return _logged_copy(connection, accounts, event, row.account, message, row.begun_at)


def _logged_copy(
    connection: sa.Connection,
    accounts: Mapping[str, Account],
    event: CopyPresent,
    account: str,
    message: str,
    since: datetime,
) -> Settled:
    marked = to_be_marked(accounts.get(account), event.found)
    if marked:
        marks.owe(connection, account, event.found, event.at)
    return Settled(account, name(connection, account, message, event.ids, since), marked)


def copy_uploaded(
    connection: sa.Connection, accounts: Mapping[str, Account], event: CopyPresent, hash: Hash
) -> Settled | None:
    """The client has put its own copy there. Where more than that is known or under way (ours, the provider's), it is
    for the watcher to look, and nothing is written: None."""
    row = sent_copies.get(connection, [event.id]).get(event.id)
    if row is None or row.state not in (CopyState.WAITING, CopyState.FAILED) or row.appending_since is not None:
        return None
    return copy_present(connection, accounts, event, hash)


def copy_promised(connection: sa.Connection, event: CopyPromised) -> None:
    sent_copies.promise(connection, event.id, event.flags)
    submissions.step(connection, event.id, event.at, "the client's upload answered; the provider files the copy")


def copy_appending(connection: sa.Connection, event: CopyAppending) -> None:
    sent_copies.appending(connection, event.id, event.folder, event.at)
    submissions.step(connection, event.id, event.at, "appending the Sent copy", event.folder)


def copy_postponed(connection: sa.Connection, event: CopyPostponed) -> None:
    sent_copies.postponed(connection, event.id, event.error, event.due, event.failed)
    what = "Sent copy given up" if event.failed else "Sent copy postponed"
    submissions.step(connection, event.id, event.at, what, event.error)


def unknown_submissions(connection: sa.Connection, account: str) -> list[UnknownSubmission]:
    """Those whose outcome is to be found by looking."""
    found = []
    for row in submissions.in_state(connection, State.UNKNOWN, account):
        ids = ids_of(connection, account, row.message_id)
        waited = spool.get(connection, row.id)
        began = row.begun_at if waited is None else waited.trying_since or row.begun_at
        spooled = waited is not None
        found.append(UnknownSubmission(row.id, ids, row.copy_fingerprint, began, row.looked_at, spooled))
    return found


def due_copies(connection: sa.Connection, account: str, keep: KeepContent) -> list[DueCopy]:
    return [due_copy(connection, row, keep) for row in sent_copies.waiting(connection, account)]


def promised_copies(connection: sa.Connection, account: str, keep: KeepContent) -> list[DueCopy]:
    return [due_copy(connection, row, keep) for row in sent_copies.promised(connection, account)]


def copy(connection: sa.Connection, id: str, keep: KeepContent) -> DueCopy | None:
    row = sent_copies.get(connection, [id]).get(id)
    return None if row is None else due_copy(connection, row, keep)


def due_copy(connection: sa.Connection, row: SentCopy, keep: KeepContent) -> DueCopy:
    submission = submissions.get(connection, row.id)
    ids = ids_of(connection, row.account, submission.message_id) if submission else ()
    return DueCopy(
        id=row.id,
        account=row.account,
        ids=ids,
        id_hashes=submissions.hashes_of(connection, row.id),
        fingerprint=submission.copy_fingerprint if submission else "",
        accepted_at=row.accepted_at,
        due=row.due,
        attempts=row.attempts,
        appending_since=row.appending_since,
        folder=row.folder,
        uidvalidity=row.uidvalidity,
        appended_uid=row.appended_uid,
        state=row.state,
        by=row.by,
        copies=row.copies,
        content=keep(connection, row.id),
        sender=submission.envelope.sender if submission else "",
        uid=row.uid,
        relayed=submission is not None,
        promised=row.promised,
        spooled=spool.holds(connection, row.id),
        tracked=submission is None or submission.tracked,
    )


def copies_of(
    connection: sa.Connection, account: str, ids: Sequence[str], hash: Hash, keep: KeepContent
) -> dict[str, DueCopy]:
    """The Sent copies, in whatever state, that belong to these Message-IDs, or to what `alike` makes."""
    hashed = {hash(each): each for each in ids}
    owners = submissions.owners(connection, list(hashed), account)
    rows = sent_copies.get(connection, list(owners.values()))
    return {
        hashed[digest]: due_copy(connection, rows[owner], keep) for digest, owner in owners.items() if owner in rows
    }
