"""Sending from the CRM: a message that is composed, or given whole, goes the way of one that a mail client hands in.

The relay's own code takes it from here (`Relay`, which the daemon passes in): the same check of From, the same rules,
the same journal, the same answers. What is added is the Idempotency-Key: on disk, with the submission's id, before the
submission is begun, so that a request that comes again finds what came of the first, whatever ended in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Protocol

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.formats.compose import Draft, NotComposable, compose
from proxyd.formats.message import heading, split_header
from proxyd.journal import Intake, Journal
from proxyd.model import Envelope, Recipient, SmtpReply, State, mailbox_key
from proxyd.store import idempotency, submissions
from proxyd.store.database import Database
from proxyd.store.idempotency import Remembered
from proxyd.workers import Clock, Workers

REMEMBERED = timedelta(days=30)  # how long a key finds its first answer

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Relay(Protocol):
    """What takes it from here. `hand_in` returns (the submission's id, "" where none was begun; what a mail client
    would hear). `is_under_way`: does it go on with a submission whose asker was answered before it was begun?"""

    async def hand_in(
        self, account: Account, intake: Intake, envelope: Envelope, octets: bytes
    ) -> tuple[str, SmtpReply]: ...

    def is_under_way(self, id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Handed:
    """What came of it. `id` is the submission's, "" where none was begun; `reply` None where it is not known again."""

    id: str
    state: State
    reply: SmtpReply | None


class KeyReused(Refused):
    """The same Idempotency-Key came with another request."""


class Sending:
    """`accounts`: as configured now, by address in lower case. `new_id` makes a Message-ID for a sender's address."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        database: Database,
        workers: Workers,
        clock: Clock,
        relay: Callable[[], Relay],
        new_id: Callable[[str], str],
    ) -> None:
        self._accounts = accounts
        self._journal = journal
        self._database = database
        self._workers = workers
        self._clock = clock
        self._relay = relay
        self._new_id = new_id
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}

    async def send(self, address: str, mail: Draft | bytes, key: tuple[str, str] | None = None) -> Handed:
        """Send as the account `address`. `key` is (who asks, their Idempotency-Key).

        Raises NotComposable for what makes no message and KeyReused. A request with the same key waits for the first.
        """
        account = self._accounts()[address]
        if key is None:
            return await self._submit(account, mail, self._journal.intake(address))
        async with self._turn(key):
            fingerprint = self._fingerprint(address, mail)
            known = await self._workers.run(self._known, key)
            if known is not None and known[0].fingerprint != fingerprint:
                raise KeyReused("this Idempotency-Key was used for another request; take a new one")
            if known is not None and known[1] is not None and known[1].state is not State.REFUSED:
                return known[1]
            if known is not None and known[1] is None and self._relay().is_under_way(known[0].submission):
                return Handed(known[0].submission, State.SUBMITTING, None)
            # Nothing was begun for it, or the provider certainly does not have it: now it is tried.
            intake = self._journal.intake(address)
            await self._remember(key, Remembered(fingerprint, intake.id))
            handed = await self._submit(account, mail, intake)
            if handed.id not in ("", intake.id):
                await self._remember(key, Remembered(fingerprint, handed.id))
            return handed

    def _turn(self, key: tuple[str, str]) -> asyncio.Lock:
        """One lock for each key that is asked for now."""
        for idle in [each for each, lock in self._turns.items() if not lock.locked() and each != key]:
            del self._turns[idle]
        return self._turns.setdefault(key, asyncio.Lock())

    def _fingerprint(self, address: str, mail: Draft | bytes) -> str:
        said = mail if isinstance(mail, bytes) else repr(mail).encode("utf-8", "surrogatepass")
        return self._database.hash_id(f"{address} {hashlib.sha256(said).hexdigest()}")

    def _known(self, key: tuple[str, str]) -> tuple[Remembered, Handed | None] | None:
        with self._database.reading() as connection:
            known = idempotency.get(connection, *key)
            if known is None:
                return None
            row = submissions.get(connection, known.submission)
        return known, None if row is None else Handed(row.id, row.state, row.reply)

    async def _remember(self, key: tuple[str, str], what: Remembered) -> None:
        now = self._clock.now()

        def job(connection: sa.Connection) -> None:
            idempotency.forget(connection, now - REMEMBERED)
            idempotency.put(connection, *key, what, now)

        await self._database.write(job)

    async def _submit(self, account: Account, mail: Draft | bytes, intake: Intake) -> Handed:
        octets, envelope = await self._workers.run(self._written, account, mail)
        id, reply = await self._relay().hand_in(account, intake, envelope, octets)
        row = await self._workers.run(self._row, id) if id else None
        if row is not None:
            return Handed(id, row.state, reply)
        if reply.positive:
            return Handed(id, State.SENT, reply)  # a message for the log alone
        return Handed(id, State.SUBMITTING if id else State.REFUSED, reply)

    def _row(self, id: str) -> submissions.Submitted | None:
        with self._database.reading() as connection:
            return submissions.get(connection, id)

    def _written(self, account: Account, mail: Draft | bytes) -> tuple[bytes, Envelope]:
        """(the octets, the envelope). The reverse-path is the From address where that is one of the account's."""
        if isinstance(mail, Draft):
            octets = compose(mail, self._new_id(mail.from_.address), format_datetime(self._clock.now()))
            return octets, _envelope(account, mail.from_.address, mail.recipients, octets)
        if b"\0" in mail:
            raise NotComposable("the message holds a NUL, which no mail may hold")
        octets = _LINE_END.sub(b"\r\n", mail)
        said = heading(octets[: split_header(octets) or len(octets)])
        recipients = tuple(dict.fromkeys(each.address for each in (*said.to, *said.cc, *said.bcc)))
        if not recipients:
            raise NotComposable("nobody is named to send it to; accepted: a message with To, Cc or Bcc")
        return octets, _envelope(account, said.from_[0].address if said.from_ else "", recipients, octets)


def _envelope(account: Account, author: str, recipients: tuple[str, ...], octets: bytes) -> Envelope:
    own = {mailbox_key(each): each for each in (account.address, *account.aliases)}
    parameters: tuple[str, ...] = ()
    if not octets.isascii():
        header = octets[: split_header(octets) or len(octets)]
        parameters = ("BODY=8BITMIME",) if header.isascii() else ("BODY=8BITMIME", "SMTPUTF8")
    sender = own.get(mailbox_key(author), account.address)
    return Envelope(sender, tuple(Recipient(each) for each in recipients), parameters)
