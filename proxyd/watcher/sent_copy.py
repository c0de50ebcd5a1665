"""Exactly one copy of what was sent lies in the Sent folder, whoever put it there.

The rules (`proxyd.rules.sent_copy`) say what to do; here it is done, on the one connection that has the Sent folder
open. Copies are recognised by their ids, then by their fingerprint, for some clients and providers give a copy another
Message-ID. Before every APPEND is a look; before its first octet it is on record, so that after a crash or a lost
connection there is a look again and not a second APPEND. The one message that is ever removed is our own, by the UID
that the server gave it, in the same UIDVALIDITY, after its Message-ID was read once more and another copy was seen.

Also settled here, because it is the same look: submissions whose outcome nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError, Refused
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal, KeptContent
from proxyd.journal.finding import DueCopy, UnknownSubmission
from proxyd.journal.uploads import LookNow
from proxyd.model import (
    LOGGED_MARK,
    CopyAppending,
    CopyPostponed,
    CopyPresent,
    CopyState,
    FiledBy,
    Found,
    Heading,
    LookedFor,
    Sent,
    SmtpReply,
    Spooled,
)
from proxyd.provider.imap import Appended, Connection, Opened
from proxyd.rules import retry, spool
from proxyd.rules import sent_copy as rules
from proxyd.watcher.looking import Candidate, Looking
from proxyd.watcher.session import Session
from proxyd.workers import Clock

log = structlog.get_logger()

NOT_AT_ONCE = timedelta(seconds=2)  # between acceptance and APPEND, for a copy to be told from a client's by its date
LOOK_FOR = timedelta(hours=24)  # how long a message of unknown outcome is looked for
SEEN = r"\Seen"
OF_THE_SERVER = frozenset({r"\recent", r"\deleted"})  # flags that are never handed on
RETRY_REFUSED = 300.0  # seconds at least before an APPEND that the server refused is tried again

FOUND = SmtpReply(250, ("2.0.0 found in Sent",))


@dataclass(frozen=True, slots=True)
class _Until:
    """When a copy is to be looked for: `at`, or on the clock's monotonic scale. `record`: when it was accepted and due,
    by what that was worked out from; where that is another by now, it says nothing."""

    at: datetime
    monotonic: float
    record: tuple[datetime, datetime]


class SentCopies:
    """One account's. Every method works on a session that has the Sent folder open, and leaves it open."""

    def __init__(self, account: Account, journal: Journal, clock: Clock, jitter: Callable[[], float]) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._jitter = jitter
        self._looking = Looking(account, journal)
        # When a waiting copy is to be looked for, where that is not on record.
        self._until: dict[str, _Until] = {}
        self._plain = False  # the server takes no keyword of ours with an APPEND
        self._told: tuple[str, ...] = ()  # copies of which the journal knows that the provider cannot be reached
        self.reopened: Opened | None = None  # the Sent folder, where an APPEND gave it another UIDVALIDITY

    # --- as they arrive ------------------------------------------------------------------------------------

    async def arrived(self, session: Session, opened: Opened, headings: Mapping[int, Heading]) -> frozenset[int]:
        """New messages in Sent: settle those that are copies of what went through us; returns their UIDs."""
        found = await self._looking.arrived(session, headings)
        for copy in {copy.id: copy for copy, _ in found.values()}.values():
            candidates = [each for owner, each in found.values() if owner.id == copy.id and each is not None]
            if candidates:
                await self._arrived(session, opened, copy, candidates)
        return frozenset(found)

    async def among(self, session: Session, headings: Mapping[int, Heading]) -> frozenset[int]:
        """Those of these messages in Sent that are copies of what went through us; nothing is done about them."""
        return frozenset(await self._looking.arrived(session, headings))

    async def _arrived(self, session: Session, opened: Opened, copy: DueCopy, candidates: Sequence[Candidate]) -> None:
        if copy.state is CopyState.NOT_WANTED or self._is_uploading(copy):
            return  # what the client is uploading is judged when that has come to its end
        ours = copy.appended_uid if opened.uidvalidity == copy.uidvalidity else None
        if copy.state is CopyState.PRESENT and all(
            each.uid in (ours, self._on_record(opened, copy)) for each in candidates
        ):
            return
        if copy.state is CopyState.PRESENT:  # another one beside what is known: see how many there are by now
            candidates = await self._looking.of(session, copy)
            renumbered = copy.by is FiledBy.PROXYD and ours is None
            if renumbered and len(candidates) <= 1:
                return  # it is ours, under a new number that we cannot prove to be ours
        await self._act(session, opened, copy, candidates)

    def _is_uploading(self, copy: DueCopy) -> bool:
        began = self._clock.now() - timedelta(seconds=rules.UPLOAD_TAKES)
        return self._journal.uploads.passes(copy.id, began)

    def _on_record(self, opened: Opened, copy: DueCopy) -> int | None:
        """The UID of the copy that we know of."""
        return copy.uid if copy.state is CopyState.PRESENT and opened.uidvalidity == copy.uidvalidity else None

    # --- what is due ---------------------------------------------------------------------------------------

    async def settle(self, session: Session, opened: Opened) -> float | None:
        """Do what is due now; seconds until something is due again, None where nothing waits."""
        self._told = ()
        for look in self._journal.uploads.wanted(self._address):
            there = await self._look_now(session, opened, look)
            self._journal.uploads.looked(self._address, look, there=there)
        seen: dict[str, Sequence[Candidate]] = {}
        moments = [await self._resolve(session, opened, each, seen) for each in await self._unknown()]
        for copy in await self._journal.copies.due(self._address):
            if copy.promised is not None:  # somebody waits for it
                seen.setdefault(copy.id, await self._looking.of(session, copy))
            moments.append(await self._settle(session, opened, copy, seen.get(copy.id)))
        for copy in await self._journal.copies.promised(self._address):
            await self._act(session, opened, copy, await self._looking.of(session, copy))
        now = self._clock.now()
        return min((max((each - now).total_seconds(), 0.0) for each in moments if each is not None), default=None)

    async def waits(self) -> bool:
        """Is there anything that the Sent folder is needed for?"""
        return bool(await self._journal.copies.due(self._address) or await self._unknown())

    async def _look_now(self, session: Session, opened: Opened, look: LookNow) -> bool:
        """An upload came to its end, or waits for what we find: whether there is a copy."""
        copy = await self._journal.copies.of(look.id)
        candidates = await self._looking.of(session, copy, every_way=look.uploaded) if copy is not None else []
        at = look.found
        if copy is not None and at is not None and (at.folder, at.uidvalidity) == (opened.name, opened.uidvalidity):
            candidates = await self._with_upload(session, candidates, at.uid)
        if copy is not None and candidates:
            await self._act(session, opened, copy, candidates, uploaded=look.uploaded)
        return bool(candidates)

    async def _with_upload(self, session: Session, candidates: Sequence[Candidate], uid: int) -> list[Candidate]:
        """The client's is that with this UID, whatever it looks like."""
        others = [each for each in candidates if each.uid != uid]
        octets = (await self._looking.fields(session, [uid])).get(uid)
        return others if octets is None else [*others, Candidate(uid, read_heading(octets), True, uploaded=True)]

    async def out_of_reach(self, error: ProxydError) -> None:
        """The provider cannot be reached: say so once of every copy that would be due, so that it can be seen."""
        now = self._clock.now()
        for copy in await self._journal.copies.due(self._address):
            if copy.due <= now and copy.id not in self._told:
                self._told += (copy.id,)
                await self._journal.record(CopyPostponed(copy.id, str(error), now, now))

    async def _settle(
        self, session: Session, opened: Opened, copy: DueCopy, candidates: Sequence[Candidate] | None
    ) -> datetime | None:
        """One copy, until it waits, is there, or is given up; when to come back for it."""
        while True:
            action = rules.next_step(await self._facts(opened, copy, candidates))
            match action:
                case rules.Wait():
                    if self._journal.uploads.since(copy.id) is None:  # its end is told to us
                        left = (action.until - self._clock.now()).total_seconds()
                        later = self._clock.monotonic() + left
                        self._until[copy.id] = _Until(action.until, later, (copy.accepted_at, copy.due))
                    return action.until
                case rules.Look():
                    candidates = await self._looking.of(session, copy)
                case rules.Append():
                    return await self._append(session, opened, copy)
                case rules.Failed():
                    await self._postponed(copy, action.error, None)
                    return None
                case rules.Settled() | rules.RemoveOurs():
                    await self._act(session, opened, copy, candidates or ())
                    return None

    async def _facts(self, opened: Opened, copy: DueCopy, candidates: Sequence[Candidate] | None) -> rules.Facts:
        later = self._later_than(copy)
        return rules.Facts(
            accepted_at=copy.accepted_at,
            now=self._clock.now(),
            settle=self._account.sent_copy.settle,
            files_sent=await self._files_sent(),
            copies=None if candidates is None else self._copies(opened, copy, candidates),
            due=max(copy.due, later) if later else copy.due,
            appending_since=copy.appending_since,
            attempts=copy.attempts,
            promised=copy.promised is not None,
            uploading_since=self._journal.uploads.since(copy.id),
        )

    def _later_than(self, copy: DueCopy) -> datetime | None:
        """Whichever comes first: the machine may have slept, or its clock may have been set back."""
        until = self._until.get(copy.id)
        if until is None or until.record != (copy.accepted_at, copy.due):
            return None
        return min(until.at, self._clock.now() + timedelta(seconds=until.monotonic - self._clock.monotonic()))

    async def _files_sent(self) -> rules.FilesSent:
        known = await self._journal.learned(self._address, "files_sent")
        return rules.habit(self._account.provider.files_sent, known)

    def _copies(self, opened: Opened, copy: DueCopy, candidates: Sequence[Candidate]) -> tuple[rules.Copy, ...]:
        ours = copy.appended_uid if opened.uidvalidity == copy.uidvalidity else None
        known = {self._on_record(opened, copy): copy.by}
        if ours is not None:
            known[ours] = FiledBy.PROXYD
        return tuple(rules.Copy(each.uid, known.get(each.uid) or each.filed_by) for each in candidates)

    async def _act(
        self,
        session: Session,
        opened: Opened,
        copy: DueCopy,
        candidates: Sequence[Candidate],
        *,
        uploaded: bool = False,
    ) -> None:
        """Copies are there: put on record what is so, after taking ours back where it is one too many. `uploaded`: the
        client has just put its own there through us."""
        copy = await self._with_lost_append(session, opened, copy, candidates)
        copies = self._copies(opened, copy, candidates)
        if copy.state is CopyState.PRESENT and copy.by is FiledBy.PROXYD:
            copies = await self._with_ours(session, opened, copy, copies)
        known = await self._journal.learned(self._address, "files_sent") or ""
        if (after := rules.learned(known, copy.id, copies)) != known:
            await self._journal.learn(self._address, "files_sent", after)
        step = rules.next_step(self._given(copy, copies))
        if isinstance(step, rules.RemoveOurs):
            gone = [uid for uid in step.uids if await self._remove(session, opened, copy, uid, step.then.uid, uploaded)]
            left = len(copies) - len(gone)
            kept = next((uid for uid in step.uids if uid not in gone), None)
            if kept is None:
                await self._present(session, opened, copy, candidates, step.then.uid, step.then.by, left)
            else:  # ours stays on record as ours, so that it can go later
                await self._present(session, opened, copy, candidates, kept, FiledBy.PROXYD, left)
        elif isinstance(step, rules.Settled):
            await self._present(session, opened, copy, candidates, step.uid, step.by, step.copies)

    def _given(self, copy: DueCopy, copies: tuple[rules.Copy, ...]) -> rules.Facts:
        return rules.Facts(copy.accepted_at, self._clock.now(), self._account.sent_copy.settle, copies=copies)

    async def _with_ours(
        self, session: Session, opened: Opened, copy: DueCopy, copies: tuple[rules.Copy, ...]
    ) -> tuple[rules.Copy, ...]:
        """A search by id may find the person's copy and not ours, or the other way round: ask for ours by its UID."""
        ours = copy.appended_uid
        if ours is None or opened.uidvalidity != copy.uidvalidity or any(each.uid == ours for each in copies):
            return copies
        there = await session.do(Connection.fields, [ours], ("MESSAGE-ID",))
        return (*copies, rules.Copy(ours, FiledBy.PROXYD)) if ours in there else copies

    async def _with_lost_append(
        self, session: Session, opened: Opened, copy: DueCopy, candidates: Sequence[Candidate]
    ) -> DueCopy:
        """Is one of these the copy of our own APPEND whose answer was lost? Nothing lay there before it began."""
        began = copy.appending_since
        if began is None:
            return copy
        others = [each.uid for each in candidates if not each.uploaded]
        ours = [uid for uid in others if await self._bears_our_marks(session, copy, uid, began)]
        if len(ours) != 1:
            return copy
        if len(candidates) > 1:  # it is going to be removed: first of all it is on record as ours
            await self._present(session, opened, copy, candidates, ours[0], FiledBy.PROXYD, len(candidates))
        return replace(
            copy,
            state=CopyState.PRESENT,
            by=FiledBy.PROXYD,
            appending_since=None,
            folder=opened.name,
            uidvalidity=opened.uidvalidity,
            uid=ours[0],
            appended_uid=ours[0],
        )

    async def _bears_our_marks(self, session: Session, copy: DueCopy, uid: int, appended: datetime) -> bool:
        """The very date that we gave it, which a client's upload could have only by having come in that second, before
        we `appended` ours; and as many octets as ours."""
        if copy.content is None or appended - copy.accepted_at < NOT_AT_ONCE:
            return False
        facts = await session.do(Connection.facts, uid)
        accepted = copy.accepted_at.replace(microsecond=0)
        return facts is not None and facts.internaldate == accepted and facts.size == copy.content.size

    async def _present(
        self,
        session: Session,
        opened: Opened,
        copy: DueCopy,
        candidates: Sequence[Candidate],
        uid: int,
        by: FiledBy,
        copies: int,
    ) -> None:
        ids = dict.fromkeys(id for each in candidates for id in each.ids)
        self._until.pop(copy.id, None)
        found = Found(opened.name, opened.uidvalidity, uid)
        fresh = await self._journal.copies.of(copy.id)
        promised = fresh.promised if fresh is not None else None
        if promised:
            await self._mark(session, opened, uid, promised)
        now = self._clock.now()
        await self._journal.record(CopyPresent(copy.id, found, by, copies, now, tuple(ids), promised))

    async def _mark(self, session: Session, opened: Opened, uid: int, flags: frozenset[str]) -> None:
        """Add the client's flags, those that it said itself, to the copy that counts."""
        there = await session.do(Connection.flags, uid)
        if there is None or {each.lower() for each in flags} <= {each.lower() for each in there}:
            return
        await session.do(Connection.select, opened.name)
        try:
            await session.do(Connection.add_flags, uid, flags)
        except Refused as error:  # a keyword that this server does not keep
            log.info("flags refused", account=self._address, why=error.evidence)
        finally:
            await session.do(Connection.examine, opened.name)

    # --- doing ---------------------------------------------------------------------------------------------

    async def _append(self, session: Session, opened: Opened, copy: DueCopy) -> datetime | None:
        """File the exact octets, marked read (and as logged, where they are), with the time of sending as its date
        (RFC 3501 section 6.3.11)."""
        content = copy.content
        if content is None:
            await self._postponed(copy, "the message is gone from proxyd's records", None)
            return None
        await self._journal.record(CopyAppending(copy.id, opened.name, self._clock.now()))
        shows = copy.tracked and self._account.marking.flag_logged and not self._plain
        try:
            try:
                appended = await self._file(session, opened, copy, content, (SEEN, LOGGED_MARK) if shows else (SEEN,))
            except Refused:
                if not shows:
                    raise
                appended = await self._file(session, opened, copy, content, (SEEN,))
                self._plain = True  # it was the keyword that it did not want
        except Refused as error:
            await session.do(Connection.examine, opened.name)
            return await self._postponed(copy, str(error), self._later(copy, least=RETRY_REFUSED))
        if session.selected != opened.name or appended.uidvalidity not in (0, opened.uidvalidity):
            self.reopened = opened = await session.do(Connection.examine, opened.name)
        log.info("sent copy filed", account=self._address, id=copy.id)
        await self._appended(session, opened, copy, appended)
        return None

    async def _file(
        self, session: Session, opened: Opened, copy: DueCopy, content: KeptContent, flags: Sequence[str]
    ) -> Appended:
        await self._announce(session, opened, copy, content.size, flags)
        try:
            async for chunk in content.chunks():
                await session.do(Connection.append_octets, chunk)
        except BaseException:
            session.drop()  # the server waits for octets that do not come
            raise
        return await session.do(Connection.append_end)

    async def _announce(self, session: Session, opened: Opened, copy: DueCopy, size: int, flags: Sequence[str]) -> None:
        """APPEND, until the server asks for the octets. Another folder may have to be opened for that: Courier takes
        nothing into a folder that is open read-only."""
        begin = Connection.append_begin
        at = copy.accepted_at.replace(microsecond=0)
        try:
            await session.do(begin, opened.name, size, flags, at)
        except Refused as error:
            if "read-only" not in error.evidence.lower():
                raise
            await session.do(Connection.examine, "INBOX")
            await session.do(begin, opened.name, size, flags, at)

    async def _appended(self, session: Session, opened: Opened, copy: DueCopy, appended: Appended) -> None:
        """Where the server does not say which UID it gave (RFC 4315), it is the one that bears our marks; where that is
        not certain, 0 is put on record, and nothing will ever be removed."""
        uid = appended.uid if appended.uidvalidity == opened.uidvalidity else 0
        if not uid:
            now = self._clock.now()
            found = [each.uid for each in await self._looking.of(session, copy)]
            ours = [each for each in found if await self._bears_our_marks(session, copy, each, now)]
            uid = ours[0] if len(ours) == 1 else 0
        self._until.pop(copy.id, None)
        found_at = Found(opened.name, opened.uidvalidity, uid, copy.accepted_at)
        await self._journal.record(CopyPresent(copy.id, found_at, FiledBy.PROXYD, 1, self._clock.now(), copy.ids))

    async def _remove(
        self, session: Session, opened: Opened, copy: DueCopy, uid: int, other: int, uploaded: bool
    ) -> bool:
        """Take our copy back: only if it still is ours, and the other one is there, which gets its flags."""
        again = await session.do(Connection.select, opened.name)
        try:
            if again.uidvalidity != copy.uidvalidity or uid != copy.appended_uid:
                return False
            fields = await self._looking.fields(session, [uid, other])
            if uid not in fields or other not in fields:
                return False
            heading = read_heading(fields[uid])
            owners = await self._journal.copies.owned(self._address, [heading.message_id] if heading.message_id else [])
            if heading.message_id not in copy.ids and copy.id not in {each.id for each in owners.values()}:
                return False
            await self._hand_on_flags(session, uid, other, uploaded)
            removed = await session.do(Connection.remove, uid)
        finally:
            await session.do(Connection.examine, opened.name)
        if removed:
            log.info("own sent copy taken back", account=self._address, id=copy.id)
        return removed

    async def _hand_on_flags(self, session: Session, uid: int, other: int, uploaded: bool) -> None:
        """What the person marked on our copy is marked on the one that stays. \\Seen is a mark of ours; it is given to
        what came through us, and never to a message that the person put there by other ways."""
        flags = await session.do(Connection.flags, uid) or frozenset()
        left_out = OF_THE_SERVER if uploaded else OF_THE_SERVER | {r"\seen"}
        if flags := frozenset(each for each in flags if each.lower() not in left_out):
            try:
                await session.do(Connection.add_flags, other, flags)
            except Refused as error:
                log.info("flags refused", account=self._address, why=error.evidence)

    async def _postponed(self, copy: DueCopy, error: str, due: datetime | None) -> datetime | None:
        """`due` None = given up; a person must look."""
        now = self._clock.now()
        self._until.pop(copy.id, None)
        await self._journal.record(CopyPostponed(copy.id, error, due or now, now, failed=due is None))
        log.warning("sent copy failed" if due is None else "sent copy postponed", account=self._address, id=copy.id)
        return due

    def _later(self, copy: DueCopy, *, least: float = 0.0) -> datetime:
        wait = max(least, retry.delay(copy.attempts, self._jitter()))
        return self._clock.now() + timedelta(seconds=wait)

    # --- outcomes that nobody knows -------------------------------------------------------------------------

    async def _unknown(self) -> list[UnknownSubmission]:
        now = self._clock.now()
        waiting = await self._journal.unknown_submissions(self._address)
        return [each for each in waiting if each.looked_at is None or now - each.begun_at < LOOK_FOR]

    async def _resolve(
        self, session: Session, opened: Opened, submission: UnknownSubmission, seen: dict[str, Sequence[Candidate]]
    ) -> datetime | None:
        """Look for a message that the provider may have taken; returns when to look again.

        What was `seen` of it in Sent, once it counts as sent, is noted by its id.
        """
        now = self._clock.now()
        await session.do(Connection.noop)
        found = await self._looking.find(
            session, submission.id, submission.ids, submission.fingerprint, submission.begun_at
        )
        files_sent = await self._files_sent()
        # A client's own upload proves nothing: some upload before they send, all of them at the 250 of our spool.
        trusted = files_sent == "yes" and not submission.spooled
        proof = [each for each in found if trusted or each.filed_by is FiledBy.PROVIDER]
        if proof or await self._in_all_mail(session, opened, submission):
            await self._journal.record(Sent(submission.id, FOUND, now))
            if found:
                seen[submission.id] = found
            return None
        if submission.spooled:
            return await self._not_found(opened, submission, files_sent, found)
        patience = timedelta(seconds=self._account.sent_copy.settle if files_sent != "no" else 0.0)
        if submission.looked_at is None and now < submission.begun_at + patience:
            return submission.begun_at + patience
        if submission.looked_at is None:
            where = f"{opened.name}: only what the mail client itself put there" if found else opened.name
            await self._journal.record(LookedFor(submission.id, where, now))
        return None

    async def _not_found(
        self,
        opened: Opened,
        submission: UnknownSubmission,
        files_sent: rules.FilesSent,
        found: Sequence[Candidate],
    ) -> datetime | None:
        """One whose client heard 250, so that it is ours: tried again where it was certainly not sent."""
        now, settle = self._clock.now(), self._account.sent_copy.settle
        step = spool.after_look(submission.begun_at, now, files_sent, alike=bool(found), settle=settle)
        match step:
            case spool.LookAgain():
                return step.at
            case spool.TryAgain():
                await self._journal.record(Spooled(submission.id, step.because, now, now, absent=True))
            case spool.AskThePerson() if submission.looked_at is None:
                await self._journal.record(LookedFor(submission.id, f"{opened.name}: {step.because}", now))
        return None

    async def _in_all_mail(self, session: Session, opened: Opened, submission: UnknownSubmission) -> bool:
        """In the folder of all mail, where a server has one: sent, so neither a draft nor an upload."""
        folders = await session.do(Connection.folders)
        every = next((each.name for each in folders if each.attributes & {r"\all", r"\allmail"}), None)
        if every is None or every == opened.name:
            return False
        await session.do(Connection.examine, every)
        try:
            for id in submission.ids:
                for uid in await session.do(Connection.uids_of_id, id):
                    heading = read_heading((await self._looking.fields(session, [uid])).get(uid, b""))
                    named = id in (heading.message_id, *heading.original_ids)
                    if named and heading.filed_by_transport and not await self._is_draft(session, uid):
                        return True
        finally:
            await session.do(Connection.examine, opened.name)
        return False

    async def _is_draft(self, session: Session, uid: int) -> bool:
        """Written, and not sent by that."""
        return any(each.lower() == r"\draft" for each in await session.do(Connection.flags, uid) or ())
