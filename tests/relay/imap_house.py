"""The IMAP relay on real sockets with a real journal; the provider behind it is played by the test, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxyd.config import Account, Client, Env, SignIn
from proxyd.config import Provider as Servers
from proxyd.config import Server as ServerAddress
from proxyd.journal import Journal
from proxyd.provider.imap_door import Door, Limits
from proxyd.relay.imap import ImapRelay
from proxyd.relay.imap_uploads import NoUploads, Uploads
from proxyd.relay.local_ca import LocalCa, ensure, server_context
from proxyd.relay.login import Logins
from proxyd.store.database import Database
from proxyd.workers import Clock, SystemClock, Workers
from tests.relay.house import PASSWORD

ADA = "ada@example.com"
OFFERED = "IMAP4rev1 SASL-IR LITERAL+ ID IDLE UIDPLUS"
PROVIDERS_PASSWORD = "theirs"


@dataclass
class PlayedProvider:
    """It answers the sign-in by itself; from then on the test says what it says and reads what it hears."""

    before: str = OFFERED + " AUTH=PLAIN"
    after: str = OFFERED + " COMPRESS=DEFLATE MOVE"
    refusal: str = ""  # of the sign-in, e.g. `NO [AUTHENTICATIONFAILED] no`
    port: int = 0
    sign_ins: list[str] = field(default_factory=list)
    connections: asyncio.Queue[Talk] = field(default_factory=asyncio.Queue)  # signed in
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # open: it answers a sign-in at once
    _server: asyncio.Server | None = None
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """No new connections, and the end of those that stand."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        with contextlib.suppress(ConnectionError):
            if await self._sign_in(reader, writer):
                return
        self._open.remove(writer)
        writer.close()

    async def _sign_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False where the client goes."""
        writer.write(f"* OK [CAPABILITY {self.before}] here\r\n".encode())
        while line := (await reader.readline()).decode():
            tag, verb, *words = line.split()
            if verb == "ID":
                writer.write(f"* ID NIL\r\n{tag} OK done\r\n".encode())
                continue
            self.sign_ins.append(" ".join([verb, *words]))
            await self.gate.wait()
            if self.refusal:
                writer.write(f"{tag} {self.refusal}\r\n".encode())
                continue
            writer.write(f"{tag} OK [CAPABILITY {self.after}] in\r\n".encode())
            self.connections.put_nowait(Talk(reader, writer))
            return True
        return False


@dataclass
class Talk:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, *lines: str) -> None:
        self.writer.write(b"".join(line.encode("utf-8", "surrogateescape") + b"\r\n" for line in lines))

    async def hear(self) -> str:
        return (await self.reader.readline()).decode("utf-8", "surrogateescape").removesuffix("\r\n")

    async def ask(self, line: str) -> str:
        """Say a command; its tagged answer."""
        self.say(line)
        tag = line.partition(" ")[0] + " "
        while not (answer := await self.hear()).startswith(tag):
            assert answer, f"the connection ended behind: {line}"
        return answer

    async def ended(self) -> bool:
        return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.close()


@dataclass
class ImapHouse:
    relay: ImapRelay
    journal: Journal
    provider: PlayedProvider
    account: Account
    accounts: dict[str, Account]
    ca: LocalCa
    port: int
    tls_port: int

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca.ca))

    async def connect(self, *, limit: int = 2**16) -> Talk:
        """A client that has read the greeting."""
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port, limit=limit))
        assert (await talk.hear()).startswith("* OK [CAPABILITY ")
        return talk

    async def signed_in(self) -> tuple[Talk, Talk]:
        """A client, and the provider's end of it."""
        client = await self.connect()
        answer = await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert answer.startswith("a OK "), answer
        return client, await self.provider.connections.get()


@contextlib.asynccontextmanager
async def imap_house(
    folder: Path,
    *,
    provider: PlayedProvider | None = None,
    server: ServerAddress | None = None,
    tls: ssl.SSLContext | None = None,
    user: str = ADA,
    password: str = PROVIDERS_PASSWORD,
    clock: Clock | None = None,
    uploads: Callable[[Account], Uploads] = lambda _: NoUploads(),
) -> AsyncIterator[ImapHouse]:
    """`server`: a real one instead of the played one, with the `tls` to reach it and who signs in there."""
    played = provider or PlayedProvider()
    await played.start()
    there = server or ServerAddress(host="127.0.0.1", port=played.port, tls="none")
    account = Account(
        address=ADA,
        name="Ada Lovelace",
        provider=Servers(imap=there, smtp=there),
        sign_in=SignIn(imap_user=user, smtp_user=user, password=Env(env="UNUSED")),
        client=Client(password=Env(env="UNUSED")),
    )
    accounts = {ADA: account}
    clock = clock or SystemClock()
    workers = Workers(4)
    database = Database(folder / "data", b"k" * 32)
    database.start_writing(asyncio.get_running_loop())
    journal = Journal(database, workers, clock, lambda: accounts)
    await journal.open()
    ca = ensure(folder / "ca")
    ours = server_context(ca.chain, ca.key)
    logins = Logins(lambda: accounts, workers, clock, lambda _source, _what: PASSWORD)

    async def secret() -> str:
        return password

    relay = ImapRelay(
        lambda: accounts,
        journal,
        lambda _: Door(there, user, secret, tls, Limits(connect=5, answer=5)),
        clock,
        logins=logins,
        tls=ours,
        uploads=uploads,
    )
    loop = asyncio.get_running_loop()
    plain_side = await loop.create_server(lambda: relay.protocol(False), "127.0.0.1", 0)
    tls_side = await loop.create_server(lambda: relay.protocol(True), "127.0.0.1", 0, ssl=ours)
    try:
        ports = [each.sockets[0].getsockname()[1] for each in (plain_side, tls_side)]
        yield ImapHouse(relay, journal, played, account, accounts, ca, *ports)
    finally:
        plain_side.close()
        tls_side.close()
        await relay.close()
        played.stop()
        journal.close()
        await workers.run(database.close)
        workers.close()
