"""A message on its way in: its header section is gathered and judged, its body passes on in blocks.

At most one block and the header section (up to 4 MiB) are in memory. Once the message is refused, the rest of it is
only counted: the client hears why when it has sent its last dot.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime

import structlog

from proxyd.config import Account
from proxyd.formats.fields import fields, parts
from proxyd.formats.message import filed_form, heading, split_header
from proxyd.formats.smtp_dialogue import reply, too_big
from proxyd.journal import Intake, Submission
from proxyd.model import Envelope, Heading, SmtpReply, mailbox_key
from proxyd.relay import answers
from proxyd.workers import Workers

HEADER_LIMIT = 4 * 1024 * 1024  # octets
LONG_HEADER = 64 * 1024  # octets; longer ones are read in a thread: a hostile one of 4 MiB takes seconds
ID_LIMIT = 64  # characters of a Message-ID that we make, brackets included; longer ones get folded by somebody
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")

log = structlog.get_logger()


def addresses_of(account: Account) -> dict[str, str]:
    """What the account may send as: each address by its comparison key."""
    return {mailbox_key(address): address for address in (account.address, *account.aliases)}


def new_message_id(sender: str, word: Callable[[int], str] = secrets.token_hex) -> str:
    """`random@domain of the sender`, ASCII, at most 64 characters with its brackets.

    A domain that is too long for that loses labels from the left: the right-hand side only has to be ours.
    """
    domain = mailbox_key(sender).rpartition("@")[2] if "@" in sender else ""
    if not _DOMAIN.fullmatch(domain):
        domain = "localhost"
    left = word(12)
    room = ID_LIMIT - len(left) - len("<@>")
    while len(domain) > room:
        domain = domain.partition(".")[2] or domain[:room].rstrip("-")
    return f"{left}@{domain}"


class Reception:
    """`feed` until the client has ended the message, then `finish`; `abandon` where it never ends it.

    `limit` is the largest message taken, in octets.
    """

    def __init__(
        self, intake: Intake, account: Account, envelope: Envelope, limit: int, now: datetime, workers: Workers
    ) -> None:
        self.intake = intake
        self.refusal: SmtpReply | None = None
        self.size = 0  # octets so far
        self._account = account
        self._envelope = envelope
        self._limit = limit
        self._now = now
        self._workers = workers
        self._sum = hashlib.sha256()
        self._gathered = bytearray()
        self._looked = 0  # octets of `_gathered` in which the blank line is not
        self._submission: Submission | None = None

    def refuse(self, why: SmtpReply) -> None:
        """The first reason is the one that counts."""
        self.refusal = self.refusal or why
        self._gathered.clear()

    async def feed(self, content: bytes) -> None:
        """Returns when there is room for more. What the store raises is a refusal too."""
        self.size += len(content)
        if self.size > self._limit:
            self.refuse(too_big(self._limit))
        if self.refusal is not None:
            return
        self._sum.update(content)
        try:
            if self._submission is None:
                await self._gather(content)
            else:
                await self.intake.write(content)
        except Exception:
            log.exception("message not kept", submission=self.intake.id)
            self.refuse(answers.NOT_KEPT)

    async def finish(self) -> Submission | SmtpReply:
        """The whole message was here. A message without a blank line is all header section."""
        if self.refusal is None and self._submission is None:
            await self._take_header(len(self._gathered))
        if self.refusal is not None or self._submission is None:
            await self.abandon()
            return self.refusal or answers.NOT_KEPT
        self._sum.update(_envelope_octets(self._envelope))
        return replace(self._submission, fingerprint=self._sum.hexdigest())

    async def abandon(self) -> None:
        self._gathered.clear()
        try:
            await self.intake.abandon()
        except Exception:
            log.exception("what was received could not be dropped", submission=self.intake.id)

    async def _gather(self, content: bytes) -> None:
        self._gathered += content
        end = split_header(self._gathered, self._looked)
        if end is None and len(self._gathered) <= HEADER_LIMIT:
            self._looked = len(self._gathered)
        elif end is None or end > HEADER_LIMIT:
            self.refuse(reply(552, f"5.3.4 The header section is too big: at most {HEADER_LIMIT} octets are taken"))
        else:
            await self._take_header(end)

    async def _take_header(self, end: int) -> None:
        header = bytes(self._gathered[:end])
        body = bytes(self._gathered[end:])
        self._gathered.clear()
        if len(header) > LONG_HEADER:
            said, filed = await self._workers.run(self._read, header)
        else:
            said, filed = self._read(header)
        mine = addresses_of(self._account)
        for author in said.from_:
            if mailbox_key(author.address) not in mine:
                self.refuse(answers.not_yours(author.address, mine.values(), "From"))
                return
        told = not self._envelope.sender or any(each.name == b"from" for each in fields(parts(header)[0]))
        if told and not said.from_:
            self.refuse(reply(553, "5.7.1 The From field names no address that can be read"))
            return
        self._submission = Submission(self._account.address, self._envelope, said, fingerprint="")
        await self.intake.header(filed)
        if body:
            await self.intake.write(body)

    def _read(self, header: bytes) -> tuple[Heading, bytes]:
        """What the header section says, with the Message-ID and Date that it goes out with, and its filed form."""
        said = heading(header)
        made = new_message_id(self._envelope.sender or self._account.address)
        filed = filed_form(header, message_id=made, date=format_datetime(self._now))
        return replace(said, message_id=said.message_id or made, date=said.date or self._now), filed


def _envelope_octets(envelope: Envelope) -> bytes:
    people = [[each.address, *each.parameters] for each in envelope.recipients]
    return json.dumps([envelope.sender, list(envelope.parameters), people]).encode()
