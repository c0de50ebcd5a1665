"""For whoever writes an adapter: a storm, in which each message must come to be in the CRM once, and whole.

Messages are logged into records of their own and delivered by proxyd's own delivery. A quarter of all that the adapter
asks for fails: before it is done, or after (a lost answer); and the delivery is killed again and again, wherever it
stands. In a test:

    def test_each_message_is_there_once(tmp_path):
        storm(tmp_path, {"folder": {"path": str(tmp_path / "mails")}}, there)

`there()` looks into the CRM: (Message-ID, [SHA-256 of each attachment, in hex]) for each message that is in it.

Why in the package: an adapter is a package of its own, and this is what its author is to hold it against. It needs
neither a mailbox nor a running daemon.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from proxyd.config import Account, load
from proxyd.crm.adapter import Adapter, Tools
from proxyd.crm.delivery import Delivery, Route
from proxyd.crm.http import Answer, Http
from proxyd.errors import TryLater
from proxyd.formats.message import heading, split_header
from proxyd.journal import Begun, Journal, Submission
from proxyd.model import Envelope, Recipient, Sent, SmtpReply
from proxyd.store.contacts import Contact, add
from proxyd.store.database import Database
from proxyd.workers import Clock, Timer, Workers

T = TypeVar("T")
There = Callable[[], list[tuple[str, list[str]]]]

SENDER, RECEIVER = "ada@example.test", "grace@customer.test"
SHARE = 0.25  # of what is asked for that fails
_CALLS = (
    "find_contact",
    "create_contact",
    "find_theirs",
    "log_message",
    "find_logged",
    "add_attachment",
    "find_attachment",
    "update_state",
)
_ACCOUNT = f"""
address: {SENDER}
name: Ada Lovelace
provider:
  imap: {{host: localhost, port: 1, tls: none}}
  smtp: {{host: localhost, port: 1, tls: none}}
"""


class FastClock:
    """A clock that runs `factor` times as fast as the wall's: waits between two tries are short, and still waits."""

    def __init__(self, factor: float = 200.0) -> None:
        self.factor = factor
        self._began = monotonic()

    def monotonic(self) -> float:
        return (monotonic() - self._began) * self.factor

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.factor)

    def call_later(self, seconds: float, call: Callable[[], None], name: str) -> Timer:
        return asyncio.get_running_loop().call_later(seconds / self.factor, call)


def storm(
    folder: Path,
    crm: Mapping[str, Any],
    there: There,
    *,
    messages: int = 100,
    seed: int = 1,
    share: float = SHARE,
    within: float = 600.0,
    factor: float = 1000.0,
) -> None:
    """`folder` takes the records, and is to be empty; `crm` is what stands in the account's file as an entry of `crm:`.

    The adapter is found as proxyd finds it, so its package has to be installed. `within` seconds all is to be there;
    waits are `factor` times shorter than they are (a real CRM that finds what was written after some time wants 1).
    Raises AssertionError, which says what is missing, doubled or damaged; run it again with its `seed`.
    """
    with ThreadPoolExecutor(1) as thread:  # in which no other loop runs, whatever the test is run by
        thread.submit(asyncio.run, _storm(folder, crm, there, messages, seed, share, within, factor)).result()


async def _storm(
    folder: Path,
    crm: Mapping[str, Any],
    there: There,
    messages: int,
    seed: int,
    share: float,
    within: float,
    factor: float,
) -> None:
    account = _account(folder / "config", crm)
    accounts = {account.address: account}
    dice, clock = random.Random(seed), FastClock(factor)
    database, workers = Database(folder / "data", bytes(32)), Workers(4)
    database.start_writing(asyncio.get_running_loop())
    journal = Journal(database, workers, clock, lambda: accounts)
    await journal.open()
    try:
        await database.write(lambda c: add(c, Contact(RECEIVER, RECEIVER, "Grace Hopper"), clock.now()))
        expected = {}
        for n in range(1, messages + 1):
            files = [dice.randbytes(dice.choice((1, 10, 3000, 70_000))) for _ in range(dice.choice((0, 0, 1, 2)))]
            await _log(journal, clock, letter(n, files))
            expected[f"storm-{n}@example.test"] = sorted(hashlib.sha256(each).hexdigest() for each in files)
        rough = Rough(journal, accounts, workers, clock, dice, share)
        await rough.deliver(within)
    finally:
        journal.close()
        database.close()
        workers.close()
    compare(expected, there())


def _account(config: Path, crm: Mapping[str, Any]) -> Account:
    (config / "accounts.d").mkdir(parents=True)
    # JSON is YAML, and every path in it is absolute or beside this file.
    (config / "accounts.d/storm.yaml").write_text(f"{_ACCOUNT}crm: [{json.dumps(crm)}]\n", encoding="utf-8")
    return load(config).accounts[SENDER]


