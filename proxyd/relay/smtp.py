"""The SMTP side of the relay: one object for all listeners of mail clients. The daemon opens the sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.relay.desk import Desk
from proxyd.relay.dialogue import Dialogue
from proxyd.relay.login import Logins
from proxyd.relay.submission import Provider
from proxyd.workers import Clock


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

    async def close(self, seconds: float = 10.0) -> None:
        """Idle connections end; messages on their way get `seconds` to come to their outcome."""
        self._desk.dismiss_all()
        await self._desk.submissions.close(seconds)
        self._desk.dismiss_all()
        self._desk.workers.close()
