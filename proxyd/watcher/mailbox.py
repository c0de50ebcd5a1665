"""One account's mailbox, watched: by one connection, parked in IDLE when there is nothing to do, and at times a second.

The first stays in INBOX (a server with labels: in All Mail) and looks into every other folder that answers may lie in
(`watcher.folders`), Sent among them: when the server tells of it (NOTIFY), and every five minutes by STATUS, whatever
IDLE and NOTIFY did or did not tell. The second comes when something was sent, waits in Sent for the client's or the
provider's copy, files ours, and leaves a while after the last copy is settled: filing a large copy must not keep an
answer waiting, and where there is no NOTIFY the client's copy is heard of at once. A lost connection, a refusal or a
wait is the door's business (`watcher.session`).

Where the person's clients need the connections (`provider.allowance`), one does the work of both; where they need them
all, there is none but for a short look every few minutes.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError, Refused, SignInRefused
from proxyd.journal import Journal
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider.allowance import Allowance, Place
from proxyd.provider.imap import Connection, Opened, Throttled, Unreachable
from proxyd.provider.sign_in import SignIn
from proxyd.provider.trace import Tap
from proxyd.rules import connection as rules
from proxyd.rules.allowance import WATCHER
from proxyd.rules.watched_folders import INBOX, Role, WatchedFolder
from proxyd.watcher.backfill import Backfilling
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.folders import WatchedFolders
from proxyd.watcher.late_answers import LateAnswers
from proxyd.watcher.marking import Marking
from proxyd.watcher.sent_copy import SentCopies
from proxyd.watcher.session import Door, Session
from proxyd.workers import Clock, Signal, Workers, start

log = structlog.get_logger()

CHECK = 300.0  # seconds between two looks by STATUS
LINGER = 120.0  # seconds that the connection for Sent stays after the last thing that it was needed for
FLAGS = 30.0  # seconds from being told that flags have changed somewhere to looking for marks there
LOOK = 180.0  # seconds between two looks while clients have all connections
ANSWER = 4.0  # seconds for a connection to answer after the machine has slept
AGAIN = (1.0, 5.0, 30.0)  # seconds until the next look, where mail was announced and not found, or not delivered


class _Looks:
    """When to look again: soon, where mail was announced and not found, or found and not delivered; else in time."""

    def __init__(self) -> None:
        self._announced = False
        self._tries = 0

    def announced(self, news: bool) -> None:
        self._announced = news or self._announced

    def pause(self, read: int, whole: bool, left: float) -> float:
        """After a look that read so many messages; `left` is the time until there is a look anyway."""
        if whole and (read or not self._announced or self._tries == len(AGAIN)):
            self._announced, self._tries = False, 0
            return left
        wait = AGAIN[min(self._tries, len(AGAIN) - 1)]
        self._tries += 1
        return min(wait, left)


class Mailbox:
    """`start` it, `stop` it; `retry_now` after a person has mended something."""

    def __init__(
        self,
        account: Account,
        journal: Journal,
        workers: Workers,
        clock: Clock,
        reactor: Any,
        tls_context: ssl.SSLContext | None,
        jitter: Callable[[], float],
        allowance: Allowance,
        secret: SignIn | None = None,
        tap: Tap | None = None,
    ) -> None:
        """`reactor` provides IReactorFDSet; `jitter` gives chance in [0, 1); `tls_context` is shared by all accounts
        that trust the same authorities, None where the account's server speaks no TLS."""
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._door = Door(account, journal, workers, clock, reactor, tls_context, jitter, allowance, secret, tap)
        self._allowance = allowance
        self._copies = SentCopies(account, journal, clock, jitter)
        self._catch_up = CatchUp(account, journal, clock, self._copies)
        self._backfilling = Backfilling(account, journal, clock, allowance, self._catch_up)
        self._late_answers = LateAnswers(account, journal, clock, self._catch_up)
        self._folders = WatchedFolders(account, journal, self._catch_up.positions)
        self._marking = Marking(account, journal, clock)
        self._sessions: list[Session] = []
        self._flags_due = False  # something in the folder to stay in may have to be flagged
        self._sent_session: Session | None = None
        self._sent_turn = asyncio.Lock()  # one connection looks after Sent
        # Both on the clock's monotonic scale: when to look into Sent while it has no connection of its own, and until
        # when it is to have one.
        self._sent_due = 0.0
        self._sent_until = 0.0
        self._stirred = Signal()
        self._incoming: asyncio.Task[None] | None = None
        self._sent: asyncio.Task[None] | None = None  # while there is to be a connection that stays in Sent

    def start(self) -> None:
        self._allowance.on_change = self._stir
        self._incoming = start(self._keep_incoming(), f"mailbox {self._address}")
        for signal, hears in self._signals():
            signal.heard_by = hears
            if signal.is_set():
                hears()
        self._backfilling.start(self._for_earlier_mail)

    async def stop(self) -> None:
        """Returns when every connection is closed."""
        self._allowance.on_change = lambda: None
        for signal, _ in self._signals():
            signal.heard_by = None
        tasks = [task for task in (self._incoming, self._sent) if task is not None]
        self._incoming = self._sent = None  # nobody begins anew
        for task in tasks:
            task.cancel()
        for session in list(self._sessions):
            session.drop()
        await asyncio.gather(*tasks, self._backfilling.stop(), return_exceptions=True)

    async def retry_now(self) -> None:
        """Sign in now, whatever was to be waited for; connections that stand are checked."""
        self._door.hurry()
        self._stir()

    async def check(self) -> None:
        """The machine has slept, or its network or its clock is another: what does not answer within ANSWER is dropped,
        and what was only out of reach is tried at once. Refusals keep their waits."""
        if rules.worth_a_try(self._journal.condition(self._address).side("IMAP")):
            self._door.hurry()
        before = {session: session.moved for session in self._sessions}
        self._stir()
        await self._clock.sleep(ANSWER)
        for session, moved in before.items():
            if session in self._sessions and session.moved == moved:
                log.info("mailbox connection does not answer", account=self._address)
                session.drop()

    async def put_into_inbox(self, octets: bytes, message_id: str = "") -> None:
        """A message of our own for the person, unread; not where one of this `message_id` lies there. Raises
        ProxydError where it could not be put there."""
        session = await self._door.once()
        try:
            if message_id:
                await session.do(Connection.examine, INBOX)
                if await session.do(Connection.uids_of_id, message_id):
                    return
            await session.do(Connection.append_begin, INBOX, len(octets), (), self._clock.now())
            await session.do(Connection.append_octets, octets)
            await session.do(Connection.append_end)
        finally:
            session.drop()
            await session.close()

    def _signals(self) -> tuple[tuple[Signal, Callable[[], None]], ...]:
        """What is told from elsewhere, and who hears it."""
        journal = self._journal
        return (
            (journal.wakes.copies(self._address), self._copies_due),
            (journal.suggestions.told(self._address), self._accepted),
            (journal.wakes.late(self._address), self._late_may_match),
        )

    def _stir(self) -> None:
        """There may be something to do that no server tells of."""
        self._stirred.set()
        self._tend_sent()
        for session in self._sessions:
            session.nudge()

    async def _stirred_within(self, seconds: float) -> None:
        self._stirred.clear()
        timer = start(self._clock.sleep(seconds), "mailbox: pause")
        stirred = start(self._stirred.wait(), "mailbox: stirred")
        try:
            await asyncio.wait({timer, stirred}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            stirred.cancel()

    # --- who has a connection ------------------------------------------------------------------------------

    async def _keep_incoming(self) -> None:
        self._sent_due = self._clock.monotonic()
        while True:
            if self._allowance.share >= 1:
                await self._with_session(self._watch_incoming, self._incoming_wanted, self._out_of_reach)
                continue
            left = min(LOOK, max(self._sent_due - self._clock.monotonic(), 0.0))
            looked = self._clock.monotonic()
            while (passed := self._clock.monotonic() - looked) < left and self._allowance.share == 0:
                await self._stirred_within(left - passed)
                left = min(left, max(self._sent_due - looked, 0.0))
            if self._allowance.share == 0:
                await self._with_session(self._look, lambda: True, self._out_of_reach)

    def _tend_sent(self) -> None:
        """Whatever may change whether Sent is to have a connection says so here; nearly always it is not."""
        if self._incoming is not None and self._sent_wanted() and (self._sent is None or self._sent.done()):
            self._sent = start(self._keep_sent(), f"sent {self._address}")

    async def _keep_sent(self) -> None:
        more = True
        while more:
            async with self._sent_turn:
                await self._with_session(self._watch_sent, self._sent_wanted, self._copies.out_of_reach)
            self._sent_due = self._clock.monotonic()  # the other connection looks after it from now on
            self._stir()
            more = self._sent_wanted()

    def _incoming_wanted(self) -> bool:
        return self._allowance.share >= 1

    def _sent_wanted(self) -> bool:
        """Is there to be a connection that stays in Sent?"""
        return self._allowance.share >= WATCHER and self._clock.monotonic() < self._sent_until

    async def _out_of_reach(self, error: ProxydError) -> None:
        """Sent copies wait for the one connection that there is."""
        if self._allowance.share < WATCHER:
            await self._copies.out_of_reach(error)

    async def _with_session(
        self,
        watch: Callable[[Session], Awaitable[None]],
        wanted: Callable[[], bool],
        on_failure: Callable[[ProxydError], Awaitable[None]],
        place: Callable[[], Place] | None = None,
    ) -> None:
        """One connection's life."""
        session = await self._door.open(on_failure, wanted, place)
        if session is None:
            return
        self._sessions.append(session)
        try:
            await watch(session)
        except (Unreachable, Throttled, Refused, SignInRefused) as error:
            log.info("mailbox connection ended", account=self._address, why=type(error).__name__)
            await self._door.failed(error)
        except Exception:  # the store, or a fault of ours: loud, and no reason to leave the mailbox unwatched
            log.exception("mailbox watch failed", account=self._address)
            self._door.troubled()
        finally:
            self._sessions.remove(session)
            session.drop()
            await session.close()

    async def _for_earlier_mail(self, go_through: Callable[[Session], Awaitable[None]]) -> None:
        """A connection for work that can wait."""
        allowance = self._allowance
        await self._with_session(go_through, lambda: allowance.guest_welcome, self._backfilling.waits, allowance.guest)

    def _copies_due(self) -> None:
        """A hint that a Sent copy became due, or that an outcome is unknown."""
        self._journal.wakes.copies(self._address).clear()
        now = self._clock.monotonic()
        self._sent_until = max(self._sent_until, now + LINGER)
        if self._sent_session is not None:
            self._sent_session.nudge()
        elif self._allowance.share >= WATCHER:
            self._tend_sent()
        else:
            soon = self._account.sent_copy.settle if self._allowance.share == 0 else 0.0
            self._sent_due = min(self._sent_due, now + soon)
            self._stir()

    def _accepted(self) -> None:
        """A person has accepted a suggestion: whoever has a folder open looks (`CatchUp.read`)."""
        self._journal.suggestions.told(self._address).clear()
        self._stir()

    def _late_may_match(self) -> None:
        """Something was logged that a report (`CatchUp.read` looks) or an answer read before may be about."""
        self._journal.wakes.late(self._address).clear()
        self._stir()

    # --- INBOX and further folders -------------------------------------------------------------------------

    async def _watch_incoming(self, session: Session) -> None:
        opened = await self._look_around(session)
        if not await self._folders.notify(session):
            log.info("the server tells of the open folder alone", account=self._address)
        checked = self._clock.monotonic()
        looks = _Looks()
        while self._allowance.share >= 1:
            read, whole = await self._read(session, opened, Role.INCOMING)
            self._door.well()
            if whole and await self._flagged(session, opened):
                continue
            now = self._clock.monotonic()
            if (elsewhere := await self._elsewhere(session, opened)) is not None:
                opened = elsewhere
                continue
            left = max(checked + CHECK - now, 0.0)
            if self._sent_session is None:
                left = min(left, self._sent_due - now)
            left = min(left, self._marking.due - now, self._late_answers.due - now)
            looks.announced(await session.park(looks.pause(read, whole, left)))
            if self._clock.monotonic() - checked >= CHECK:
                opened = await self._look_around(session, opened)
                checked = self._clock.monotonic()

    async def _elsewhere(self, session: Session, opened: Opened) -> Opened | None:
        """Whatever is to be done in other folders now; the folder to stay in, opened again, None where nothing was."""
        told = session.take_told()
        now = self._clock.monotonic()
        self._marking.hint(self._folders.flagged(told.folders), now + FLAGS)
        if told.marked:
            await self._marking.search(session, opened)
            self._flags_due = True
        if told.listed:
            return await self._look_around(session, opened, listed=True)
        moved = [each for each in self._folders.moved(told.folders) if not self._is_sents(each)]
        looks_into_sent = await self._sent_first(session)
        for each in moved:
            await self._look_into(session, each)
        searched = self._marking.take_due(now)
        for each in self._folders.all:
            if each.name in searched:
                await self._look_into(session, each, read=False, searched=True)
        late = await self._late_answers.turn(session, self._folders.all)
        if not (moved or searched or looks_into_sent or told.marked or late):
            return None
        return await session.do(Connection.examine, self._folders.main)

    async def _look(self, session: Session) -> None:
        """Everything once, and no IDLE."""
        self._sent_due = self._clock.monotonic()
        opened = await self._look_around(session)
        await self._read(session, opened, Role.INCOMING)
        await self._late_answers.turn(session, self._folders.all)
        self._door.well()

    async def _look_around(self, session: Session, opened: Opened | None = None, *, listed: bool = False) -> Opened:
        """The truth, whatever was told: read what has moved, and return the folder to stay in, opened anew unless the
        one that was `opened` is still it."""
        look = await self._folders.look(session, listed=listed)
        await self._journal.health(self._address, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))  # it has answered
        main = self._folders.main
        searched = frozenset(self._marking.worth_searching(self._folders.all, look.statuses))
        moved = frozenset(each.name for each in look.moved if not self._is_sents(each))
        await self._sent_first(session)
        ripe = await self._marking.ripe(session)
        for each in self._folders.all:
            if each.name != main and (each.name in moved or each.name in searched or each.name in ripe):
                await self._look_into(session, each, read=each.name in moved, searched=each.name in searched)
        status = look.statuses.get(main)
        same = status is not None and opened is not None and status.uidvalidity == opened.uidvalidity
        position = await self._journal.position(self._address, main)
        if status is not None and position is not None and 0 < status.uidnext < position.uidnext:
            same = False  # restored from a backup, behind a connection that stands
        if opened is None or not same or not session.selected == opened.name == main:
            opened = await session.do(Connection.examine, main)
        else:
            await session.do(Connection.noop)
        if main in searched:
            await self._marking.search(session, opened)
        self._flags_due = self._flags_due or main in searched or main in ripe
        return opened

    async def _sent_first(self, session: Session) -> bool:
        """What was sent is known before what answers it is read. True: Sent was looked into."""
        if self._sent_session is not None or self._sent_due > self._clock.monotonic():
            return False
        await self._look_into_sent(session)
        return True

    def _is_sents(self, folder: WatchedFolder) -> bool:
        """Sent is looked into by whoever settles the copies: at once, where nobody stays there."""
        if folder.role is not Role.SENT:
            return False
        if self._sent_session is None:
            self._sent_due = self._clock.monotonic()
        return True

    async def _look_into(
        self, session: Session, folder: WatchedFolder, *, read: bool = True, searched: bool = False
    ) -> None:
        """Read it on from where it stood, and look for what was marked in it."""
        opened = await self._folders.open(session, folder.name)
        if opened is None:
            return
        if read:
            await self._read(session, opened, folder.role)
        if searched:
            await self._marking.search(session, opened)
        await self._marking.flag(session, opened)

    async def _flagged(self, session: Session, opened: Opened) -> bool:
        """What was logged in the folder to stay in is flagged. True = it was opened anew, and is to be read on."""
        news = self._journal.marks.take_news(self._address)
        due, self._flags_due = self._flags_due or news, False
        return due and await self._marking.flag(session, opened)

    async def _read(self, session: Session, opened: Opened, role: Role) -> tuple[int, bool]:
        """As `CatchUp.read`, for any role but Sent's."""
        if role is Role.MARKED:
            return await self._marking.read(session, opened)
        read, whole = await self._catch_up.read(session, opened, sent=False, junk=role is Role.JUNK)
        if read:  # a rule at the server may have marked it
            await self._marking.search(session, opened)
            self._flags_due = True
        return read, whole

    # --- Sent ----------------------------------------------------------------------------------------------

    async def _look_into_sent(self, session: Session) -> None:
        """On a connection that is there for another folder; `_sent_due` is when it is to be done again."""
        self._sent_due = self._clock.monotonic() + CHECK
        if self._sent_turn.locked():  # the other connection is on its way, or has not left yet
            return
        self._sent_due = math.inf  # until something is due, or the server tells of something new
        async with self._sent_turn:
            opened = await self._sent_if_there(session)
            if opened is None:
                return
            _, whole = await self._catch_up.read(session, opened, sent=True, logged=self._logs_sent(opened.name))
            due = await self._copies.settle(session, opened)
            opened, self._copies.reopened = self._copies.reopened or opened, None
            await self._marking.flag(session, opened)
            now = self._clock.monotonic()
            if due is not None:
                self._sent_until = max(self._sent_until, now + due + LINGER)
            soon = [each for each in (due, None if whole else AGAIN[1]) if each is not None]
            self._sent_due = min([self._sent_due, *(now + each for each in soon)])
        self._tend_sent()

    async def _watch_sent(self, session: Session) -> None:
        self._sent_session = session
        try:
            opened = await self._sent_if_there(session)
            while opened is None and self._sent_wanted():
                await session.pause(min(CHECK, LINGER))
                opened = await self._sent_if_there(session)
            if opened is not None:
                await self._stay_in_sent(session, opened)
        finally:
            self._sent_session = None

    async def _stay_in_sent(self, session: Session, opened: Opened) -> None:
        logged = self._logs_sent(opened.name)
        checked = self._clock.monotonic()
        looks = _Looks()
        while self._sent_wanted():
            read, whole = await self._catch_up.read(session, opened, sent=True, logged=logged)
            due = await self._copies.settle(session, opened)
            opened, self._copies.reopened = self._copies.reopened or opened, None
            self._door.well()
            if await self._marking.flag(session, opened):
                continue
            now = self._clock.monotonic()
            if due is not None:
                self._sent_until = max(self._sent_until, now + due + LINGER)
            left = max(min(checked + CHECK, self._sent_until) - now, 0.0)
            pause = looks.pause(read, whole, left)
            looks.announced(await session.park(pause if due is None else min(pause, due)))
            if self._clock.monotonic() - checked >= CHECK:
                opened = await self._check(session, opened)
                checked = self._clock.monotonic()

    async def _check(self, session: Session, opened: Opened) -> Opened:
        """Is the folder still the one that we have open?"""
        status = await session.do(Connection.status, opened.name)
        await self._journal.health(self._address, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))  # it has answered
        if status.uidvalidity != opened.uidvalidity:
            return await session.do(Connection.examine, opened.name)
        await session.do(Connection.noop)
        return opened

    def _logs_sent(self, name: str) -> bool:
        """Is what was sent from elsewhere logged? Sent is watched unless a list of folders leaves it out."""
        folders = self._account.watch.folders
        return folders == "auto" or name in folders

    async def _sent_if_there(self, session: Session) -> Opened | None:
        """The Sent folder, opened. Where there is none it is made when the first copy needs it."""
        sent = self._folders.sent if self._folders.sent.exists else await self._folders.find_sent(session)
        if not sent.exists and await self._copies.waits():
            await session.do(Connection.create, sent.name)
            log.info("sent folder created", account=self._address)
        elif not sent.exists:
            await session.do(Connection.noop)
            return None
        if self._journal.known(self._address, "sent_folder") != sent.name:
            await self._journal.learn(self._address, "sent_folder", sent.name)
        try:
            return await session.do(Connection.examine, sent.name)
        except Refused:  # it was there when we last looked
            sent = await self._folders.find_sent(session)
            return await session.do(Connection.examine, sent.name)