def letter(n: int, files: list[bytes]) -> EmailMessage:
    """One with what is awkward about mail: two alphabets, HTML, a name that is there twice."""
    made = EmailMessage()
    made["From"], made["To"] = f"Ada Lovelace <{SENDER}>", f"Grace Hopper <{RECEIVER}>"
    made["Subject"] = f"Offer {n}: Größe & Preis, «цена» 100 %"
    made["Date"] = f"Mon, 23 Nov 2026 {9 + n // 3600 % 10:02}:{n // 60 % 60:02}:{n % 60:02} +0000"
    made["Message-ID"] = f"<storm-{n}@example.test>"
    made.set_content(f"Dear Grace,\nhere is offer number {n}: 1 < 2 & 'so on' \\ [ok].\n")
    if n % 3 == 0:
        made.add_alternative(f"<p>Dear <b>Grace</b>,<br>here is offer number {n}.</p>", subtype="html")
    for octets in files:
        made.add_attachment(octets, maintype="application", subtype="pdf", filename="Größe & Preis.pdf")
    return made


async def _log(journal: Journal, clock: Clock, message: EmailMessage) -> None:
    """Ada has sent this, and her provider took it."""
    octets = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    end = split_header(octets) or len(octets)
    intake = journal.intake(SENDER)
    await intake.header(octets[:end])
    await intake.write(octets[end:])
    submission = Submission(
        SENDER,
        Envelope(SENDER, (Recipient(RECEIVER),)),
        heading(octets[:end]),
        hashlib.sha256(octets).hexdigest(),
    )
    begun = await journal.begin(intake, submission)
    assert isinstance(begun, Begun)
    await journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), clock.now()))


class Rough:
    """Deliveries, one after the other, each killed after some steps; what adapters ask for fails as the dice say."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        workers: Workers,
        clock: Clock,
        dice: random.Random,
        share: float,
    ) -> None:
        self.steps = 0
        self.workers = workers
        self._journal = journal
        self._accounts = accounts
        self._clock = clock
        self._dice = dice
        self._share = share

    async def deliver(self, within: float) -> None:
        """Until the CRM has everything."""
        end = monotonic() + within
        while standings := await self._journal.ledger.standings():
            assert not any(each.failed for each in standings), f"the adapter refused: {standings[0].because}"
            assert monotonic() < end, f"not within {within:g} s: {standings[0]}"
            delivery = RoughDelivery(self, self._journal, lambda: self._accounts, self._clock, self._dice.random)
            await delivery.start()
            enough = self.steps + self._dice.randint(2, 30)
            for _ in range(self._dice.randint(5, 50)):
                await asyncio.sleep(0.01)
                if self.steps >= enough:
                    break
            await delivery.stop()

    async def may_fail(self, call: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
        """One step: it is done, or not, or done without anybody hearing of it."""
        self.steps += 1
        fate = self._dice.random() / self._share
        if fate < 0.5:
            raise TryLater("the storm: not done")
        result = await call(*arguments, **named)
        if fate < 1.0:
            raise TryLater("the storm: done, and the answer is lost")
        return result


class RoughDelivery(Delivery):
    """proxyd's own, but that every step which its adapters take may fail."""

    def __init__(
        self,
        rough: Rough,
        journal: Journal,
        accounts: Callable[[], Mapping[str, Account]],
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__(journal, accounts, rough.workers, clock, jitter)
        self._rough = rough

    def adapter(self, route: Route) -> Adapter:
        made = super().adapter(route)
        for name in _CALLS:
            setattr(made, name, functools.partial(self._rough.may_fail, getattr(made, name)))
        return made

    def tools(self, route: Route) -> Tools:
        return dataclasses.replace(super().tools(route), workers=RoughWorkers(self._rough))

    def _http(self, url: str, **options: Any) -> Http:
        made = super()._http(url, **options)
        request: Callable[..., Awaitable[Answer]] = made.request
        made.request = functools.partial(self._rough.may_fail, request)  # type: ignore[method-assign]
        return made


class RoughWorkers(Workers):
    """Threads whose work may fail."""

    def __init__(self, rough: Rough) -> None:
        self._rough = rough

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        return await self._rough.may_fail(self._rough.workers.run, fn, *args)


def compare(expected: Mapping[str, list[str]], found: list[tuple[str, list[str]]]) -> None:
    """Raises AssertionError, in a sentence, unless each message is there once with its attachments."""
    count = Counter(id.strip("<>") for id, _ in found)
    missing, twice = sorted(set(expected) - set(count)), sorted(id for id, times in count.items() if times > 1)
    unknown = sorted(set(count) - set(expected))
    wrong = sorted(id for id, files in found if sorted(files) != expected.get(id.strip("<>"), sorted(files)))
    said = {
        "not in the CRM": missing,
        "there more than once": twice,
        "there, and never logged": unknown,
        "without its attachments as they are": wrong,
    }
    faults = [f"{what}: {len(ids)}, such as {ids[0]}" for what, ids in said.items() if ids]
    assert not faults, f"of {len(expected)} messages: {'; '.join(faults)}"
