"""A process that holds mailboxes, one way or another, and does what it is told line by line (`watching` tells it).

`proxyd` is the daemon's own watcher: its configuration, journal, workers and one `Mailbox` for each account.
`threads` is what one would write first: a thread and an imapclient for each mailbox, blocked in IDLE.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

from imapclient import IMAPClient

from proxyd.config import load
from proxyd.daemon.process import THREADS
from proxyd.journal import Journal
from proxyd.model import MailboxPosition, Seen
from proxyd.provider.allowance import Allowance
from proxyd.provider.imap import Connection
from proxyd.provider.tls import client_context
from proxyd.store import contacts
from proxyd.store.database import Database
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.mailbox import Mailbox
from proxyd.watcher.sent_copy import SentCopies
from proxyd.watcher.session import Door
from proxyd.workers import SystemClock, Workers

STACK = 256 * 1024  # octets of a thread: as little as Python takes well
WITHIN = 3600.0  # seconds for all to be parked


def resident() -> int:
    """Octets."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Threads:
    def __init__(self, port: int, ca: str, password: str, users: list[str]) -> None:
        self._port, self._password, self._users = port, password, users
        self._context = ssl.create_default_context(cafile=ca)
        self._waiting = threading.Semaphore(0)

    def hold(self) -> dict[str, Any]:
        threading.stack_size(STACK)
        before, start = resident(), perf_counter()
        for user in self._users:
            threading.Thread(target=self._watch, args=(user,), daemon=True).start()
            self._waiting.acquire()
        return {"before": before, "config": before, "after": resident(), "took": perf_counter() - start}

    def _watch(self, user: str) -> None:
        client = IMAPClient("localhost", self._port, ssl_context=self._context)
        client.login(user, self._password)
        client.select_folder("INBOX", readonly=True)
        client.idle()
        self._waiting.release()
        while True:
            client.idle_check()


class Proxyd:
    def __init__(self, config: Path, data: Path) -> None:
        from twisted.internet import reactor  # noqa: TID251 - this process's own

        self._reactor: Any = reactor
        self._config = config
        self._accounts: dict[str, Any] = {}
        self._clock = SystemClock()
        self._workers = Workers(THREADS)
        self._database = Database(data, os.urandom(32))
        self.logged: list[float] = []  # when, on the monotonic clock

    async def open(self) -> None:
        self._database.start_writing(asyncio.get_running_loop())
        self._journal = Journal(self._database, self._workers, self._clock, lambda: self._accounts)
        await self._journal.open()
        log_seen = self._journal._log_seen

        async def timed(seen: list[Seen], *more: Any, **others: Any) -> Any:
            done = await log_seen(seen, *more, **others)
            self.logged += [monotonic()] * len(seen)
            return done

        self._journal._log_seen = timed  # type: ignore[method-assign,assignment]

    async def hold(self) -> dict[str, Any]:
        before, start = resident(), perf_counter()
        self._accounts = dict(load(self._config).accounts)
        gc.collect()
        config = resident()
        context = client_context("imap", next(iter(self._accounts.values())).provider.ca)
        self._mailboxes = []
        for account in self._accounts.values():
            allowance = Allowance(lambda: 10, self._clock)
            mailbox = Mailbox(
                account, self._journal, self._workers, self._clock, self._reactor, context, lambda: 0.5, allowance
            )
            self._mailboxes.append(mailbox)
            mailbox.start()
        while len(self._reactor.getReaders()) < len(self._accounts):
            assert perf_counter() - start < WITHIN, "not all of them are parked"
            await asyncio.sleep(0.1)
        gc.collect()
        return {"before": before, "config": config, "after": resident(), "took": perf_counter() - start}

    async def know(self, email: str) -> dict[str, Any]:
        """A contact, so that mail from there is logged."""
        contact = contacts.Contact(email, email)
        await self._database.write(lambda c: contacts.add(c, contact, self._clock.now()))
        return {}

    async def reads_from(self) -> dict[str, Any]:
        """Whether it is on record from where INBOX of the first account is read."""
        account = next(iter(self._accounts))
        return {"inbox": await self._journal.position(account, "INBOX") is not None}

    async def times(self) -> dict[str, Any]:
        return {"logged": self.logged}

    async def catch_up(self) -> dict[str, Any]:
        """INBOX of the first account from its first UID to its end; seconds."""
        self._accounts = self._accounts or dict(load(self._config).accounts)
        account = next(iter(self._accounts.values()))
        context = client_context("imap", account.provider.ca)
        allowance = Allowance(lambda: 10, self._clock)
        door = Door(account, self._journal, self._workers, self._clock, self._reactor, context, lambda: 0.5, allowance)
        session = await door.open()
        assert session is not None
        catch_up = CatchUp(
            account, self._journal, self._clock, SentCopies(account, self._journal, self._clock, lambda: 0.5)
        )
        opened = await session.do(Connection.examine, "INBOX")
        await self._journal.begin_positions(account.address, {"INBOX": MailboxPosition(opened.uidvalidity, 1)})
        start, cpu = perf_counter(), process_time()
        read, whole = await catch_up.read(session, opened, sent=False)
        took, cpu = perf_counter() - start, process_time() - cpu
        await session.close()
        return {"took": took, "cpu": cpu, "read": read, "whole": whole}


async def obey(orders: dict[str, Callable[..., Any]]) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            said = orders[order.pop("do")](**order)
            said = await said if asyncio.iscoroutine(said) else said
        except Exception as error:
            said = {"fault": repr(error)[:500]}
        print(json.dumps(said), flush=True)


def main() -> None:
    given = json.loads(sys.argv[1])
    if given["way"] == "threads":
        threads = Threads(given["port"], given["ca"], given["password"], given["users"])
        asyncio.run(obey({"hold": threads.hold}))
        return
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    proxyd = Proxyd(Path(given["config"]), Path(given["data"]))

    async def run() -> None:
        await proxyd.open()
        orders = {
            "hold": proxyd.hold,
            "know": proxyd.know,
            "reads_from": proxyd.reads_from,
            "times": proxyd.times,
            "catch_up": proxyd.catch_up,
        }
        await obey(orders)

    loop.run_until_complete(run())
    os._exit(0)  # threads of workers that wait for a server would keep it


if __name__ == "__main__":
    main()
