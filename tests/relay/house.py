"""A relay on real sockets with a real journal; the provider behind it is a script of outcomes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxyd.config import Account, Client, Env, Provider, Sending, Server, SignIn
from proxyd.formats.smtp_client import Offer
from proxyd.journal import Journal
from proxyd.model import Accepted, Content, Envelope, Outcome, Progress, SmtpReply
from proxyd.relay.local_ca import LocalCa, ensure, server_context
from proxyd.relay.login import Logins
from proxyd.relay.smtp import SmtpRelay
from proxyd.relay.spool import Spool
from proxyd.store.database import Database
from proxyd.workers import Clock, SystemClock, Workers

PASSWORD = "correct horse"
OFFER = Offer(size=35882577, keywords=frozenset({"8BITMIME", "SMTPUTF8", "DSN", "SIZE", "PIPELINING"}))
TAKEN = Accepted(SmtpReply(250, ("2.0.0 OK queued as 4711",)))


def account(
    address: str = "ada@example.com",
    *aliases: str,
    answer_within: float = 75.0,
    on_outage: str = "tempfail",
    spool_for: float = 345600.0,
) -> Account:
    server = Server(host="provider.example", port=465, tls="implicit")
    return Account(
        address=address,
        name="Ada Lovelace",
        aliases=aliases,
        provider=Provider(imap=server, smtp=server),
        sign_in=SignIn(imap_user=address, smtp_user=address, password=Env(env="UNUSED")),
        client=Client(password=Env(env=f"CLIENT_{address}")),
        sending=Sending.model_construct(answer_within=answer_within, on_outage=on_outage, spool_for=spool_for),
    )


@dataclass
class ScriptedProvider:
    """Answers each message with the next outcome of the script, with TAKEN when that is at its end."""

    offer: Offer | None = OFFER
    script: deque[Outcome | Callable[[], Outcome]] = field(default_factory=deque)
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # open: it answers at once
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # a message has come
    envelopes: list[Envelope] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    warmed: int = 0
    keep: bool = True  # the octets
    door: asyncio.Event = field(default_factory=asyncio.Event)  # open: a connection can be had
    at_the_end: bool = True  # the gate stands behind the final dot, else before it

    def __post_init__(self) -> None:
        self.gate.set()
        self.door.set()

    def warm(self) -> None:
        self.warmed += 1

    async def submit(self, envelope: Envelope, content: Content, progress: Progress | None = None) -> Outcome:
        self.asked.set()
        await self.door.wait()
        if progress is not None:
            await progress.begins()
        octets = b""
        async for chunk in content.chunks():
            octets += chunk if self.keep else b""
        if progress is not None and self.at_the_end:
            progress.ends()
        await self.gate.wait()
        self.envelopes.append(envelope)
        self.messages.append(octets)
        outcome = self.script.popleft() if self.script else TAKEN
        return outcome() if callable(outcome) else outcome


@dataclass
class House:
    relay: SmtpRelay
    journal: Journal
    database: Database
    provider: ScriptedProvider
    accounts: dict[str, Account]
    ca: LocalCa
    port: int
    tls_port: int
    spool: Spool

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca.ca))

    async def connect(self) -> Talk:
        """A client that has read the greeting."""
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port))
        assert (await talk.hear()).startswith("220 localhost")
        return talk

    async def signed_in(self) -> Talk:
        talk = await self.connect()
        await talk.say("EHLO client", "250")
        await talk.say(f"AUTH PLAIN {plain()}", "235")
        return talk


@dataclass
class Talk:
    """A client, line by line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> str:
        """One reply, its lines joined by `|`; empty when the connection has ended."""
        lines = []
        while line := (await self.reader.readline()).decode():
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                break
        return "|".join(lines)

    async def say(self, line: str, code: str = "") -> str:
        """Send a line, hear the reply; its beginning must be `code`."""
        self.writer.write(line.encode("utf-8", "surrogateescape") + b"\r\n")
        answer = await self.hear()
        assert answer.startswith(code), f"{line} -> {answer}"
        return answer

    async def mail(self, *recipients: str, sender: str = "ada@example.com") -> None:
        await self.say(f"MAIL FROM:<{sender}>", "250")
        for each in recipients or ("bob@example.net",):
            await self.say(f"RCPT TO:<{each}>", "250")
        await self.say("DATA", "354")

    async def send(self, message: bytes = b"", *recipients: str) -> str:
        """A whole message, its dots stuffed here; returns the answer to the last dot."""
        await self.mail(*recipients)
        return await self.content(message or MESSAGE)

    async def content(self, message: bytes) -> str:
        self.writer.write(stuffed(message))
        await self.writer.drain()
        return await self.hear()

    def close(self) -> None:
        self.writer.close()


MESSAGE = b"""From: Ada <ada@example.com>\r
To: bob@example.net\r
Message-ID: <1@example.com>\r
Date: Mon, 23 Nov 2026 10:00:00 +0000\r
Subject: Offer\r
\r
Hello\r
"""


def plain(user: str = "ada@example.com", password: str = PASSWORD, acts_for: str = "") -> str:
    return base64.b64encode(f"{acts_for}\0{user}\0{password}".encode()).decode()


def stuffed(message: bytes) -> bytes:
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@contextlib.asynccontextmanager
async def house(folder: Path, *accounts: Account, clock: Clock | None = None) -> AsyncIterator[House]:
    configured = {each.address: each for each in accounts or (account(),)}
    clock = clock or SystemClock()
    workers = Workers(4)
    database = Database(folder / "data", b"k" * 32)
    database.start_writing(asyncio.get_running_loop())
    journal = Journal(database, workers, clock, lambda: configured)
    await journal.open()
    provider = ScriptedProvider()
    ca = ensure(folder / "ca")
    tls = server_context(ca.chain, ca.key)
    logins = Logins(lambda: configured, workers, clock, lambda _source, _what: PASSWORD)
    relay = SmtpRelay(lambda: configured, journal, lambda _address: provider, clock, logins=logins, tls=tls)
    loop = asyncio.get_running_loop()
    plain_side = await loop.create_server(lambda: relay.protocol(False), "127.0.0.1", 0)
    tls_side = await loop.create_server(lambda: relay.protocol(True), "127.0.0.1", 0, ssl=tls)
    try:
        ports = [each.sockets[0].getsockname()[1] for each in (plain_side, tls_side)]
        spool = Spool(lambda: configured, journal, lambda _address: provider, clock, lambda: 0.5)
        if any(each.sending.on_outage == "spool" for each in configured.values()):
            spool.start()
        yield House(relay, journal, database, provider, configured, ca, *ports, spool)
    finally:
        await spool.stop(0.1)
        plain_side.close()
        tls_side.close()
        await relay.close(1.0)
        journal.close()
        await workers.run(database.close)
        workers.close()
