"""A process that holds mailboxes, one way or another, and does what it is told line by line (`watching` tells it).

`proxyd` is the daemon's own watcher: its configuration, journal, workers and one `Mailbox` for each account.
`threads` is what one would write first: a thread and an imapclient for each mailbox, blocked in IDLE.
`bare` is what nothing can be cheaper than: a TLS connection in IDLE, and nothing that listens.

The two that are compared with sign in as many at a time as proxyd does.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

from imapclient import IMAPClient

from proxyd.config import load
from proxyd.config.sealed_files import NO_SEAL
from proxyd.journal import Journal
from proxyd.model import MailboxPosition, Seen
from proxyd.provider.allowance import Allowance, Allowances
from proxyd.provider.imap import Connection
from proxyd.provider.sign_in import SignIns
from proxyd.provider.tls import client_context
from proxyd.store import contacts
from proxyd.store.database import Database
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.mailbox import Mailbox
from proxyd.watcher.sent_copy import SentCopies
from proxyd.watcher.session import Door
from proxyd.workers import SystemClock, Workers

THREADS = 24  # those that the daemon has for its mailboxes
STACK = 256 * 1024  # octets of a thread: as little as Python takes well
AT_A_TIME = THREADS // 3  # sign-ins


def resident() -> int:
    """Octets."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Held:
    """What a process holds by now, as against the moment in which this was made."""

    def __init__(self) -> None:
        self.before = self.config = resident()
        self._start, self._cpu = perf_counter(), process_time()

    def lasts(self) -> float:
        """Seconds."""
        return perf_counter() - self._start

    def told(self, count: int) -> dict[str, Any]:
        gc.collect()
        told = {"before": self.before, "config": self.config, "after": resident()}
        return told | {"count": count, "took": self.lasts(), "cpu": process_time() - self._cpu}


class Threads:
    def __init__(self, port: int, ca: str, password: str, users: list[str]) -> None:
        self._port, self._password, self._users = port, password, users
        self._context = ssl.create_default_context(cafile=ca)
        self._may_begin = threading.Semaphore(AT_A_TIME)
        self._parked: list[Any] = []

    def hold(self, within: float) -> dict[str, Any]:
        threading.stack_size(STACK)
        held = Held()
        for user in self._users:
            if not self._may_begin.acquire(timeout=max(within - held.lasts(), 0.0)):
                break
            threading.Thread(target=self._watch, args=(user,), daemon=True).start()
        for _ in range(AT_A_TIME):
            self._may_begin.acquire(timeout=10)
        return held.told(len(self._parked))

    def _watch(self, user: str) -> None:
        client = IMAPClient("localhost", self._port, ssl_context=self._context)
        client.login(user, self._password)
        client.select_folder("INBOX", readonly=True)
        client.idle()
        self._parked.append(client)
        self._may_begin.release()
        while True:
            client.idle_check()


class Bare:
    def __init__(self, port: int, ca: str, password: str, users: list[str]) -> None:
        self._port, self._password, self._users = port, password, users
        self._context = ssl.create_default_context(cafile=ca)
        self._parked: list[ssl.SSLSocket] = []

    def hold(self, within: float) -> dict[str, Any]:
        held, waiting = Held(), iter(self._users)

        def some() -> None:
            for user in waiting:
                if held.lasts() > within:
                    return
                self._park(user)

        threads = [threading.Thread(target=some) for _ in range(AT_A_TIME)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return held.told(len(self._parked))

    def _park(self, user: str) -> None:
        plain = socket.create_connection(("localhost", self._port))
        secured = self._context.wrap_socket(plain, server_hostname="localhost")
        credentials = base64.b64encode(f"\0{user}\0{self._password}".encode())
        for command in (b"a AUTHENTICATE PLAIN " + credentials, b"a EXAMINE INBOX", b"a IDLE"):
            secured.sendall(command + b"\r\n")
            said = b""
            while not (b"\na OK" in said or b"\n+ " in said):
                said += secured.recv(4096) if said else b"\n" + secured.recv(4096)
        self._parked.append(secured)


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

    async def hold(self, within: float = 60.0) -> dict[str, Any]:
        held = Held()
        self._accounts = dict(load(self._config).accounts)
        gc.collect()
        held.config = resident()
        others = len(self._reactor.getReaders())
        context = client_context("imap", next(iter(self._accounts.values())).provider.ca)
        allowances = Allowances(lambda: self._accounts, self._clock)  # as `daemon.people` does
        sign_ins = SignIns(self._workers, self._clock, NO_SEAL)
        self._mailboxes = []

        def jitter() -> float:
            return 0.5

        for account in self._accounts.values():
            allowance, secret = allowances.of(account.address), sign_ins.of(account)
            mailbox = Mailbox(
                account, self._journal, self._workers, self._clock, self._reactor, context, jitter, allowance, secret
            )
            self._mailboxes.append(mailbox)
            mailbox.start()
        while (count := len(self._reactor.getReaders()) - others) < len(self._accounts) and held.lasts() < within:
            await asyncio.sleep(0.1)
        return held.told(count)

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
    if given["way"] != "proxyd":
        way = {"threads": Threads, "bare": Bare}[given["way"]]
        asyncio.run(obey({"hold": way(given["port"], given["ca"], given["password"], given["users"]).hold}))
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
