"""Tries an account out before it is served: signs in to both servers, finds Sent, sends the person one mail.

The mail shows what no server says: whether the provider files what is sent in Sent by itself, and whether it gives it
another Message-ID. It is recognised by a field of ours, so nothing of any other message is asked for. It stays where it
is: what lies in a person's mailbox is not ours to remove.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from proxyd.config import Account
from proxyd.errors import ConfigError, ProxydError, Refused, SignInRefused, TryLater
from proxyd.formats.message import heading
from proxyd.model import (
    Accepted,
    Envelope,
    HealthCause,
    NotAccepted,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    Recipient,
    SentFolder,
)
from proxyd.provider.imap import Connection
from proxyd.provider.smtp_door import Door, NotReady
from proxyd.provider.smtp_session import Limits, Session
from proxyd.provider.tls import client_context
from proxyd.rules.sent_folder import sent_folder
from proxyd.workers import Workers

MARK = "X-Proxyd-Test"
ARRIVES_WITHIN = 60.0  # seconds
FILED_WITHIN = 10.0  # seconds after it has arrived
LOOK_EVERY = 0.5  # seconds
LIMITS = Limits(reply=30.0, final=60.0)

TEXT = """\
This mail was sent by `proxyd connect`, from you to yourself, to see how your provider treats what you send.
You may delete it, here and in your Sent folder.
"""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the mail to oneself showed. `files_sent`: the provider put a copy into Sent; `new_id`: under another
    Message-ID than the one it was given; `dropbox` says why the dropbox's copy was refused, "" where it was taken."""

    arrived: bool
    files_sent: bool
    new_id: bool
    dropbox: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One account and the secret it signs in with. Every method raises what `proxyd.errors` names."""

    account: Account
    secret: str
    workers: Workers
    limits: Limits = LIMITS
    arrives_within: float = ARRIVES_WITHIN
    filed_within: float = FILED_WITHIN

    async def imap(self) -> SentFolder:
        """Signs in, and says which folder is Sent."""

        def look() -> SentFolder:
            connection = self._signed_in()
            try:
                return sent_folder(connection.folders(), self.account.sent_copy.folder)
            finally:
                connection.close()

        return await self.workers.run(look)

    async def smtp(self) -> None:
        """Signs in and goes again."""
        session = await self._submission()
        session.wire.close(b"QUIT\r\n")

    async def mail_to_oneself(self, sent: SentFolder) -> Habits:
        """Sends it, and waits for it in INBOX and in Sent. The account's dropbox gets one too."""
        token = secrets.token_hex(16)
        message = _letter(self.account.address, self.account.name, token)
        looking = await self.workers.run(_Looking, self._signed_in(), sent.name if sent.exists else "")
        try:
            await self._send(self.account.address, message)
            refused = ""
            if self.account.dropbox is not None:
                try:
                    await self._send(self.account.dropbox, message)
                except ProxydError as error:
                    refused = str(error)
            return await self._watch(looking, token, refused)
        finally:
            await self.workers.run(looking.connection.close)

    async def _watch(self, looking: _Looking, token: str, refused: str) -> Habits:
        loop = asyncio.get_running_loop()
        arrived: str | None = None
        filed: str | None = None
        end = loop.time() + self.arrives_within
        while (filed is None or arrived is None) and loop.time() < end:
            found = await self.workers.run(looking.look, token)
            if arrived is None and found.inbox is not None:
                arrived = found.inbox
                end = min(end, loop.time() + self.filed_within)
            filed = found.sent if filed is None else filed
            if filed is None or arrived is None:
                await asyncio.sleep(LOOK_EVERY)
        ids = {each for each in (arrived, filed) if each}
        return Habits(
            arrived is not None, filed is not None, bool(ids - {_message_id(self.account.address, token)}), refused
        )

    # --- the two servers

    def _signed_in(self) -> Connection:
        server = self.account.provider.imap
        context = None if server.tls == "none" else client_context("imap", self.account.provider.ca)
        connection = Connection.open(server.host, server.port, server.tls, context)
        try:
            connection.sign_in(self.account.sign_in.imap_user, self.secret)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _submission(self) -> Session:
        server = self.account.provider.smtp
        context = None if server.tls == "none" else client_context("smtp", self.account.provider.ca)

        async def secret() -> str:
            return self.secret

        try:
            return await Door(
                server, self.account.sign_in.smtp_user, secret, context, "[127.0.0.1]", self.limits
            ).open()
        except NotReady as error:
            raise _named(error) from None

    async def _send(self, recipient: str, message: bytes) -> None:
        session = await self._submission()
        try:
            outcome = await session.send(Envelope(self.account.address, (Recipient(recipient),)), _Octets(message))
        finally:
            session.wire.close(b"QUIT\r\n")
        _demand(outcome, recipient)


def _named(error: NotReady) -> ProxydError:
    if error.event.cause is HealthCause.SIGN_IN_REFUSED:
        return SignInRefused("the provider refused the user name or password for sending", error.event.evidence)
    if error.event.cause is HealthCause.MISCONFIGURED:
        return ConfigError(error.why)
    return TryLater(error.why, evidence=error.event.evidence)


def _demand(outcome: Outcome, recipient: str) -> None:
    match outcome:
        case Accepted():
            return
        case NotAccepted():
            reply = outcome.about[0][1] if outcome.about else outcome.reply
            raise Refused(f"the provider did not take a mail to {recipient}: {reply.text}", reply.text)
        case NotHandedOver() | OutcomeUnknown():
            raise TryLater(f"a mail to {recipient} did not get through: {outcome.why}")


@dataclass(frozen=True, slots=True)
class _Octets:
    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.octets


def _letter(address: str, name: str, token: str) -> bytes:
    letter = EmailMessage(policy=SMTP)
    letter["From"] = address
    letter["To"] = address
    letter["Subject"] = "proxyd: a test mail to yourself"
    letter["Date"] = format_datetime(datetime.now(UTC))
    letter["Message-ID"] = f"<{_message_id(address, token)}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter[MARK] = token
    letter.set_content(TEXT)
    return letter.as_bytes()


def _message_id(address: str, token: str) -> str:
    return f"{token}@{address.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The Message-ID under which the mail lies there; None = it does not."""

    inbox: str | None
    sent: str | None


class _Looking:
    """Two folders, each from where it stood when this was made; blocking."""

    def __init__(self, connection: Connection, sent: str) -> None:
        self.connection = connection
        self._from = {folder: connection.status(folder).uidnext for folder in ("INBOX", sent) if folder}
        self._sent = sent

    def look(self, token: str) -> _Seen:
        return _Seen(self._in("INBOX", token), self._in(self._sent, token) if self._sent else None)

    def _in(self, folder: str, token: str) -> str | None:
        opened = self.connection.examine(folder)
        if not opened.messages:
            return None
        fresh = self.connection.uids_from(max(1, self._from[folder]))
        for uid, field in self.connection.fields(fresh, [MARK]).items():
            if token.encode() in field:
                named = self.connection.fields([uid], ["MESSAGE-ID"]).get(uid, b"")
                return heading(named).message_id
        return None
