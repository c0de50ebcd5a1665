"""`Journal`: what relay, watcher and the CRM's side see of our records."""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from ulid import ULID

from proxyd.config import Account
from proxyd.formats.mime import BodyReader
from proxyd.journal import again, finding, sending, spooling
from proxyd.journal.again import LoggedBefore
from proxyd.journal.backfilling import Backfills
from proxyd.journal.bodies import Bodies
from proxyd.journal.changes import Changes, What
from proxyd.journal.copies import Copies
from proxyd.journal.finding import Arrived, UnknownSubmission
from proxyd.journal.forwarding import forwarded_in
from proxyd.journal.intake import Intake, KeptContent, Room
from proxyd.journal.late_looks import LateLooks
from proxyd.journal.ledger import Ledger
from proxyd.journal.marks import Marks, to_be_marked
from proxyd.journal.reports import Reading
from proxyd.journal.sending import Begun, Joined, Logged, Submission
from proxyd.journal.spooling import Spool
from proxyd.journal.suggesting import Suggestions
from proxyd.journal.uploads import Uploads
from proxyd.journal.wakes import Wakes
from proxyd.model import (
    CopyAppending,
    CopyPostponed,
    CopyPresent,
    CopyPromised,
    DropboxPostponed,
    DropboxSent,
    DropboxTrying,
    Event,
    HealthCause,
    HealthEvent,
    LookedFor,
    MailboxPosition,
    NotSent,
    Seen,
    SendUnknown,
    Sent,
    SmtpReply,
    Spooled,
    SpoolReported,
    State,
    ThreadMatch,
    Told,
    Undeliverable,
    mailbox_key,
)
from proxyd.rules import connection as health_rules
from proxyd.rules import threads
from proxyd.rules.late_answers import looked_from
from proxyd.rules.threads import KnownMessage
from proxyd.rules.tracking import only_for_log
from proxyd.store import ahead, contacts, content, mailboxes, marks, outbox, submissions, timeline
from proxyd.store.database import Database, portions
from proxyd.workers import Clock, Workers, start

T = TypeVar("T")

log = structlog.get_logger()

# Names under which the store remembers, for each account:
HEALTH = "health"  # its condition
LATE_REPORTS = "late_reports"  # reports on what is not logged yet; "[]" where there are none
UNKNOWN_CAPABILITIES = "unknown_capabilities"  # what its IMAP server offers and we have never heard of

HealthListener = Callable[[str, HealthEvent, health_rules.Condition], None]
EventListener = Callable[[str, Event | Begun | Joined | Logged], None]


