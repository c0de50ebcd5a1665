"""A mail provider in this process, for the demo: pymap as its IMAP server, aiosmtpd as its submission server.

Everything lives in memory, on free loopback ports, on an event loop in a thread of its own. What the provider does not
know is accepted and forgotten, as if it had gone out to the world.

pymap's traps: it looks up the host's name at each greeting (so ours is fixed), hashes passwords for half a second (so
ours are not hashed), stamps messages in local time without saying so (so each is given its time), does not announce
at the start of IDLE what came just before it (so each arrival is announced twice), and knows no SPECIAL-USE (which
shows that Sent is found by its name).
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import warnings
from argparse import Namespace
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from proxyprotocol.reader import ProxyProtocolReader
from proxyprotocol.version import ProxyProtocolVersion
from pymap.backend.dict import Config, Identity, Login
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

from proxyd.model import mailbox_key

T = TypeVar("T")

HOST = "127.0.0.1"
LARGEST = 50_000_000  # octets
LONGEST_LINE = 1_000_000  # octets; aiosmtpd's own limit of 1001 refuses mail that real providers take
AGAIN = 0.2  # seconds until an arrival is announced a second time
WAIT = 15.0  # seconds for anything asked of the provider's thread


@dataclass(frozen=True, slots=True)
class Person:
    address: str
    name: str
    password: str


class _Config(Config):
    @property
    def greeting(self) -> bytes:
        return b"demo provider ready"


class _Submission(SMTP):
    line_length_limit = LONGEST_LINE


_SELECT = re.compile(r'\S+ (?:SELECT|EXAMINE) "?([^"]*)"?', re.IGNORECASE)
_FETCH = re.compile(r"\S+ UID FETCH (\S+) (.*)", re.IGNORECASE)
_WHOLE = re.compile(r"BODY(\.PEEK)?\[(?!HEADER)|\bRFC822(?!\.(SIZE|HEADER))", re.IGNORECASE)


class Witness(logging.Handler):
    """Reads pymap's own log of what clients ask, and keeps for which messages more than header fields was asked."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.read: set[tuple[str, str]] = set()  # (folder, UIDs as the client wrote them)
        self._selected: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance(record.args, tuple) or len(record.args) != 2 or "-->" not in str(record.msg):
            return
        connection, line = map(str, record.args)
        if found := _SELECT.fullmatch(line):
            self._selected[connection] = found[1]
        elif (found := _FETCH.fullmatch(line)) and _WHOLE.search(found[2]):
            self.read.add((self._selected.get(connection, ""), found[1]))


class DemoProvider:
    """Two people's provider. `start` returns when both ports are open; `stop` when nothing is left of it."""

    def __init__(self, people: tuple[Person, ...]) -> None:
        self.people = {each.address: each for each in people}
        self.imap_port = 0
        self.smtp_port = 0
        self.witness = Witness()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="demo provider", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._login: Any = None

    def start(self) -> None:
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of AUTH without TLS on every connection
        said = logging.getLogger("pymap.imap")
        said.setLevel(logging.DEBUG)
        said.propagate = False
        said.addHandler(self.witness)
        self._thread.start()
        self._wait_for(self._start())

    def stop(self) -> None:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of farewells to clients that are gone
        logging.getLogger("pymap.imap").removeHandler(self.witness)
        if self._thread.is_alive():
            self._wait_for(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WAIT)
        self._loop.close()

    def deliver(self, address: str, octets: bytes, folder: str = "INBOX") -> None:
        """Put a message into a person's mailbox, as one that came in from elsewhere."""
        self._wait_for(self._append(address, folder, octets))

    def _wait_for(self, coro: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result(WAIT)

    # --- on the provider's own loop ------------------------------------------------------------------------

    async def _start(self) -> None:
        arguments = Namespace(
            debug=False, host=HOST, port=0, cert=None, key=None, tls=False, proxy_protocol=None, passlib_cfg=None,
            demo_data=False, demo_user="", demo_password="",
        )  # fmt: skip
        config = _Config.from_args(arguments, hash_context=Cleartext(), invalid_user_sleep=0.0)
        config.apply_context()
        self._login = Login(config)
        for person in self.people.values():
            user = UserMetadata(config, person.address, password=person.password)
            self._login.users_dict[person.address] = user
            async with self._session(person.address) as session:
                await session.create_mailbox("Sent")
        reader = ProxyProtocolReader(ProxyProtocolVersion.get(None))
        imap = await asyncio.start_server(reader.get_callback(IMAPServer(self._login, config)), HOST, 0)
        smtp = await self._loop.create_server(self._submission, HOST, 0)
        self._servers = [imap, smtp]
        self.imap_port, self.smtp_port = (each.sockets[0].getsockname()[1] for each in self._servers)

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        ours = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not ours]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _session(self, address: str) -> Any:
        return Identity(address, self._login, None, frozenset()).new_session()

    async def _append(self, address: str, folder: str, octets: bytes) -> None:
        async with self._session(address) as session:
            await session.append_messages(folder, [AppendMessage(octets, datetime.now(UTC))])
            mailbox = await session.mailbox_set.get_mailbox(folder)
        # What comes between a client's last command and its IDLE is announced with the next change only: here is one.
        self._loop.call_later(AGAIN, mailbox._updated.set)

    def _submission(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # AUTH without TLS: nothing here leaves this machine
            return _Submission(
                self,
                hostname="demo provider",
                data_size_limit=LARGEST,
                enable_SMTPUTF8=True,
                auth_required=True,
                auth_require_tls=False,
                authenticator=self._authenticated,
                loop=self._loop,
            )

    def _authenticated(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        person = self.people.get(data.login.decode("utf-8", "replace")) if isinstance(data, LoginPassword) else None
        right = person is not None and data.password.decode("utf-8", "replace") == person.password
        return AuthResult(success=right, handled=False)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Into the mailbox of each recipient who has one here."""
        known: Mapping[str, str] = {mailbox_key(address): address for address in self.people}
        content = envelope.content
        octets = content if isinstance(content, bytes) else (content or "").encode()
        for recipient in dict.fromkeys(map(mailbox_key, envelope.rcpt_tos)):
            if recipient in known:
                received = f"Return-Path: <{envelope.mail_from}>\r\nReceived: by demo provider\r\n".encode()
                await self._append(known[recipient], "INBOX", received + octets)
        return "250 2.0.0 Message accepted for delivery"
