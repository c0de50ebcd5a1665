"""From where we stood in a folder to its end: the new messages' few fields, and of what belongs to the log, the rest.

Privacy is decided here, in this order. Of every new UID only the fields that name messages are read (and those that
the account's settings ask for: To and Cc of the person's own sent mail, From for `incoming: contacts`). Only of those
that the rules may log are the people read; only of those that they do log, the message. Nothing else is requested.

The position in a folder (`watcher.positions`) is what was read, never what was announced: a UID that the server shows
and does not deliver holds the position back, and is asked for again. What is found is committed before or with the
position behind it, so that a crash in between finds it a second time, and the log takes nothing twice. The time of the
position is that of the last look that saw everything: in the middle of a long way it stays what it was.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.formats.message import mailbox_key, split_header
from proxyd.journal import Journal
from proxyd.model import (
    Direction,
    Found,
    Heading,
    MailboxPosition,
    Seen,
    Source,
    ThreadMatch,
    Tracked,
)
from proxyd.provider.imap import PART, Connection, Opened, Unreachable
from proxyd.rules import again, threads, tracking
from proxyd.rules.threads import KnownMessage
from proxyd.watcher.batch import Batch, batches
from proxyd.watcher.late_reports import Late, LateReports
from proxyd.watcher.positions import ANCHORS, NAMES, Positions
from proxyd.watcher.reports import Reports
from proxyd.watcher.sent_copy import SentCopies
from proxyd.watcher.session import Session
from proxyd.watcher.suggestions import Suggesting
from proxyd.workers import Clock

log = structlog.get_logger()

ORIGINAL_NAMES = ("X-MICROSOFT-ORIGINAL-MESSAGE-ID", "X-GOOGLE-ORIGINAL-MESSAGE-ID")
PEOPLE = ("FROM", "SENDER", "TO", "CC", "CONTENT-TYPE")

FINDINGS = 8  # messages on their way into the log at once: each holds its first part in memory
CHUNK = 256 * 1024  # octets
INSIST = (0.5, 1.0, 2.0)  # seconds between requests for what was announced and is not delivered
TRIES = 3  # at logging a message that our own code stumbles over
FAULTS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
GIVE_UP = timedelta(hours=1)  # after which an undeliverable UID is passed over, loudly


class MailboxContent:
    """A message in the open folder, fetched in parts while it is read; only the first is held."""

    def __init__(self, session: Session, uid: int, size: int, first: bytes) -> None:
        self._session = session
        self._uid = uid
        self._first = first
        self._size = len(first) if len(first) < PART else max(size, len(first))

    @property
    def size(self) -> int:
        return self._size

    async def chunks(self) -> AsyncIterator[bytes]:
        part, offset = self._first, 0
        while part:
            for start in range(0, len(part), CHUNK):
                yield part[start : start + CHUNK]
            offset += len(part)
            if len(part) < PART and offset >= self._size:
                return
            fetched = await self._session.do(Connection.part, self._uid, offset)
            if fetched is None:
                raise Unreachable("a message went away while it was read")
            part = fetched


@dataclass(frozen=True, slots=True)
class Wanted:
    """Why a message goes into the log."""

    verdict: Tracked
    match: ThreadMatch | None
    direction: Direction
    source: Source


class CatchUp:
    """Reads an account's folders; `copies` hears of what arrives in Sent."""

    def __init__(self, account: Account, journal: Journal, clock: Clock, copies: SentCopies) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._copies = copies
        self.positions = Positions(account.address, journal, clock)
        self.rules = tracking.TrackingSettings(
            address=account.address,
            aliases=tuple(account.aliases),
            track=account.track,
            never_log=tuple(account.never_log),
            dropbox=account.dropbox,
            incoming=account.incoming,
            plus_tags=account.plus_tags,
        )
        self._late = LateReports(account.address, journal, clock)
        self._suggesting = Suggesting(account, journal, self.rules, self._accepted)
        self._withheld: dict[tuple[str, int, int], float] = {}  # (folder, UIDVALIDITY, UID) → since when
        self._faults: dict[tuple[str, int, int], int] = {}  # (folder, UIDVALIDITY, UID) → how often

    async def read(
        self, session: Session, opened: Opened, *, sent: bool, logged: bool = True, junk: bool = False
    ) -> tuple[int, bool]:
        """Read the open folder on from its position. `sent`: it is the Sent folder; `logged`: its mail may be logged;
        `junk`: an author there proves nothing, so that nothing is logged or suggested by it.

        Returns how many new messages were read, and whether everything that was announced was delivered.
        """
        if not sent:
            await self._suggesting.settle(session, opened)
            await self._read_late_reports(session, opened)
        position = await self.positions.of(session, opened)
        if position is None:
            return 0, False
        count = 0
        while True:
            at = self._clock.now()
            uids = await session.do(Connection.uids_from, position.uidnext)
            if not sent and self._account.incoming == "nothing":
                if uids:
                    await self._moved(opened, position, uids[-1] + 1, seen_at=at)
                return len(uids), True
            async with contextlib.aclosing(batches(session, uids, self._names(sent))) as ahead:
                async for asked, batch in ahead:
                    seen_at = at if asked[-1] == uids[-1] else None
                    position, whole = await self._read_batch(
                        session, opened, asked, batch, position, sent=sent, logged=logged, junk=junk, seen_at=seen_at
                    )
                    if not whole:
                        return count, False
                    count += len(asked)
            if not session.take_news():
                return count, True

    async def _read_batch(
        self,
        session: Session,
        opened: Opened,
        uids: Sequence[int],
        batch: Batch,
        position: MailboxPosition,
        *,
        sent: bool,
        logged: bool,
        junk: bool,
        seen_at: datetime | None,
    ) -> tuple[MailboxPosition, bool]:
        """`batch` is what the server gave of these UIDs. `seen_at`: when it named them, where they are the last ones;
        None where more follow."""
        batch, withheld = await self.insist(session, opened, uids, batch, self._names(sent))
        rest = batch.uids
        if sent:  # copies of what went through us are for `copies`
            ours = await self._copies.arrived(session, opened, batch.headings(rest))
            rest = [uid for uid in rest if uid not in ours and logged]
        commit = functools.partial(self._moved, opened, position, position.uidnext)
        seen = await self._found(session, opened, batch, rest, commit, sent=sent, junk=junk)
        end, at = min(withheld, default=uids[-1] + 1), None if withheld else seen_at
        goes_on = seen_at is None and not withheld
        after = await self._moved(opened, position, end, seen, seen_at=at, read=batch, goes_on=goes_on)
        return after, not withheld

    async def _found(
        self,
        session: Session,
        opened: Opened,
        batch: Batch,
        rest: Sequence[int],
        commit: Callable[[Sequence[Seen]], Awaitable[object]],
        *,
        sent: bool,
        junk: bool,
    ) -> list[Seen]:
        """What of the `rest` of the batch belongs to the log. Where it is much, or may be answered by others, it is
        committed meanwhile; what is returned is not yet."""
        seen: list[Seen] = []
        reports = Reports(self._address, self._journal)
        known: Mapping[str, KnownMessage] = {}
        while rest:
            known = await self._journal.tracked(self._address, batch.named(rest))
            if sent:
                wanted = await self._outgoing(batch.headings(rest), known)
            else:
                wanted = await self._incoming(session, batch, rest, known, reports, junk)
            for uid, why in wanted.items():
                if len(seen) == FINDINGS:
                    await commit(seen)
                    seen = []
                if (found := await self.message(session, opened, uid, why)) is not None:
                    seen.append(found)
            rest = [uid for uid in rest if uid not in wanted]
            if not wanted or batch.named(wanted).isdisjoint(batch.named(rest)):
                break
            # One of the others may answer what is in the log only now.
            await commit(seen)
            seen = []
        if not sent:
            there = [uid for uid in rest if not known.keys().isdisjoint(batch.ids[uid])] if known else []
            async for found in self._again(session, opened, batch.headings(there), known):
                seen.append(found)
                if len(seen) >= FINDINGS:
                    await commit(seen)
                    seen = []
            if not junk:
                await self._suggesting.look(session, opened, batch, rest)
            await self._late.keep(opened, reports.unmatched)
        return seen

    async def read_again(
        self, session: Session, opened: Opened, uids: Sequence[int], *, sent: bool, junk: bool
    ) -> bool:
        """Messages in the open folder that were read before what they name was on record go the way of new mail; no
        position moves. False: the server withholds one of them."""
        names = self._names(sent)
        batch = Batch(await session.do(Connection.fields, uids, names))
        batch, withheld = await self.insist(session, opened, uids, batch, names)
        ours = await self._copies.among(session, batch.headings(batch.uids)) if sent else frozenset()
        rest = [uid for uid in batch.uids if uid not in ours]
        commit = functools.partial(self._log_each, opened)
        await commit(await self._found(session, opened, batch, rest, commit, sent=sent, junk=junk))
        return not withheld

    async def _moved(
        self,
        opened: Opened,
        before: MailboxPosition,
        end: int,
        seen: Sequence[Seen] = (),
        *,
        seen_at: datetime | None = None,
        read: Batch | None = None,
        goes_on: bool = False,
    ) -> MailboxPosition:
        """Every UID below `end` was looked at: the new position, durable together with what was found. Where nothing
        was, and reading `goes_on`, it becomes durable with what follows: were it lost, they would be read again."""
        end = max(before.uidnext, end)
        anchors = self.positions.anchors(before, read.newest(end, ANCHORS) if read is not None else {})
        read_at = before.read_at if read is None else self._clock.now()
        after = MailboxPosition(opened.uidvalidity, end, seen_at or before.seen_at, anchors, read_at)
        try:
            durable = bool(seen) or not goes_on
            await self._journal.set_position(self._address, opened.name, after, seen, durable=durable)
        except FAULTS:
            await self._log_each(opened, seen)
            await self._journal.set_position(self._address, opened.name, after)
        return after

    async def _log_each(self, opened: Opened, seen: Sequence[Seen]) -> None:
        """By itself each of them, for one that our own code cannot take (a fault of ours, that a stranger may have
        found) must not keep all others out for ever: after three tries it is passed over, loudly."""
        for each in seen:
            try:
                await self._journal.record(each)
            except FAULTS:
                place = (opened.name, opened.uidvalidity, each.found.uid)
                self._faults[place] = self._faults.get(place, 0) + 1
                if self._faults[place] < TRIES:
                    raise
                uid = each.found.uid
                log.exception("a message cannot be logged and is passed over", account=self._address, uid=uid)

    def _names(self, sent: bool) -> tuple[str, ...]:
        if sent:
            return (*NAMES, "TO", "CC", *ORIGINAL_NAMES)
        return (*NAMES, "FROM") if self._account.incoming == "contacts" else NAMES

    async def insist(
        self, session: Session, opened: Opened, uids: Sequence[int], batch: Batch, names: Sequence[str]
    ) -> tuple[Batch, list[int]]:
        """With what is given when it is asked for again, and the UIDs that the server still withholds then."""
        withheld = [uid for uid in uids if uid not in batch.ids]
        for pause in INSIST:
            if not withheld:
                break
            await self._clock.sleep(pause)
            await session.do(Connection.noop)
            there = frozenset(await session.do(Connection.uids_from, withheld[0]))
            withheld = [uid for uid in withheld if uid in there]  # the others were expunged meanwhile
            batch = batch.joined(await session.do(Connection.fields, withheld, names))
            withheld = [uid for uid in withheld if uid not in batch.ids]
        return batch, [uid for uid in withheld if not self._given_up(opened, uid)]

    def _given_up(self, opened: Opened, uid: int) -> bool:
        now = self._clock.monotonic()
        since = self._withheld.setdefault((opened.name, opened.uidvalidity, uid), now)
        if now - since < GIVE_UP.total_seconds():
            return False
        log.warning("a message was announced and never delivered", account=self._address, uid=uid)
        return True

    # --- what of it belongs to the log ---------------------------------------------------------------------

    async def _incoming(
        self,
        session: Session,
        batch: Batch,
        uids: Sequence[int],
        known: Mapping[str, KnownMessage],
        reports: Reports,
        junk: bool,
    ) -> dict[int, Wanted]:
        """`known` are the messages in the log that any of these `uids` names."""
        naming = [uid for uid in uids if not known.keys().isdisjoint(batch.ids[uid])] if known else []
        headings = batch.headings(naming)
        logged = {uid for uid, each in headings.items() if each.message_id in known}
        new = [uid for uid in uids if uid not in logged]
        answers = ((uid, threads.match(each, known)) for uid, each in headings.items() if uid not in logged)
        matches = {uid: match for uid, match in answers if match is not None}
        about = await reports.find(session, [uid for uid in new if uid not in matches])
        matches |= about
        authors: dict[int, frozenset[str]] = {}
        contacts: frozenset[str] = frozenset()
        if self._account.incoming == "contacts" and not junk:
            authors = {uid: _keys(batch.heading(uid)) for uid in new}
            contacts = await self._journal.known_contacts(itertools.chain.from_iterable(authors.values()))
        maybe = [uid for uid in new if uid in matches or not contacts.isdisjoint(authors.get(uid, ()))]
        people = await session.do(Connection.fields, maybe, PEOPLE) if maybe else {}
        wanted = {}
        for uid in maybe:
            said = read_heading(people.get(uid, b""))
            if uid not in people or _keys(said) & self._account.own:
                continue  # gone, or our own mail come back to us
            match = matches.get(uid)
            report = uid in about or said.content_type == "multipart/report"
            verdict = tracking.incoming(self.rules, said, contacts=contacts, match=match, report=report)
            if isinstance(verdict, Tracked):
                source = Source.REPLY if match else Source.CONTACT
                wanted[uid] = Wanted(verdict, match, Direction.INCOMING, source)
        return _once(wanted, batch.headings(wanted))

    async def _read_late_reports(self, session: Session, opened: Opened) -> None:
        """Reports that were read before what they are about was logged. The folder that is open stays so."""
        due = await self._late.due()
        by_folder: dict[str, list[Late]] = {}
        for late in due:
            by_folder.setdefault(late.folder, []).append(late)
        for name, those in by_folder.items():
            try:
                there = await session.do(Connection.examine, name)
            except Refused as error:
                log.info("a report's folder cannot be opened", account=self._address, why=error.evidence)
                continue
            uids = [each.uid for each in those if each.uidvalidity == there.uidvalidity]
            batch = Batch(await session.do(Connection.fields, uids, self._names(False)))
            reports = Reports(self._address, self._journal)
            wanted = await self._incoming(session, batch, batch.uids, {}, reports, junk=False)
            for uid, why in wanted.items():
                if (seen := await self.message(session, there, uid, why)) is not None:
                    await self._journal.record(seen)
        if due:
            await self._late.forget(due)
            await session.do(Connection.examine, opened.name)

    async def _outgoing(self, headings: Mapping[int, Heading], known: Mapping[str, KnownMessage]) -> dict[int, Wanted]:
        """Of the Sent folder: what was sent from elsewhere. `known` as in `_incoming`."""
        own = [id for each in headings.values() for id in (each.message_id, *each.original_ids)]
        through_us = await self._journal.submitted(self._address, own)
        people = [one.address for each in headings.values() for one in (*each.to, *each.cc)]
        contacts = await self._journal.known_contacts(people)
        wanted = {}
        for uid, each in headings.items():
            if any(id in known or id in through_us for id in (each.message_id, *each.original_ids)):
                continue
            match = threads.match(each, known)
            recipients = [one.address for one in (*each.to, *each.cc)]
            verdict = tracking.decide(
                self.rules, each, recipients, contacts=contacts, answers=match.message if match else None
            )
            if isinstance(verdict, Tracked):
                wanted[uid] = Wanted(verdict, match, Direction.OUTGOING, Source.SENT_FOLDER)
        return _once(wanted, headings)

    async def _again(
        self, session: Session, opened: Opened, headings: Mapping[int, Heading], known: Container[str]
    ) -> AsyncIterator[Seen]:
        """Of what is left, the messages that are logged already and may now hold more than they did.

        The others are moved, or delivered a second time as they were, or somebody else's under a known Message-ID.
        """
        ids = {each.message_id: uid for uid, each in headings.items() if each.message_id in known}
        if not (there := await self._journal.logged_before(self._address, list(ids))):
            return
        fields = await session.do(Connection.fields, sorted(ids[id] for id in there), (*NAMES, *PEOPLE, "DATE"))
        for id, logged in there.items():
            facts = await session.do(Connection.facts, ids[id])
            if facts is None or facts.size == logged.size or ids[id] not in fields:
                continue
            if not again.same_message(logged.heading, read_heading(fields[ids[id]])):
                await self._journal.leave_alone(logged.message, "another author, date or thread")
                continue
            why = Wanted(Tracked("it is logged already"), None, Direction.INCOMING, Source.REPLY)
            if (found := await self.message(session, opened, ids[id], why)) is not None:
                yield replace(found, again=logged.message)

    async def _accepted(self, session: Session, opened: Opened, uid: int, because: Tracked, match: ThreadMatch) -> bool:
        """Log a message that a person put into a conversation; False = it has gone meanwhile."""
        seen = await self.message(session, opened, uid, Wanted(because, match, Direction.INCOMING, Source.REPLY))
        if seen is None:
            return False
        await self._journal.record(seen)
        return True

    async def message(self, session: Session, opened: Opened, uid: int, why: Wanted) -> Seen | None:
        """The message itself: it is tracked, and only now it is asked for. None = it has gone meanwhile."""
        facts = await session.do(Connection.facts, uid)
        first = await session.do(Connection.part, uid, 0)
        if facts is None or not first:
            return None
        end = split_header(first)
        return Seen(
            account=self._address,
            direction=why.direction,
            source=why.source,
            heading=read_heading(first if end is None else first[:end]),
            content=MailboxContent(session, uid, facts.size, first),
            found=Found(opened.name, opened.uidvalidity, uid, facts.internaldate),
            at=self._clock.now(),
            verdict=why.verdict,
            match=why.match,
        )


def _keys(heading: Heading) -> frozenset[str]:
    return frozenset(mailbox_key(each.address) for each in heading.from_)


def _once(wanted: Mapping[int, Wanted], headings: Mapping[int, Heading]) -> dict[int, Wanted]:
    """One message that lies there twice is fetched once."""
    first: dict[str, int] = {}
    for uid in wanted:
        first.setdefault(headings[uid].message_id or f"\0{uid}", uid)
    return {uid: wanted[uid] for uid in first.values()}
