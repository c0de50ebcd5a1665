"""One account's mailbox, watched: two connections at most, each parked in IDLE when there is nothing to do.

One connection waits on INBOX (or the first folder of `watch.folders`) and looks into further folders now and then; the
other waits on Sent, reads what arrives there, and settles the Sent copies. What IDLE may have missed, a look by STATUS
every five minutes finds. A lost connection, a refusal or a wait is the door's business (`watcher.session`).

Where the person's clients need the connections (`provider.allowance`), one does the work of both, and looks into Sent
now and then; where they need them all, there is none but for a short look every few minutes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError, Refused, SignInRefused
from proxyd.journal import Journal
from proxyd.model import Health, HealthCause, HealthEvent, SentFolder
from proxyd.provider.allowance import Allowance, Place
from proxyd.provider.imap import Connection, Opened, Throttled, Unreachable
from proxyd.provider.sign_in import SignIn
from proxyd.rules.allowance import WATCHER
from proxyd.rules.sent_copy import sent_folder
from proxyd.watcher.backfill import Backfilling
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.sent_copy import SentCopies
from proxyd.watcher.session import Door, Session
from proxyd.workers import Clock, Workers, start

log = structlog.get_logger()

CHECK = 300.0  # seconds between two looks by STATUS
LOOK = 180.0  # seconds between two looks while clients have all connections
ANSWER = 4.0  # seconds for a connection to answer after the machine has slept
AGAIN = (1.0, 5.0, 30.0)  # seconds until the next look, where mail was announced and not found, or not delivered

INBOX = "INBOX"


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
    ) -> None:
        """`reactor` provides IReactorFDSet; `jitter` gives chance in [0, 1); `tls_context` is shared by all accounts
        that trust the same authorities, None where the account's server speaks no TLS."""
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._door = Door(account, journal, workers, clock, reactor, tls_context, jitter, allowance, secret)
        self._allowance = allowance
        self._copies = SentCopies(account, journal, clock, jitter)
        self._catch_up = CatchUp(account, journal, clock, self._copies)
        self._backfilling = Backfilling(account, journal, clock, allowance, self._catch_up)
        self._sessions: set[Session] = set()
        self._sent_session: Session | None = None
        self._sent_turn = asyncio.Lock()  # one connection looks after Sent
        self._sent_due = (
            0.0  # when to look into Sent, where it has no connection of its own; the clock's monotonic scale
        )
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._allowance.on_change = self._stir
        self._tasks = [
            start(self._keep_incoming(), f"mailbox {self._address}"),
            start(self._keep_sent(), f"sent {self._address}"),
            start(self._listen(), f"wakes {self._address}"),
            start(self._hear_of_accepted(), f"accepted {self._address}"),
            start(self._backfilling.run(self._for_earlier_mail), f"backfill {self._address}"),
        ]

    async def stop(self) -> None:
        """Returns when every connection is closed."""
        self._allowance.on_change = lambda: None
        for task in self._tasks:
            task.cancel()
        for session in list(self._sessions):
            session.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def retry_now(self) -> None:
        """Sign in now, whatever was to be waited for; connections that stand are checked."""
        self._door.hurry()
        self._stir()

    async def check(self) -> None:
        """The machine has slept, or its network is another: what does not answer within ANSWER is dropped, and what
        was only out of reach is tried at once. Refusals keep their waits."""
        side = self._journal.condition(self._address).side("IMAP")
        if side.state is Health.UNREACHABLE and not side.refusals:
            self._door.hurry()
        before = {session: session.moved for session in self._sessions}
        self._stir()
        await self._clock.sleep(ANSWER)
        for session, moved in before.items():
            if session in self._sessions and session.moved == moved:
                log.info("mailbox connection does not answer", account=self._address)
                session.drop()

    async def put_into_inbox(self, octets: bytes) -> None:
        """A message of our own for the person, unread. Raises ProxydError where it could not be put there."""
        session = await self._door.once()
        try:
            await session.do(Connection.append_begin, INBOX, len(octets), (), self._clock.now())
            await session.do(Connection.append_octets, octets)
            await session.do(Connection.append_end)
        finally:
            session.drop()
            await session.close()

    def _stir(self) -> None:
        """There may be something to do that no server tells of."""
        self._stirred.set()
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
                await self._with_session(self._watch_incoming, lambda: self._allowance.share >= 1, self._out_of_reach)
                continue
            left = min(LOOK, max(self._sent_due - self._clock.monotonic(), 0.0))
            looked = self._clock.monotonic()
            while (passed := self._clock.monotonic() - looked) < left and self._allowance.share == 0:
                await self._stirred_within(left - passed)
                left = min(left, max(self._sent_due - looked, 0.0))
            if self._allowance.share == 0:
                await self._with_session(self._look, lambda: True, self._out_of_reach)

    async def _keep_sent(self) -> None:
        while True:
            if self._allowance.share < WATCHER:
                await self._stirred_within(CHECK)
                continue
            async with self._sent_turn:
                reach = self._copies.out_of_reach
                await self._with_session(self._watch_sent, lambda: self._allowance.share >= WATCHER, reach)
            if self._allowance.share < WATCHER:  # the other connection looks after it from now on
                self._sent_due = self._clock.monotonic()
                self._stir()

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
        self._sessions.add(session)
        try:
            await watch(session)
        except (Unreachable, Throttled, Refused, SignInRefused) as error:
            log.info("mailbox connection ended", account=self._address, why=type(error).__name__)
            await self._door.failed(error)
        except Exception:  # the store, or a fault of ours: loud, and no reason to leave the mailbox unwatched
            log.exception("mailbox watch failed", account=self._address)
            self._door.troubled()
        finally:
            self._sessions.discard(session)
            session.drop()
            await session.close()

    async def _for_earlier_mail(self, go_through: Callable[[Session], Awaitable[None]]) -> None:
        """A connection for work that can wait."""
        allowance = self._allowance
        await self._with_session(go_through, lambda: allowance.guest_welcome, self._backfilling.waits, allowance.guest)

    async def _listen(self) -> None:
        """Hints that a Sent copy became due, or that an outcome is unknown."""
        wake = self._journal.wakes.copies(self._address)
        while True:
            await wake.wait()
            wake.clear()
            soon = self._account.sent_copy.settle if self._allowance.share == 0 else 0.0
            self._sent_due = min(self._sent_due, self._clock.monotonic() + soon)
            if self._sent_session is not None:
                self._sent_session.nudge()
            else:
                self._stir()

    async def _hear_of_accepted(self) -> None:
        """A person has accepted a suggestion: whoever has a folder open looks (`CatchUp.read`)."""
        while True:
            await self._journal.suggestions.told(self._address)
            self._stir()

    # --- INBOX and further folders -------------------------------------------------------------------------

    async def _watch_incoming(self, session: Session) -> None:
        main, *others = await self._incoming_folders(session)
        opened = await self._look_into(session, main, others)
        checked = self._clock.monotonic()
        looks = _Looks()
        while self._allowance.share >= 1:
            read, whole = await self._catch_up.read(session, opened, sent=False)
            self._door.well()
            left = max(checked + CHECK - self._clock.monotonic(), 0.0)
            if self._allowance.share < WATCHER:
                if self._sent_due <= self._clock.monotonic():
                    await self._look_into_sent(session)
                    opened = await session.do(Connection.examine, main)
                    continue
                left = min(left, self._sent_due - self._clock.monotonic())
            looks.announced(await session.park(looks.pause(read, whole, left)))
            if self._clock.monotonic() - checked >= CHECK:
                opened = await self._check(session, opened, others)
                checked = self._clock.monotonic()

    async def _look(self, session: Session) -> None:
        """Everything once, and no IDLE."""
        main, *others = await self._incoming_folders(session)
        opened = await self._look_into(session, main, others)
        await self._catch_up.read(session, opened, sent=False)
        await self._look_into_sent(session)
        self._door.well()

    async def _incoming_folders(self, session: Session) -> list[str]:
        """The folders to read, the one to park on first. Sent is the other connection's."""
        if self._account.watch.folders == "auto":
            return [INBOX]
        sent = (await self._find_sent(session)).name
        names = [INBOX if name.upper() == INBOX else name for name in self._account.watch.folders]
        names = [name for name in dict.fromkeys(names) if name != sent]
        return sorted(names, key=lambda name: name != INBOX) or [INBOX]

    async def _look_into(self, session: Session, main: str, others: list[str]) -> Opened:
        """Read the others on from where they stood, then open the one to stay in."""
        for name in others:
            try:
                opened = await session.do(Connection.examine, name)
            except Refused as error:
                log.warning("watched folder cannot be opened", account=self._address, folder=name, why=error.evidence)
                continue
            await self._catch_up.read(session, opened, sent=False)
        return await session.do(Connection.examine, main)

    async def _check(self, session: Session, opened: Opened, others: list[str]) -> Opened:
        """The truth, whatever IDLE told: is the folder still the one we have open, and how do the others stand?"""
        moved = []
        for name in others:
            try:
                status = await session.do(Connection.status, name)
            except Refused:
                continue
            position = await self._journal.position(self._address, name)
            if position is None or (position.uidvalidity, position.uidnext) != (status.uidvalidity, status.uidnext):
                moved.append(name)
        status = await session.do(Connection.status, opened.name)
        await self._journal.health(self._address, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))  # it has answered
        if moved or status.uidvalidity != opened.uidvalidity:
            return await self._look_into(session, opened.name, moved)
        await session.do(Connection.noop)
        return opened

    # --- Sent ----------------------------------------------------------------------------------------------

    async def _look_into_sent(self, session: Session) -> None:
        """On a connection that is there for another folder; `_sent_due` is when it is to be done again."""
        self._sent_due = self._clock.monotonic() + CHECK
        if self._sent_turn.locked():  # the connection that was there for it has not left yet
            return
        async with self._sent_turn:
            opened = await self._sent_if_there(session)
            if opened is None:
                return
            _, whole = await self._catch_up.read(session, opened, sent=True, logged=self._logs_sent(opened.name))
            due = await self._copies.settle(session, opened)
            self._copies.reopened = None
            soon = [each for each in (due, None if whole else AGAIN[1]) if each is not None]
            self._sent_due = min([self._sent_due, *(self._clock.monotonic() + each for each in soon)])

    async def _watch_sent(self, session: Session) -> None:
        self._sent_session = session
        try:
            opened = await self._sent_if_there(session)
            while opened is None and self._allowance.share >= WATCHER:
                await session.pause(CHECK)
                opened = await self._sent_if_there(session)
            if opened is not None:
                await self._stay_in_sent(session, opened)
        finally:
            self._sent_session = None

    async def _stay_in_sent(self, session: Session, opened: Opened) -> None:
        logged = self._logs_sent(opened.name)
        checked = self._clock.monotonic()
        looks = _Looks()
        while self._allowance.share >= WATCHER:
            read, whole = await self._catch_up.read(session, opened, sent=True, logged=logged)
            due = await self._copies.settle(session, opened)
            opened, self._copies.reopened = self._copies.reopened or opened, None
            self._door.well()
            left = max(checked + CHECK - self._clock.monotonic(), 0.0)
            pause = looks.pause(read, whole, left)
            looks.announced(await session.park(pause if due is None else min(pause, due)))
            if self._clock.monotonic() - checked >= CHECK:
                opened = await self._check(session, opened, [])
                checked = self._clock.monotonic()

    def _logs_sent(self, name: str) -> bool:
        """Is what was sent from elsewhere logged? Sent is watched unless a list of folders leaves it out."""
        folders = self._account.watch.folders
        return folders == "auto" or name in folders

    async def _sent_if_there(self, session: Session) -> Opened | None:
        """The Sent folder, opened. Where there is none it is made when the first copy needs it."""
        sent = await self._find_sent(session)
        if not sent.exists and await self._copies.waits():
            await session.do(Connection.create, sent.name)
            log.info("sent folder created", account=self._address)
        elif not sent.exists:
            await session.do(Connection.noop)
            return None
        await self._journal.learn(self._address, "sent_folder", sent.name)
        return await session.do(Connection.examine, sent.name)

    async def _find_sent(self, session: Session) -> SentFolder:
        return sent_folder(await session.do(Connection.folders), self._account.sent_copy.folder)
