"""A mailbox under watch: real Dovecot, a real journal, and a clock turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on

from proxyd.config import Account, load
from proxyd.journal import Begun, Journal
from proxyd.model import Sent, SmtpReply
from proxyd.provider.allowance import Allowance
from proxyd.provider.imap import Connection
from proxyd.provider.tls import client_context
from proxyd.store.database import Database
from proxyd.watcher import late_answers
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Clock, Workers
from tests.clock import ManualClock
from tests.rigged import KEY, Desk, message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider

T = TypeVar("T")

PARKED = "parking: time is over"  # the timer that ends a parked connection's wait
TAKEN = SmtpReply(250, ("2.0.0 OK queued as 4711",))
THREE_FIELDS = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)]"
PATIENCE = 60.0  # seconds; a busy machine is slow


@dataclass
class Watched(Desk):
    """A desk with the account's mailbox; `mailbox` is made and not started."""

    provider: Provider
    mailbox: Mailbox
    allowance: Allowance
    gone: int  # connections of an earlier run that ended in IDLE

    @property
    def account(self) -> Account:
        return self.accounts[PERSON]

    async def sent(self, octets: bytes, *recipients: str, taken: SmtpReply = TAKEN) -> str:
        """As if it had gone through the relay; the submission's id."""
        begun = await self.begin(octets, recipients or (CUSTOMER,))
        assert isinstance(begun, Begun)
        await self.journal.record(Sent(begun.id, taken, self.clock.now()))
        return begun.id

    async def parked(self, connections: int | None = None) -> None:
        """Until so many connections (None: all that the watcher holds) wait in IDLE, and sleep on the clock: now it may
        be turned."""
        for _ in range(10):  # a nudge that was given is heard
            await asyncio.sleep(0)

        def there() -> bool:
            count = connections or max(self.allowance.watchers, 1)
            asleep = self.clock.sleeping(PARKED) if isinstance(self.clock, ManualClock) else count
            return asleep >= count and idling(self.provider) - self.gone == count

        await until(lambda: there() or None, f"{connections or 'all'} in IDLE")

    async def as_time_passes(self, seconds: float, look: Callable[[], Any], what: str = "") -> None:
        """Turn the clock by `seconds` until it is so: what waits for it may begin to wait only after it was turned."""
        end = monotonic() + PATIENCE
        while not look():
            assert monotonic() < end, what or "not as time passes"
            await self.clock.advance(seconds)
            await asyncio.sleep(0.25)

    async def settled(self, id: str) -> dict[str, Any]:
        """The record of the Sent copy of submission `id`, once it does not wait any more."""
        return await until(lambda: row if (row := self.copy(id))["state"] != "waiting" else None, "a settled copy")

    async def ripened(self, id: str) -> dict[str, Any]:
        """As `settled`, and time passes."""
        end = monotonic() + PATIENCE
        while self.copy(id)["state"] == "waiting" and monotonic() < end:
            await self.clock.advance(7)
            await asyncio.sleep(0.05)
        return await self.settled(id)

    def copy(self, id: str) -> dict[str, Any]:
        from proxyd.store import tables

        return next(dict(row) for row in self.rows(tables.sent_copies) if row["id"] == id)

    def state(self) -> str:
        return str(self.journal.condition(PERSON).state)


def idling(provider: Provider) -> int:
    """How many of our sessions wait in IDLE now, by what they said last."""
    sessions = [session.sent.split(b"\r\n") for session in provider.dovecot.sessions(PERSON)]
    lasts = [[line for line in lines if line][-1] for lines in sessions if any(lines)]
    return sum(last.endswith(b" IDLE") for last in lasts)


def commands(provider: Provider) -> list[str]:
    return [command for session in provider.dovecot.sessions(PERSON) for command in session.commands]


async def until(look: Callable[[], T | None], what: str, *, within: float = PATIENCE) -> T:
    """The first answer of `look()` that is not None; looks fifty times a second."""
    end = monotonic() + within
    while (answer := look()) is None:
        assert monotonic() < end, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.02)
    return answer


@asynccontextmanager
async def watched(
    folder: Path,
    provider: Provider,
    more: str = "",
    *,
    clock: Clock | None = None,
    started: bool = True,
    **account: Any,
) -> AsyncIterator[Watched]:
    """An account whose mailbox is watched; leave and enter again for a restart."""
    config = folder / "config"
    (config / "accounts.d").mkdir(parents=True, exist_ok=True)
    (config / "accounts.d/ada.yaml").write_text(provider.account_yaml(more=more, **account))
    accounts = dict(load(config).accounts)
    database = Database(folder / "data", KEY)
    database.start_writing(asyncio.get_running_loop())
    workers = Workers(8)
    turned: Any = clock or ManualClock()
    journal = Journal(database, workers, turned, lambda: accounts)
    await journal.open()
    context = client_context("imap", accounts[PERSON].provider.ca)
    allowance = Allowance(lambda: accounts[PERSON].provider.connections, turned)
    mailbox = Mailbox(accounts[PERSON], journal, workers, turned, reactor, context, lambda: 0.0, allowance)
    desk = Watched(database, journal, turned, accounts, workers, provider, mailbox, allowance, idling(provider))
    try:
        if started:
            mailbox.start()
            await desk.parked()
        yield desk
    finally:
        await mailbox.stop()
        journal.close()
        database.close()
        workers.close()


def reply(
    n: int = 1, *, to: str = "m1@example.test", field: str = "In-Reply-To", more: str = "", body: str = "Yes.\r\n"
) -> bytes:
    named = f"{field}: <{to}>\r\n{more}"
    return message(f"Re: Offer {n}", id=f"r{n}@customer.test", sender=CUSTOMER, to=PERSON, more=named, body=body)


def from_stranger(n: int = 1) -> bytes:
    return message(f"Private {n}", id=f"s{n}@elsewhere.test", sender="somebody@elsewhere.test", to=PERSON)


async def answered_before_it_is_filed(
    w: Watched, monkeypatch: pytest.MonkeyPatch, deliver: Callable[[bytes], Any], file: Callable[[bytes], Any]
) -> None:
    """Sent from another device to CUSTOMER, filed after the answer was read; and the server finds what it is asked for,
    by each of the two fields."""
    position = await w.journal.position(PERSON, "INBOX")
    assert position is not None
    asked, uids_naming = [], Connection.uids_naming

    def naming(self: Connection, since: date, field: str, ids: Sequence[str]) -> list[int]:
        asked.append((field, found := uids_naming(self, since, field, ids)))
        return found

    monkeypatch.setattr(late_answers, "MANY", 1)
    monkeypatch.setattr(Connection, "uids_naming", naming)
    for n, field in ((81, "References"), (82, "In-Reply-To")):
        deliver(reply(n, to="p1@phone", field=field))
    while (now := await w.journal.position(PERSON, "INBOX")) is None or now.uidnext < position.uidnext + 2:
        await asyncio.sleep(0.02)
    file(message("Offer", id="p1@phone"))
    ids = {"<p1@phone>", "<r81@customer.test>", "<r82@customer.test>"}
    await w.as_time_passes(60, lambda: ids <= {each["message_id"] for each in w.timeline()}, "the answers")
    assert {field for field, found in asked if found} == late_answers.FIELDS, asked
