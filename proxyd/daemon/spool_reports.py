"""Who sent a mail that waited here and did not go finds a letter about it in their INBOX.

It is put there through the account's watcher, which alone signs in to the mailbox; where that is out of reach it is
tried again, for `status`, `doctor` and the alerts tell of the mail meanwhile. Before it is put there it is looked for:
the daemon may have been killed between doing it and writing down that it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError
from proxyd.formats import nondelivery
from proxyd.formats.message import heading
from proxyd.formats.nondelivery import Undelivered
from proxyd.journal import Journal
from proxyd.journal.intake import KeptContent
from proxyd.journal.spooling import Owed
from proxyd.model import Health, HealthCause, HealthEvent, SpoolReported
from proxyd.rules.connection import Condition
from proxyd.store.spool import SpoolState
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Clock

MOST_RETURNED = 1024 * 1024  # octets of a message that is returned whole
AGAIN = 300.0  # seconds until the next try

log = structlog.get_logger()


class SpoolReports:
    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        clock: Clock,
        mailbox: Callable[[str], Mailbox | None],
    ) -> None:
        self._accounts = accounts
        self._journal = journal
        self._clock = clock
        self._mailbox = mailbox
        self._owed = False  # when it was last looked
        journal.on_health.append(self._heard)

    def _heard(self, _account: str, event: HealthEvent, _condition: Condition) -> None:
        if self._owed and event.protocol == "IMAP" and event.cause is HealthCause.SIGNED_IN:
            self._journal.wakes.spool_reports.set()

    async def run(self) -> None:
        """Until cancelled."""
        wake = self._journal.wakes.spool_reports
        while True:
            wake.clear()
            owed = await self._journal.spool.owed_reports()
            self._owed = bool(owed)
            for each in owed:
                await self._tell(each)
            try:
                async with asyncio.timeout(AGAIN):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _tell(self, owed: Owed) -> None:
        address = owed.row.account
        account, mailbox = self._accounts().get(address), self._mailbox(address)
        connected = self._journal.condition(address).side("IMAP").state is Health.CONNECTED
        if account is None or mailbox is None or not connected:
            return
        returned, whole = await _returned(owed.filed)
        known = owed.row.state is SpoolState.FAILED
        mail = Undelivered(
            id=owed.row.id,
            address=account.address,
            recipients=tuple(each.address for each in owed.envelope.recipients if not each.optional),
            subject=heading(returned).subject,
            sent_at=owed.begun_at,
            waited_since=owed.row.since,
            why=owed.row.error,
            code=owed.row.reply_code,
            known=known,
            returned=returned,
            whole=whole,
        )
        octets = nondelivery.report(mail, self._clock.now())
        try:
            await mailbox.put_into_inbox(octets, nondelivery.message_id(mail))
        except ProxydError as error:
            log.warning("report not made", mail=mail.id, why=str(error))
            return
        await self._journal.record(SpoolReported(mail.id, self._clock.now()))


async def _returned(filed: KeptContent | None) -> tuple[bytes, bool]:
    """(what is returned of it, whether that is the whole)."""
    if filed is None:
        return b"", False
    if filed.size > MOST_RETURNED:
        return filed.header, False
    return b"".join([chunk async for chunk in filed.chunks()]), True
