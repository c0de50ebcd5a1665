"""A mailbox under watch on a server that misbehaves on demand, and the kill -9 of the daemon that watches it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on

from proxyd.config import Account, load
from proxyd.journal import Begun, Journal
from proxyd.model import Sent, SmtpReply
from proxyd.provider.allowance import Allowance
from proxyd.store import tables
from proxyd.store.database import Database
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Workers
from tests.clock import ManualClock
from tests.rigged import ADA, GRACE, KEY, Desk
from tests.servers.unruly import UnrulyImap
from tests.watcher.real_mailbox import RealMailbox

TAKEN = SmtpReply(250, ("2.0.0 OK queued as 4711",))


@dataclass
class Unruled(Desk):
    server: UnrulyImap | RealMailbox
    mailbox: Mailbox
    allowance: Allowance
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def account(self) -> Account:
        return self.accounts[ADA]

    async def sent(self, octets: bytes, *recipients: str) -> str:
        """As if it had gone through the relay; the submission's id."""
        begun = await self.begin(octets, recipients or (GRACE,))
        assert isinstance(begun, Begun)
        await self.journal.record(Sent(begun.id, TAKEN, self.clock.now()))
        return begun.id

    async def turn(self, look: Callable[[], Any], what: str, *, step: float = 0.5, within: float = 60.0) -> Any:
        """The first true answer of `look()`, while the daemon's time passes quickly."""
        async with asyncio.timeout(within):
            while not (answer := look()):
                await self.clock.advance(step)
                await asyncio.sleep(0.01)
        return answer

    def rows_of(self, submission: str) -> list[Any]:
        return [row for row in self.rows(tables.submissions) if row["id"] == submission]

    def everything(self) -> list[Any]:
        """Every record, however many."""
        return self.rows(tables.messages)

    def subjects(self) -> list[str]:
        return sorted(each["subject"] for each in self.timeline())

    async def dies_at(self, writes: int, *, before: bool) -> None:
        """As kill -9 at the nth commit from now on: before it, or after it and before anything else. Sets `dead`."""
        real, count = self.database.write, itertools.count(1)

        async def write(*args: Any, **kwargs: Any) -> Any:
            if (now := next(count)) > writes or (now == writes and before):
                self.dead.set()
                await never()
            result = await real(*args, **kwargs)
            if now == writes:
                self.dead.set()
                await never()
            return result

        self.database.write = write  # type: ignore[method-assign]

    async def kill(self) -> None:
        """As kill -9: the connections are gone, nothing more reaches the disk, nobody tidies up."""
        self.database.write = never  # type: ignore[method-assign]
        self.server.cut_all()
        await self.mailbox.stop()


async def never(*args: Any, **kwargs: Any) -> Any:
    """The process that waits for this is dead."""
    await asyncio.Event().wait()


@asynccontextmanager
async def unruled(
    folder: Path,
    server: UnrulyImap | RealMailbox,
    more: str = "",
    *,
    clock: ManualClock | None = None,
    started: bool = True,
    connections: int = 10,
) -> AsyncIterator[Unruled]:
    """Ada's mailbox on that server; leave and enter again for a restart."""
    config = folder / "config"
    (config / "accounts.d").mkdir(parents=True, exist_ok=True)
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text("secret\n")
    (config / "accounts.d/ada.yaml").write_text(
        f"address: {ADA}\nname: Ada Lovelace\nprovider:\n"
        f"  imap: {{host: localhost, port: {server.port}, tls: none}}\n"
        "  smtp: {host: localhost, port: 1, tls: none}\n"
        f"  connections: {connections}\nsign_in:\n  password: {{file: {secret}}}\n" + more
    )
    accounts = dict(load(config).accounts)
    database = Database(folder / "data", KEY)
    database.start_writing(asyncio.get_running_loop())
    workers = Workers(8)
    turned = clock or ManualClock()
    journal = Journal(database, workers, turned, lambda: accounts)
    await journal.open()
    allowance = Allowance(lambda: accounts[ADA].provider.connections, turned)
    mailbox = Mailbox(accounts[ADA], journal, workers, turned, reactor, None, lambda: 0.0, allowance)
    desk = Unruled(database, journal, turned, accounts, workers, server, mailbox, allowance)
    try:
        if started:
            mailbox.start()
            await desk.turn(lambda: server.idling() == max(allowance.watchers, 1), "parked")
        yield desk
    finally:
        await mailbox.stop()
        journal.close()
        database.close()
        workers.close()
