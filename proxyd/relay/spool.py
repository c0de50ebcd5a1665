"""What waits here for the provider: handed over when it can be, in the order in which it came, one mail at a time.

One task for each account that has something due; accounts do not wait for each other. What is due, and until when it
is tried, says the table; that the provider is back says the journal. Where the connection is the trouble the account
rests, for longer each time; a sign-in that works ends that rest at once, unless it was behind the sign-in that things
went wrong. A mail that the provider refuses for now waits alone: the others go on.

Before a mail's first octet it is on record that it is being handed over, so that a crash is followed by a look into the
mailbox (`watcher.sent_copy`) and not by a second mail.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.journal.spooling import NO_SUCH_ACCOUNT, Due
from proxyd.model import (
    Event,
    Health,
    HealthCause,
    HealthEvent,
    NotAccepted,
    Outcome,
    OutcomeUnknown,
    SmtpReply,
    Spooled,
    Undeliverable,
)
from proxyd.relay import outcome as outcomes
from proxyd.relay.handing import TakenOut
from proxyd.relay.recording import Recording
from proxyd.relay.submission import Provider
from proxyd.rules import connection, spool
from proxyd.rules.connection import Condition
from proxyd.store.spool import Waiting
from proxyd.workers import Clock, start

AFTER_FAULT = 60.0  # seconds
NOT_SERVED = 2.0  # seconds to wait for an account that is being replaced

log = structlog.get_logger()


@dataclass(slots=True)
class _Rest:
    """An account is left alone until `until` (monotonic). `at_door`: no connection could be had. `failed_at`: its last
    try; None where it only is known to be out of reach."""

    until: float
    failures: int
    at_door: bool
    failed_at: datetime | None = None


class _Try:
    """A `Progress`: of one mail from here."""

    def __init__(self, journal: Journal, id: str) -> None:
        self._journal = journal
        self._id = id
        self.began = False
        self.ended = False

    async def begins(self) -> None:
        if not await self._journal.spool.handing_over(self._id):
            raise TakenOut("it was taken out of the spool")
        self.began = True

    def ends(self) -> None:
        self.ended = True


class Spool:
    """`providers` gives an account's Submitter, None where it is not served now."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        providers: Callable[[str], Provider | None],
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._journal = journal
        self._providers = providers
        self._clock = clock
        self._jitter = jitter
        self._recording = Recording(journal, clock)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._rests: dict[str, _Rest] = {}
        self._task: asyncio.Task[None] | None = None
        journal.on_health.append(self._heard)

    def start(self) -> None:
        self._task = start(self._run(), "spool")

    async def stop(self, seconds: float = 10.0) -> None:
        """What is being handed over gets `seconds` to come to its outcome."""
        if self._task is not None:
            self._task.cancel()
        if self._under_way:
            _, late = await asyncio.wait(list(self._under_way.values()), timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _heard(self, account: str, event: HealthEvent, _condition: Condition) -> None:
        """The provider lets us in again: whoever could not get in need not sit out their wait."""
        rest = self._rests.get(account)
        signed_in = event.protocol == "SMTP" and event.cause is HealthCause.SIGNED_IN
        if signed_in and rest is not None and rest.at_door and account not in self._under_way:
            rest.until = 0.0
            self._journal.wakes.spool.set()

    async def _run(self) -> None:
        wake = self._journal.wakes.spool
        while True:
            wake.clear()
            try:
                nearest = await self._start_due()
            except Exception:  # the store; it is asked again
                log.exception("spool not read")
                nearest = AFTER_FAULT
            waiting = start(wake.wait(), "spool hint")
            sleeping = start(self._clock.sleep(nearest), "spool clock")
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def _start_due(self) -> float:
        """Start an account's task where something of it is due; seconds until the next may be."""
        nearest, now = spool.LONGEST_WAIT, self._clock.now()
        at_once, self._journal.spool.at_once = self._journal.spool.at_once, False
        for row in await self._journal.spool.waiting():
            busy = row.id in self._journal.spool.in_hand or row.account in self._under_way
            if busy or row.trying_since is not None:
                continue
            if at_once:
                self._rests[row.account] = _Rest(0.0, 0, at_door=True)
            account = self._accounts().get(row.account)
            if self._is_over(row, account):
                await self._journal.record(Undeliverable(row.id, _too_long(row, now), now))
                continue
            wait = max((row.due - now).total_seconds(), self._rest_of(row.account) - self._clock.monotonic(), 0.0)
            if wait <= 0 and account is not None:
                task = start(self._drain(row.account), f"spool of {row.account}")
                self._under_way[row.account] = task
                task.add_done_callback(functools.partial(self._drained, row.account))
            else:
                nearest = min(nearest, max(wait, 0.05))
        return nearest

    def _is_over(self, row: Waiting, account: Account | None) -> bool:
        """Never without a try that failed after its time was over: the machine may have been off for a week."""
        if account is None:
            return spool.is_over(row.since, self._clock.now(), NO_SUCH_ACCOUNT.total_seconds())
        rest = self._rests.get(row.account)
        failed_at = None if rest is None else rest.failed_at
        return failed_at is not None and spool.is_over(row.since, failed_at, account.sending.spool_for)

    def _drained(self, account: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(account, None)
        if task.cancelled() or task.exception() is not None:
            self._rest(account, AFTER_FAULT, at_door=False)
        self._journal.wakes.spool.set()

    def _rest_of(self, account: str) -> float:
        """Until when, on the monotonic scale; an account that is known to be out of reach begins with a rest."""
        rest = self._rests.get(account)
        if rest is not None:
            return rest.until
        condition = self._journal.condition(account)
        if condition.side("SMTP").state in (Health.CONNECTED, Health.CONNECTING):
            return 0.0
        until = self._clock.monotonic() + connection.retry_after(condition, 0, self._jitter(), "SMTP")
        self._rests[account] = _Rest(until, 0, at_door=True)
        return until

    # --- one account

    async def _drain(self, account: str) -> None:
        """Hand over what is due, until nothing is or the account has to rest."""
        tried: set[str] = set()
        while True:
            due = [each for each in await self._journal.spool.due(account) if each.row.id not in tried]
            if not due:
                return
            tried.add(due[0].row.id)
            if not await self._hand_over(account, due[0]):
                return

    async def _hand_over(self, account: str, mail: Due) -> bool:
        """Whether the account's next mail may be tried now."""
        provider = self._providers(account)
        if provider is None:
            self._rest(account, NOT_SERVED, at_door=True)
            return False
        id = mail.row.id
        attempt = _Try(self._journal, id)
        self._journal.spool.in_hand.add(id)
        try:
            outcome = await self._submit(provider, mail, attempt)
            verdict = spool.after_try(outcome, mail.row.attempts, self._jitter(), self._wait(account))
            people = sum(not each.optional for each in mail.envelope.recipients)
            event = outcomes.event(id, outcome, verdict, people, self._clock.now())
            await self._recording.record(self._in_the_end(account, mail.row, event, verdict))
        except TakenOut:
            return True
        except asyncio.CancelledError:
            if attempt.began and not attempt.ended:  # it was certainly not sent: the next start need not look for it
                now = self._clock.now()
                await self._recording.record(Spooled(id, "proxyd was stopped", now, now))
            raise
        finally:
            self._journal.spool.in_hand.discard(id)
        if isinstance(verdict, spool.Waits) and verdict.all_wait:
            self._rest(account, verdict.seconds, at_door=not attempt.began)
            return False
        self._rests.pop(account, None)
        return True

    def _in_the_end(self, account: str, row: Waiting, event: Event, verdict: object) -> Event:
        """A mail that was refused for now once more, after its time was over, is given up."""
        configured, now = self._accounts().get(account), self._clock.now()
        if not isinstance(event, Spooled) or not isinstance(verdict, spool.Waits) or verdict.all_wait:
            return event
        if configured is None or not spool.is_over(row.since, now, configured.sending.spool_for):
            return event
        return Undeliverable(row.id, _too_long(replace(row, error=event.why), now), now)

    async def _submit(self, provider: Provider, mail: Due, attempt: _Try) -> Outcome:
        if mail.content is None:
            return NotAccepted(SmtpReply(554, ("5.3.0 The message is not kept here any more",)))
        try:
            return await provider.submit(mail.envelope, mail.content, attempt)
        except TakenOut:
            raise
        except Exception as error:
            log.exception("spooled mail: a fault of ours", mail=mail.row.id)
            if attempt.ended:
                return OutcomeUnknown("a fault in proxyd while the message was handed over; see its log")
            return NotAccepted(SmtpReply(452, (f"4.3.1 It could not be read back ({type(error).__name__})",)))

    def _wait(self, account: str) -> float:
        """Seconds that the account would rest now."""
        rest = self._rests.get(account)
        failures = 0 if rest is None else rest.failures
        return connection.retry_after(self._journal.condition(account), failures, self._jitter(), "SMTP")

    def _rest(self, account: str, seconds: float, *, at_door: bool) -> None:
        before = self._rests.get(account)
        failures = 1 if before is None else before.failures + 1
        until = self._clock.monotonic() + seconds
        self._rests[account] = _Rest(until, failures, at_door, self._clock.now())


def _too_long(row: Waiting, now: datetime) -> str:
    hours = (now - row.since) / timedelta(hours=1)
    waited = (
        f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} min"
    )
    last = f"; the last time: {row.error}" if row.error else ""
    return f"the provider did not take it for {waited}{last}"
