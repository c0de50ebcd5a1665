"""BCC logging: each sent message that is tracked goes to the CRM's dropbox in an SMTP transaction of its own.

Its failure is never the person's: their mail was taken before. A copy whose outcome is unknown is not repeated, since
nobody can look into the CRM's mailbox; it is shown as failed instead.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta

from proxyd.formats.message import wire_form
from proxyd.journal import Journal, KeptContent
from proxyd.model import (
    Accepted,
    DropboxPostponed,
    DropboxSent,
    DropboxTrying,
    Envelope,
    Event,
    NotAccepted,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    Recipient,
)
from proxyd.provider.smtp import Submitter
from proxyd.rules import dropbox
from proxyd.store.outbox import DropboxCopy
from proxyd.workers import Clock, start


class DropboxCopies:
    """One task for all accounts; each account's copies go through its own submitter, so none waits for another's."""

    def __init__(
        self,
        journal: Journal,
        submitter: Callable[[str], Submitter | None],
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._submitter = submitter
        self._clock = clock
        self._jitter = jitter
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = start(self._run(), "outbox")

    def stop(self) -> None:
        for task in (self._task, *self._under_way.values()):
            if task is not None:
                task.cancel()

    async def _run(self) -> None:
        wake = self._journal.wakes.outbox
        while True:
            wake.clear()
            nearest = await self._start_due()
            waiting = start(wake.wait(), "outbox hint")
            sleeping = start(self._clock.sleep(nearest), "outbox clock")
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def _start_due(self) -> float:
        """Start one copy per account that is due; seconds until the next one is."""
        nearest = dropbox.LONGEST_WAIT
        for copy, content in await self._journal.due_dropboxes():
            wait = (copy.due - self._clock.now()).total_seconds()
            if wait > 0 or copy.account in self._under_way:
                nearest = min(nearest, max(wait, 1.0))
                continue
            task = start(self._deliver(copy, content), "dropbox copy")
            self._under_way[copy.account] = task
            task.add_done_callback(functools.partial(self._done, copy.account))
        return nearest

    def _done(self, account: str, _task: asyncio.Task[None]) -> None:
        self._under_way.pop(account, None)
        self._journal.wakes.outbox.set()

    async def _deliver(self, copy: DropboxCopy, content: KeptContent | None) -> None:
        submitter = self._submitter(copy.account)
        if content is None or submitter is None:
            why = "the account is no longer configured" if content else "the message is no longer kept"
            await self._journal.record(DropboxPostponed(copy.id, why, None, self._clock.now()))
            return
        wire = content.with_header(wire_form(content.header, hidden=frozenset({copy.address})))
        envelope = Envelope(copy.sender or copy.account, (Recipient(copy.address, ()),), copy.parameters)
        await self._journal.record(DropboxTrying(copy.id, self._clock.now()))
        outcome = await submitter.submit(envelope, wire)
        await self._journal.record(self._event(copy, outcome))

    def _event(self, copy: DropboxCopy, outcome: Outcome) -> Event:
        now = self._clock.now()
        if isinstance(outcome, Accepted):
            return DropboxSent(copy.id, outcome.reply, now)
        wait = dropbox.next_try(outcome, copy.attempts, self._jitter())
        due = None if wait is None else now + timedelta(seconds=wait)
        return DropboxPostponed(copy.id, _reason(outcome), due, now)


def _reason(outcome: NotAccepted | NotHandedOver | OutcomeUnknown) -> str:
    return outcome.reply.text if isinstance(outcome, NotAccepted) else outcome.why
