"""The IMAP side of the relay: one object for all listeners of mail clients. The daemon opens the sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.relay.imap_desk import Door, ImapDesk
from proxyd.relay.imap_dialogue import ImapDialogue
from proxyd.relay.imap_uploads import NoUploads, Uploads
from proxyd.relay.login import Logins
from proxyd.workers import Clock


class ImapRelay:
    """`tls` is the one server context, used for STARTTLS here; the implicit-TLS listener gets it with its socket.

    `doors` gives the way to an account's provider; it raises TryLater where the account is not served at the moment.
    `uploads` makes what is asked about one connection's uploads.
    """

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        doors: Callable[[Account], Door],
        clock: Clock,
        *,
        logins: Logins,
        tls: ssl.SSLContext,
        uploads: Callable[[Account], Uploads] = lambda _: NoUploads(),
    ) -> None:
        self._desk = ImapDesk(accounts, journal, doors, uploads, logins, clock)
        self._tls = tls

    def protocol(self, implicit_tls: bool) -> asyncio.Protocol:
        """A new connection's protocol: `loop.create_server(lambda: relay.protocol(False), …)`."""
        return ImapDialogue(self._desk, None if implicit_tls else self._tls)

    def reloaded(self) -> None:
        """The accounts have changed: clients of those that are gone, or are another's now, hear BYE."""
        self._desk.look_again()

    def awake(self) -> None:
        """The machine has slept, its clock was set, or its network is another: what was wrong may be right by now."""
        self._desk.awake()

    async def close(self) -> None:
        """Every client hears BYE."""
        self._desk.dismiss_all()
        self._desk.close()
