"""A journal over a real store, messages logged into it, and the delivery that drains them into a CRM."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import Any

import sqlalchemy as sa

from proxyd.crm.delivery import Delivery
from proxyd.crm.storm import FastClock
from proxyd.journal import Begun
from proxyd.model import Sent, SmtpReply
from proxyd.store import ledger
from proxyd.store.tables import crm_entries, crm_erasures, messages
from tests.rigged import ADA, GRACE, Desk, desk

TAKEN = SmtpReply(250, ("2.0.0 OK queued as 4711",))


class Scene(Desk):
    """A desk with a delivery that can be killed and begun anew."""

    delivery: Delivery
    expected: dict[str, list[str]]  # Message-ID → SHA-256 of each attachment

    async def begin_delivery(self) -> None:
        self.delivery = Delivery(self.journal, lambda: self.accounts, self.workers, self.clock, random.Random(1).random)
        await self.delivery.start()

    async def kill(self) -> None:
        """It stops between whatever two steps it stands; what it had asked the CRM may be done or not."""
        await self.delivery.stop()

    async def log(self, message: EmailMessage, recipients: list[str] | None = None) -> str:
        """The person has sent this, and the provider took it."""
        octets = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
        begun = await self.begin(octets, recipients or [GRACE])
        assert isinstance(begun, Begun)
        await self.journal.record(Sent(begun.id, TAKEN, self.clock.now()))
        parts = [part.get_content() for part in message.iter_attachments()]
        hashes = [hashlib.sha256(each if isinstance(each, bytes) else each.encode()).hexdigest() for each in parts]
        self.expected[str(message["Message-ID"]).strip("<>")] = hashes
        return begun.id

    async def bounce(self, message: str) -> None:
        """What was sent comes back."""

        def job(connection: sa.Connection) -> None:
            connection.execute(messages.update().where(messages.c.id == message).values(state="bounced"))
            assert ledger.owe_state(connection, message, self.clock.now())

        await self.database.write(job)
        self.journal.wakes.entries.set()

    async def erase(self, address: str, of: list[str]) -> None:
        def job(connection: sa.Connection) -> None:
            for (account, crm), remote_ids in ledger.remote_ids(connection, of).items():
                ledger.owe_erasure(connection, account, crm, address, remote_ids, self.clock.now())

        await self.database.write(job)
        self.journal.wakes.entries.set()

    def erasures(self) -> list[Any]:
        return self.rows(crm_erasures)

    async def until(self, so: Callable[[], Any], what: str, within: float = 60.0) -> Any:
        end = monotonic() + within
        while not (found := so()):
            assert monotonic() < end, f"not within {within:g} s: {what}; {await self.journal.ledger.standings()}"
            await asyncio.sleep(0.01)
        return found

    async def drained(self, within: float = 60.0) -> None:
        end = monotonic() + within
        while standings := await self.journal.ledger.standings():
            assert monotonic() < end, standings
            await asyncio.sleep(0.01)

    def rows_failed(self) -> str:
        """Why the newest entry that failed did."""
        return next((str(row["error"]) for row in reversed(self.rows(crm_entries)) if row["error"]), "")

    async def standing(self) -> Any:
        """Of the one CRM that lacks something, None where none does."""
        found = await self.journal.ledger.standings()
        return found[0] if found else None


@asynccontextmanager
async def scene(folder: Path, crm: str, *, clock: Any = None, begin: bool = True) -> AsyncIterator[Scene]:
    """`crm` is what stands under `crm:` in the account's file, one entry."""
    async with desk(folder, f"crm:\n  - {crm}\n", clock=clock or FastClock()) as d:
        made = Scene(d.database, d.journal, d.clock, d.accounts, d.workers)
        made.expected = {}
        await made.add_contact(GRACE)
        if begin:
            await made.begin_delivery()
        try:
            yield made
        finally:
            if begin or hasattr(made, "delivery"):
                await made.kill()


def letter(
    n: int = 1, *, attach: list[bytes] | None = None, to: str = GRACE, subject: str = "", body: str = ""
) -> EmailMessage:
    made = EmailMessage()
    made["From"] = f"Ada Lovelace <{ADA}>"
    made["To"] = f"Grace Hopper <{to}>"
    made["Subject"] = subject or f"Offer {n}"
    made["Date"] = f"Mon, 23 Nov 2026 {9 + n // 3600 % 10:02}:{n // 60 % 60:02}:{n % 60:02} +0000"
    made["Message-ID"] = f"<m{n}@example.test>"
    made.set_content(body or f"Dear Grace,\nhere is offer number {n}.\n")
    for k, octets in enumerate(attach or []):
        made.add_attachment(octets, maintype="application", subtype="pdf", filename=f"offer-{n}-{k}.pdf")
    return made
