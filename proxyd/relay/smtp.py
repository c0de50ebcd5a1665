"""The SMTP side of the relay: one object for all listeners of mail clients. The daemon opens the sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from proxyd.config import Account
from proxyd.formats.smtp_dialogue import extensions
from proxyd.journal import Intake, Journal
from proxyd.model import Envelope, SmtpReply, Source
from proxyd.relay.desk import Desk
from proxyd.relay.dialogue import Dialogue
from proxyd.relay.login import Logins
from proxyd.relay.reception import Reception
from proxyd.relay.submission import Provider
from proxyd.workers import Clock

BLOCK = 256 * 1024  # octets


class SmtpRelay:
    """`tls` is the one server context, used for STARTTLS here; the implicit-TLS listener gets it with its socket."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        submitters: Callable[[str], Provider],
        clock: Clock,
        *,
        logins: Logins,
        tls: ssl.SSLContext,
    ) -> None:
        self._desk = Desk(accounts, journal, submitters, logins, clock)
        self._tls = tls

    def protocol(self, implicit_tls: bool) -> asyncio.Protocol:
        """A new connection's protocol: `loop.create_server(lambda: relay.protocol(False), …)`."""
        return Dialogue(self._desk, None if implicit_tls else self._tls)

    async def hand_in(
        self, account: Account, intake: Intake, envelope: Envelope, octets: bytes
    ) -> tuple[str, SmtpReply]:
        """A message that comes from the CRM: the same rules and the same way as a mail client's. Returns the
        submission's id ("" where none was begun) and what a client would hear."""
        desk = self._desk
        limit = extensions(desk.offers(account.address)).size
        reception = Reception(intake, account, envelope, limit, desk.clock.now(), desk.workers)
        for start in range(0, len(octets), BLOCK):
            await reception.feed(octets[start : start + BLOCK])
        submission = await reception.finish()
        if isinstance(submission, SmtpReply):
            return "", submission
        handed = await desk.submissions.hand_in(account, intake, replace(submission, source=Source.API))
        desk.submissions.told(handed)  # whoever asks again says so by their Idempotency-Key
        return handed.id, handed.reply

    def is_under_way(self, id: str) -> bool:
        """Is submission `id` being begun or handed over, whether or not anybody waits for it?"""
        return self._desk.submissions.is_under_way(id)

    async def close(self, seconds: float = 10.0) -> None:
        """Idle connections end; messages on their way get `seconds` to come to their outcome."""
        self._desk.dismiss_all()
        await self._desk.submissions.close(seconds)
        self._desk.dismiss_all()
        self._desk.workers.close()