class Journal:
    """Called on the event loop. What is awaited is durable when it returns, unless it says otherwise."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        clock: Clock,
        accounts: Callable[[], Mapping[str, Account]],
    ) -> None:
        self._database = database
        self._workers = workers
        self._clock = clock
        self._accounts = accounts
        self._outcomes: dict[str, list[asyncio.Future[tuple[State, SmtpReply | None]]]] = defaultdict(list)
        self._conditions: dict[str, health_rules.Condition] = {}
        self._last_seen: dict[str, datetime] = {}
        self.on_health: list[HealthListener] = []  # each hears of every event and the condition after it
        self.on_event: list[EventListener] = []  # each hears the id of the mail and what has been written down of it
        self._facts: dict[tuple[str, str], str] = {}  # (account, key) → what was learned, but HEALTH
        self._room = Room()
        self.wakes = Wakes()
        self.changes = Changes()
        self.uploads = Uploads(clock)
        self.bodies = Bodies(database, workers, self.changes)
        self.copies = Copies(database, workers, self._kept)
        self.backfills = Backfills(database, workers, clock)
        self.suggestions = Suggestions(database, workers, clock)
        self.late_looks = LateLooks(database, workers)
        self.marks = Marks(database, clock)
        self.ledger = Ledger(database, workers)
        self.spool = Spool(database, workers, clock, self._kept, self.wakes.spool)

    async def open(self) -> None:
        """After a start: nothing is on its way any more; what says *submitting* is unknown and will be looked for."""
        now = self._clock.now()
        await self._read(self.marks.open)
        facts = await self._read(mailboxes.every_fact)
        self._facts = {at: text for at, text in facts.items() if at[1] != HEALTH}
        for (account, key), text in facts.items():
            if key == HEALTH and (condition := health_rules.restored(text, account, now)) is not None:
                self._conditions[account] = condition
        for account in await self._database.write(functools.partial(sending.after_start, now=now)):
            self.wakes.copies(account).set()
        self.wakes.outbox.set()
        self.wakes.spool.set()
        self.bodies.start()

    async def clock_was_set(self) -> None:
        """Nothing is due at a time, or wrong since one, that is still to come."""
        now = self._clock.now()
        for account, condition in self._conditions.items():
            self._conditions[account] = health_rules.not_ahead(condition, now)
        self.wakes.copies_again(await self._database.write(lambda c: ahead.bring_back(c, now)))
        self.wakes.spool.set()
        self.wakes.entries.set()

    async def tidy(self) -> None:
        """Once a day: let go of what was never settled."""
        await self._database.write(functools.partial(sending.tidy, now=self._clock.now()))
        await self._database.write(functools.partial(self.marks.tidy, now=self._clock.now()))
        await self.suggestions.tidy(self._clock.now())

    def close(self) -> None:
        self.bodies.stop()

    # --- a message on its way in -------------------------------------------------------------------------

    def intake(self, account: str) -> Intake:
        return Intake(self._database, self._workers, str(ULID.from_datetime(self._clock.now())), self._room)

    async def begin(self, intake: Intake, submission: Submission) -> Begun | Joined | Logged:
        """Durable before one octet goes upstream.

        Raises TryLater where it cannot be kept. A message that joins an earlier one is not kept a second time.
        """
        begun = await self._begin(intake, submission)
        self._tell(begun.id, begun)
        return begun

    async def _begin(self, intake: Intake, submission: Submission) -> Begun | Joined | Logged:
        account = self._accounts()[submission.account]
        at = self._clock.now()
        hash = self._database.hash_id
        if only_for_log([each.address for each in submission.envelope.recipients]):
            return await self._log_only(account, intake, submission, at)

        def job(connection: sa.Connection) -> Begun | Joined:
            joined = sending.first_outcome(connection, submission, hash, at)
            return joined or sending.begin(connection, account, intake, submission, hash, at)

        begun = await self._database.write(job)
        if isinstance(begun, Joined):
            await intake.abandon()
        else:
            self.changes.tell(What.MESSAGE, begun.id)
        return begun

    async def _log_only(self, account: Account, intake: Intake, submission: Submission, at: datetime) -> Logged:
        await self._database.write(intake.finish)
        try:
            seen = await self._workers.run(forwarded_in, self._database, intake.id, account, submission.heading, at)
            seen = replace(seen, match=await self._answered(seen))
            await self._log_seen([seen], None)
        finally:
            await self._database.write(lambda connection: content.drop(connection, intake.id))
        return Logged(intake.id, seen.verdict.because)

    async def _answered(self, seen: Seen) -> ThreadMatch | None:
        return threads.match(seen.heading, await self.tracked(seen.account, threads.named_ids(seen.heading)))

    # --- what happened -------------------------------------------------------------------------------------

    async def record(self, event: Event) -> None:
        """The one door. Durable when it returns; whoever waits for the outcome is woken."""
        await self._record(event)
        if not isinstance(event, Seen):  # told where it turns out to be new
            self._tell(event.id, event)

    def _tell(self, id: str, event: Event | Begun | Joined | Logged) -> None:
        """Behind whoever waits for it: the person's mail goes on first."""
        asyncio.get_running_loop().call_later(0, self._tell_now, id, event)

    def _tell_now(self, id: str, event: Event | Begun | Joined | Logged) -> None:
        for listener in self.on_event:
            _heard(listener, id, event)

    async def _record(self, event: Event) -> None:
        match event:
            case Sent():
                await self._sent(event)
            case NotSent():
                await self._database.write(lambda c: sending.not_sent(c, event))
                self._settle(event.id, State.REFUSED, event.reply)
                self.bodies.add_refused(event.id)
            case SendUnknown():
                account = await self._database.write(lambda c: sending.unknown(c, event))
                if account:
                    self.wakes.copies(account).set()
            case LookedFor():
                await self._database.write(lambda c: sending.looked(c, event))
                self.wakes.spool_reports.set()
            case Spooled() | Undeliverable() | SpoolReported():
                await self._record_spool(event)
            case Seen():
                await self._log_seen([event], None)
            case CopyPresent():
                accounts, hash = self._accounts(), self._database.hash_id
                self._copy_there(
                    event, await self._database.write(lambda c: finding.copy_present(c, accounts, event, hash))
                )
            case CopyPromised():
                await self._database.write(lambda c: finding.copy_promised(c, event))
            case CopyAppending():
                await self._database.write(lambda c: finding.copy_appending(c, event))
            case CopyPostponed():
                await self._database.write(lambda c: finding.copy_postponed(c, event))
            case DropboxTrying():
                await self._database.write(lambda c: outbox.dropbox_trying(c, event.id, event.at))
            case DropboxSent() | DropboxPostponed():
                await self._database.write(lambda c: sending.dropbox_event(c, event))
            case Told():
                # Not durable by itself: were it lost in a crash, the same octets would find their first outcome again.
                self._database.write_along(lambda c: submissions.told(c, event.id, event.reply.code), "told")
                return  # nothing that anybody is shown
        if not isinstance(event, Seen):
            self.changes.tell(What.MESSAGE, event.id)

    async def _sent(self, event: Sent) -> None:
        hash = self._database.hash_id
        accounts = self._accounts()
        taken = await self._database.write(lambda c: sending.sent(c, accounts, event, hash))
        self._settle(event.id, State.SENT, event.reply)
        if taken.account:
            self.wakes.copies(taken.account).set()
        if taken.message:
            self.wakes.outbox.set()
            self.wakes.entries.set()
            self.bodies.add(taken.message, event.id)
            self._logged(taken.account or "", late=taken.late)
        if taken.nothing_owed:
            self._database.write_along(lambda c: submissions.empty(c, event.id), "let go")

    async def _record_spool(self, event: Spooled | Undeliverable | SpoolReported) -> None:
        accounts = self._accounts()
        match event:
            case Spooled():
                if await self._database.write(lambda c: spooling.spooled(c, accounts, event)):
                    self._settle(event.id, State.SUBMITTING, spooling.KEPT)
            case Undeliverable():
                await self._database.write(lambda c: spooling.undeliverable(c, event))
                self.wakes.spool_reports.set()
                self.bodies.add_refused(event.id)
            case SpoolReported():
                await self._database.write(lambda c: spooling.reported(c, event.id, event.at))
                return
        self.wakes.spool.set()

    def _settle(self, id: str, state: State, reply: SmtpReply | None) -> None:
        for waiter in self._outcomes.pop(id, ()):
            if not waiter.done():
                waiter.set_result((state, reply))

    async def wait_settled(self, id: str, seconds: float) -> tuple[State, SmtpReply | None]:
        """The outcome of a submission, waited for at most `seconds` while it is submitting or unknown. With a reply it
        is settled for its client: where it is submitting still, it waits here and is ours to deliver."""
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._outcomes[id].append(waiter)
        row = await self._read(lambda c: submissions.get(c, id))
        if row is None:
            return State.UNKNOWN, None
        if row.state in (State.SENT, State.REFUSED):
            self._settle(id, row.state, row.reply)
        over: asyncio.Future[Any] = start(self._clock.sleep(seconds), "wait settled")
        try:
            await asyncio.wait([waiter, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            self._outcomes[id] = [each for each in self._outcomes[id] if each is not waiter]
            if not self._outcomes[id]:
                del self._outcomes[id]
        return waiter.result() if waiter.done() else (row.state, None)

    # --- the mailbox -----------------------------------------------------------------------------------------

    async def set_position(
        self,
        account: str,
        folder: str,
        position: MailboxPosition,
        seen: Sequence[Seen] = (),
        *,
        durable: bool = True,
    ) -> None:
        """What was found and how far was read: one commit, so that neither is ever true without the other."""
        await self._log_seen(seen, (account, folder, position), durable=durable)

    async def _log_seen(
        self, seen: Sequence[Seen], position: tuple[str, str, MailboxPosition] | None, *, durable: bool = True
    ) -> None:
        hash = self._database.hash_id
        accounts = self._accounts()
        arrived = [await self._take_in(each) for each in seen]
        judged = {
            each.id: await self._workers.run(again.judge, self._database, each.seen.again, each.body)
            for each in arrived
            if each.body is not None
        }
        marked = [each for each in seen if to_be_marked(accounts.get(each.account), each.found, each.source)]
        now = self._clock.now()

        def job(connection: sa.Connection) -> list[tuple[str | None, str]]:
            """Each record that is new or completed, with the owner of its octets."""
            logged = [
                (again.settle(connection, each, judged[each.id]), each.id)
                if each.id in judged
                else (finding.log_seen(connection, accounts.get(each.seen.account), each, hash), each.id)
                for each in arrived
            ]
            if position is not None:
                mailboxes.set_position(connection, *position)
            for each in marked:
                marks.owe(connection, each.account, each.found, now)
            return logged

        written = await self._database.write(job, durable=durable)
        for each in marked:
            self.marks.committed(each.account, [each.found])
        for each, (message, owner) in zip(seen, written, strict=True):
            if message is None:
                continue
            if each.again is None:
                self._tell(message, each)
            self.wakes.entries.set()
            self.bodies.add(message, owner)
            self.changes.tell(What.MESSAGE, message)
            self._logged(each.account, late=looked_from(each) is not None)

    def _logged(self, account: str, *, late: bool) -> None:
        """A report that was read before may be about it; `late`: an answer may have been read."""
        if late or self.known(account, LATE_REPORTS) not in (None, "[]"):
            self.wakes.late(account).set()

    async def logged_under(self, account: str, hashes: Collection[str]) -> frozenset[str]:
        """Those of these keyed hashes that belong to a Message-ID of a logged message."""
        return await self._read(lambda c: finding.logged_under(c, account, hashes))

    async def _take_in(self, seen: Seen) -> Arrived:
        intake = self.intake(seen.account)
        header = bytearray()
        whole = False
        report = Reading(seen.heading)
        body = BodyReader() if seen.again else None
        async for chunk in seen.content.chunks():
            report.feed(chunk)
            if body is not None:
                await self._workers.run(body.feed, chunk)
            if whole:
                await intake.write(chunk)
                continue
            header += chunk
            first, rest = finding.header_and_body(bytes(header))
            if rest or len(header) > content.CHUNK:
                await intake.header(first)
                await intake.write(rest)
                whole = True
        if not whole:
            await intake.header(bytes(header))
        name = seen.heading.message_id or finding.without_id(intake.kept().header)
        read = None if body is None else await self._workers.run(body.finish)
        return Arrived(seen, intake, name, await self._workers.run(report.finish), read)

    async def logged_before(self, account: str, ids: Sequence[str]) -> dict[str, LoggedBefore]:
        """The records that a second sighting under these Message-IDs may complete, by that id."""
        if not ids:
            return {}
        return await self._read(lambda c: again.logged_before(c, account, ids, self._clock.now()))

    async def leave_alone(self, message: str, because: str) -> None:
        """Another message came under a record's Message-ID: said once more for `explain`, and that is all."""
        await self._database.write(lambda c: again.leave_alone(c, message, self._clock.now(), because))

    async def position(self, account: str, folder: str) -> MailboxPosition | None:
        return await self._read(lambda c: mailboxes.position(c, account, folder))

    async def last_look(self, account: str) -> datetime | None:
        """When any of the account's folders was last read to its end; None where there is no position at all."""
        return await self._read(lambda c: mailboxes.last_look(c, account))

    async def positions(self, account: str) -> dict[str, MailboxPosition]:
        """Of every folder that was ever looked into, by its name."""
        return await self._read(lambda c: mailboxes.positions_of(c, account))

    async def begin_positions(self, account: str, positions: Mapping[str, MailboxPosition]) -> None:
        """Where reading begins in folders that were never looked into: one commit for all of them."""

        def job(connection: sa.Connection) -> None:
            for folder, position in positions.items():
                mailboxes.set_position(connection, account, folder, position)

        await self._database.write(job)

    async def tracked(self, account: str, ids: Iterable[str]) -> dict[str, KnownMessage]:
        """The logged messages that carry any of these Message-IDs, by that id."""
        rows: dict[str, timeline.Logged] = {}
        for wanted in portions(ids):
            rows |= await self._read(functools.partial(timeline.known, account=account, ids=wanted))
        return {id: KnownMessage(row.message, row.thread, row.outgoing) for id, row in rows.items()}

    async def newest_sent_ids(self, account: str, within: timedelta, most: int) -> list[str]:
        """The Message-IDs of the newest logged messages that the person sent, the newest first."""
        since = self._clock.now() - within
        return await self._read(functools.partial(timeline.newest_sent_ids, account=account, since=since, most=most))

    async def recorded(self, account: str, ids: Iterable[str]) -> frozenset[str]:
        """Which of these Message-IDs are logged themselves."""
        return frozenset(await self.tracked(account, ids))

    async def known_contacts(self, addresses: Iterable[str]) -> frozenset[str]:
        """The mailbox keys among `addresses` that are contacts."""
        keys = {mailbox_key(each) for each in addresses}
        return await self._read(lambda c: contacts.known(c, keys)) if keys else frozenset()

    async def uploaded(self, event: CopyPresent) -> bool:
        """The client has put its copy there. False: more than that is known or under way, nothing is written, and the
        watcher must look."""
        accounts, hash = self._accounts(), self._database.hash_id
        settled = await self._database.write(lambda c: finding.copy_uploaded(c, accounts, event, hash))
        if settled is not None:
            self._copy_there(event, settled)
            self._tell(event.id, event)
        return settled is not None

    def _copy_there(self, event: CopyPresent, settled: finding.Settled) -> None:
        self.uploads.present(event.id)
        if settled.marked:
            self.marks.committed(settled.account, [event.found])
        if settled.late:
            self.wakes.late(settled.account).set()

    async def submitted(self, account: str, ids: Iterable[str]) -> frozenset[str]:
        """Which of these Message-IDs belong to mail that goes or went through us, logged or not."""
        found: set[str] = set()
        for wanted in portions(ids):
            hashed = {self._database.hash_id(each): each for each in wanted}
            owners = await self._read(functools.partial(submissions.owners, hashes=list(hashed), account=account))
            found.update(hashed[digest] for digest in owners)
        return frozenset(found)

    async def unknown_submissions(self, account: str) -> list[UnknownSubmission]:
        return await self._read(lambda c: finding.unknown_submissions(c, account))

    async def learned(self, account: str, key: str) -> str | None:
        return await self._read(lambda c: mailboxes.fact(c, account, key))

    def known(self, account: str, key: str) -> str | None:
        """As `learned`, without asking the store: for who cannot wait."""
        return self._facts.get((account, key))

    async def learn(self, account: str, key: str, value: str, *, durable: bool = True) -> None:
        self._facts[account, key] = value
        await self._database.write(lambda c: mailboxes.set_fact(c, account, key, value), durable=durable)

    def hash(self, text: str) -> str:
        """A keyed hash, by which it can be told whether something is what it was."""
        return self._database.hash_id(text)

    # --- the CRM's side ----------------------------------------------------------------------------------------

    async def due_dropboxes(self) -> list[tuple[outbox.DropboxCopy, KeptContent | None]]:
        """Every dropbox copy that is owed, with the octets as they went to the person's recipients."""

        def job(connection: sa.Connection) -> list[tuple[outbox.DropboxCopy, KeptContent | None]]:
            return [(each, self._kept(connection, each.id)) for each in outbox.waiting_dropboxes(connection)]

        return await self._read(job)

    # --- health ------------------------------------------------------------------------------------------------

    async def health(self, account: str, event: HealthEvent) -> health_rules.Condition:
        """What happened on a connection; the rule says what it means, `status` shows it. It is there after a restart,
        so that no mailbox is locked by restarts; not durable at once, for nobody waits for it."""
        before = self.condition(account)
        condition = health_rules.step(before, event, self._clock.now())
        self._conditions[account] = condition
        if condition.state is not before.state:
            self.changes.tell(What.ACCOUNT, account)
        if event.cause is HealthCause.SIGNED_IN:
            self._last_seen[account] = self._clock.now()
        for listener in self.on_health:
            _heard(listener, account, event, condition)
        if health_rules.differs(before, condition):
            start(self._keep_health(account, health_rules.kept(condition)), "health kept")
        return condition

    def heard(self, account: str) -> None:
        """The account's provider has answered; nothing else is said of its health."""
        self._last_seen[account] = self._clock.now()

    def afresh(self, account: str, *, same_servers: bool = False) -> None:
        """After a new configuration: what was refused before says nothing of it. Of the `same_servers` it stays known
        that there are such."""
        before = self._conditions.pop(account, None)
        if before is None:
            return
        if same_servers:
            self._conditions[account] = health_rules.again(before, self._clock.now())
        kept = health_rules.kept(self._conditions[account]) if same_servers else ""
        start(self._keep_health(account, kept), "health forgotten")

    async def _keep_health(self, account: str, text: str) -> None:
        await self._database.write(lambda c: mailboxes.set_fact(c, account, HEALTH, text), durable=False)

    def last_seen(self, account: str) -> datetime | None:
        """When the account's provider last answered us."""
        return self._last_seen.get(account)

    def condition(self, account: str) -> health_rules.Condition:
        known = self._conditions.get(account) or health_rules.Condition(since=self._clock.now(), account=account)
        configured = self._accounts().get(account)
        return replace(known, by_oauth=configured is not None and configured.sign_in.oauth is not None)

    # --- reading ------------------------------------------------------------------------------------------------

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)

    def _kept(self, connection: sa.Connection, id: str) -> KeptContent | None:
        header = content.chunk(connection, id, 0)
        if header is None:
            return None
        body = content.size(connection, id) - len(header)
        return KeptContent(self._database, self._workers, id, header, body, None)


def _heard(listener: Callable[..., None], *said: object) -> None:
    """What is written down is so, whatever becomes of who only listens."""
    try:
        listener(*said)
    except Exception:
        log.exception("a listener failed")
