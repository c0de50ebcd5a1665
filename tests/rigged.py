"""A journal over a real store in a folder, with a clock turned by hand; and accounts as a file would give them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from proxyd.config import Account, load
from proxyd.formats.message import filed_form, heading, split_header
from proxyd.journal import Begun, Joined, Journal, Logged, Submission
from proxyd.model import Envelope, Recipient
from proxyd.store import contacts, timeline
from proxyd.store.database import Database
from proxyd.store.tables import messages
from proxyd.workers import Workers
from tests.clock import ManualClock

ADA = "ada@example.test"
GRACE = "grace@customer.test"
KEY = bytes(range(32))

ACCOUNT = f"""
address: {ADA}
name: Ada Lovelace
aliases: [sales@example.test]
provider:
  imap: {{host: localhost, port: 1, tls: none}}
  smtp: {{host: localhost, port: 1, tls: none}}
"""


def account(folder: Path, more: str = "") -> Account:
    """Ada's account as `accounts.d/ada.yaml` with these further lines gives it."""
    config = folder / "config"
    (config / "accounts.d").mkdir(parents=True, exist_ok=True)
    (config / "accounts.d/ada.yaml").write_text(ACCOUNT + more)
    return load(config).accounts[ADA]


@dataclass
class Desk:
    """What a test of the records needs at hand."""

    database: Database
    journal: Journal
    clock: ManualClock
    accounts: dict[str, Account]
    workers: Workers

    async def add_contact(self, *emails: str) -> None:
        for email in emails:
            contact = contacts.Contact(email.lower(), email)
            await self.database.write(lambda c, contact=contact: contacts.add(c, contact, self.clock.now()))

    async def begin(
        self, octets: bytes, recipients: Iterable[str] = (GRACE,), *, account: str = ADA
    ) -> Begun | Joined | Logged:
        """As the relay does it."""
        end = split_header(octets) or len(octets)
        header = filed_form(octets[:end], message_id="made@example.test", date="Mon, 23 Nov 2026 10:00:00 +0000")
        said = replace(heading(octets[:end]), message_id=heading(header).message_id)
        envelope = Envelope(account, tuple(Recipient(each) for each in recipients))
        intake = self.journal.intake(account)
        await intake.header(header)
        for start in range(end, len(octets), 65536):
            await intake.write(octets[start : start + 65536])
        fingerprint = hashlib.sha256(octets + repr(envelope).encode()).hexdigest()
        return await self.journal.begin(intake, Submission(account, envelope, said, fingerprint))

    async def settled(self) -> None:
        """Until what was asked of the writer before is committed."""
        await asyncio.sleep(0)
        await self.database.write(lambda connection: None)

    def timeline(self) -> list[dict[str, Any]]:
        """Every record of every account."""
        with self.database.reading() as connection:
            newest_first = sa.select(messages.c.id).order_by(messages.c.date.desc(), messages.c.id.desc())
            return timeline.documents(connection, list(connection.scalars(newest_first)))

    def rows(self, table: Any) -> list[Mapping[str, Any]]:
        with self.database.reading() as connection:
            return [row._mapping for row in connection.execute(table.select())]


@asynccontextmanager
async def desk(folder: Path, more: str = "", *, clock: ManualClock | None = None) -> AsyncIterator[Desk]:
    """An open journal; leave and enter again for a restart."""
    accounts = {ADA: account(folder, more)}
    database = Database(folder / "data", KEY)
    database.start_writing(asyncio.get_running_loop())
    workers = Workers(4)
    turned = clock or ManualClock()
    journal = Journal(database, workers, turned, lambda: accounts)
    await journal.open()
    try:
        yield Desk(database, journal, turned, accounts, workers)
    finally:
        journal.close()
        database.close()
        workers.close()


def message(
    subject: str = "Offer",
    *,
    id: str = "m1@example.test",
    sender: str = ADA,
    to: str = GRACE,
    more: str = "",
    body: str = "Dear Grace,\r\nhere it is.\r\n",
) -> bytes:
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Date: Mon, 23 Nov 2026 10:00:00 +0000"]
    if id:
        lines.append(f"Message-ID: <{id}>")
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n" + body).encode()
