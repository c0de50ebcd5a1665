"""The door to the account's IMAP server for a mail client: connected, over TLS, signed in; then the client's own.

Why this way: what stands here serves a client that waits, so it is asyncio, takes no thread, and spends as few round
trips as the server allows: our ID goes in one flight with the sign-in, capabilities are asked for only where the
server did not tell them by itself, and the connection is made while the password is being asked for. The watcher's
connections are another matter (`provider.imap`): they give commands, these only carry them.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxyd.config import Server
from proxyd.errors import ProxydError
from proxyd.formats import capabilities, sasl
from proxyd.formats.imap_words import quoted
from proxyd.provider.allowance import Place
from proxyd.provider.imap_errors import Misconfigured, Unreachable, one_line, refusal, translated
from proxyd.provider.keepalive import keep_alive
from proxyd.provider.sign_in import AccessToken, once_more
from proxyd.provider.tls import abort
from proxyd.workers import start

LINE_LIMIT = 64 * 1024  # octets of a server's line before the sign-in is done
_ID = b'ID ("name" "proxyd")\r\n'


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: TCP and TLS together, each answer."""

    connect: float = 10.0
    answer: float = 30.0


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A connection that is signed in. `text` is the server's own at that; `ahead` came behind it and was not read.

    `transport` is to be given its protocol (`set_protocol`) before the loop turns.
    """

    transport: asyncio.Transport
    capabilities: tuple[str, ...]
    text: str
    ahead: bytes
    place: Place | None = None  # among the account's connections: to be left when this one is closed

    def abort(self) -> None:
        """Nobody wants it any more."""
        abort(self.transport)
        self.leave()

    def leave(self) -> None:
        """The transport is closed: the place is free."""
        if self.place is not None:
            self.place.leave()


@dataclass(frozen=True, slots=True)
class Door:
    """All that is needed to sign in. `password` is asked each time; it raises ConfigError.

    `tls` may be None only where the server's `tls` is none.
    """

    server: Server
    user: str
    password: Callable[[], Awaitable[str]]
    tls: ssl.SSLContext | None
    limits: Limits = Limits()

    async def open(self) -> SignedIn:
        """Raises SignInRefused, Throttled, Unreachable, Misconfigured, ConfigError (`provider.imap_errors`)."""
        early = [start(self._on_its_way(), "imap connect")]  # nobody's until it is taken out
        try:
            return await once_more(self.password, functools.partial(self._open, early))
        finally:
            for connecting in early:  # not cancelled: asyncio leaves open what was connected at that very moment
                connecting.add_done_callback(_drop)

    async def _on_its_way(self) -> _Wire | ProxydError:
        """What went wrong is told when the connection is wanted: without a password it never is."""
        try:
            return await self._connect()
        except ProxydError as error:
            return error

    async def _open(self, early: list[asyncio.Task[_Wire | ProxydError]], secret: str) -> SignedIn:
        made = await asyncio.shield(early[0]) if early else None
        early.clear()
        if isinstance(made, ProxydError):
            raise made
        if made is None or made.lost:  # the password took longer than the server waits
            made = await self._connect()
        wire = made
        try:
            return await self._greeted(wire, secret)
        except BaseException:
            wire.abort()
            raise

    @property
    def _where(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    async def _connect(self) -> _Wire:
        implicit = self.server.tls == "implicit"
        at = (self.server.host, self.server.port)
        with translated(f"connecting to {self._where}", at=at):
            async with asyncio.timeout(self.limits.connect):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: _Wire(self.limits.answer),
                    *at,
                    ssl=self.tls if implicit else None,
                    server_hostname=self.server.host if implicit else None,
                    happy_eyeballs_delay=0.25,
                )
        return wire

    async def _greeted(self, wire: _Wire, secret: str) -> SignedIn:
        greeting = await wire.line()
        kind = greeting[:9].upper()
        if kind.startswith(b"* PREAUTH"):
            raise Misconfigured(f"{self._where}: the server asks for no sign-in (PREAUTH), which is not supported")
        if not kind.startswith(b"* OK"):
            raise refusal(f"connecting to {self._where}", _text(greeting), login=False, at=True)
        offered = capabilities.found_in(greeting)
        if self.server.tls == "starttls":
            await self._secure(wire, offered or await self._capabilities(wire))
            offered = None  # what was said in clear is not believed
        elif self.server.tls == "none" and not wire.is_local:
            raise Misconfigured(f"{self._where}: tls: none is for this machine only")
        return await self._sign_in(wire, secret, offered or await self._capabilities(wire))

    async def _capabilities(self, wire: _Wire) -> tuple[str, ...]:
        tag = wire.command(b"CAPABILITY\r\n")
        answer = await wire.answer(tag)
        if not answer.ok or answer.capabilities is None:
            raise Unreachable(f"{self._where}: the server does not say what it can do", evidence=answer.text)
        return answer.capabilities

    async def _secure(self, wire: _Wire, offered: tuple[str, ...]) -> None:
        if not _has(offered, "STARTTLS"):
            raise Misconfigured(
                f"{self._where}: the server does not offer STARTTLS on this port: use tls: implicit and port 993"
            )
        answer = await wire.answer(wire.command(b"STARTTLS\r\n"))
        if not answer.ok:
            raise refusal("STARTTLS", answer.text, login=False, at=True)
        assert self.tls is not None
        with translated("STARTTLS", at=(self.server.host, self.server.port)):
            async with asyncio.timeout(self.limits.connect):
                await wire.start_tls(self.tls, self.server.host)

    async def _sign_in(self, wire: _Wire, password: str, offered: tuple[str, ...]) -> SignedIn:
        if "\0" in self.user + password:
            raise Misconfigured("a user name or password with a NUL cannot be sent")
        introduced = _has(offered, "ID")
        if introduced:
            wire.command(_ID, later=True)
        if isinstance(password, AccessToken):
            answer = await self._authenticate_by_token(wire, password, offered)
        elif _has(offered, "AUTH=PLAIN"):
            answer = await self._authenticate_plain(wire, password, initial=_has(offered, "SASL-IR"))
        elif _has(offered, "LOGINDISABLED"):
            raise Misconfigured(f"{self._where}: the server takes no password here: it says LOGINDISABLED")
        else:
            answer = await self._login(wire, password)
        if not answer.ok:
            raise refusal("signing in", answer.text, login=True, at=False)
        after = answer.capabilities or await self._capabilities(wire)
        if not introduced and _has(after, "ID"):
            await wire.answer(wire.command(_ID))  # some ask for it; none may refuse us for it
        return SignedIn(wire.transport, after, answer.text, wire.ahead)

    async def _authenticate_plain(self, wire: _Wire, password: str, *, initial: bool) -> _Answer:
        """RFC 4616, with the initial response of RFC 4959 where it is taken."""
        response = base64.b64encode(f"\0{self.user}\0{password}".encode())
        if initial:
            tag = wire.command(b"AUTHENTICATE PLAIN " + response + b"\r\n")
            return await wire.answer(tag)
        tag = wire.command(b"AUTHENTICATE PLAIN\r\n")
        answer = await wire.answer(tag, go_ahead=True)
        if answer.tagged:
            return answer
        wire.write(response + b"\r\n")
        return await wire.answer(tag)

    async def _authenticate_by_token(self, wire: _Wire, token: AccessToken, offered: tuple[str, ...]) -> _Answer:
        """XOAUTH2, or RFC 7628."""
        mechanism = sasl.mechanism(each[5:] for each in offered if each.upper().startswith("AUTH="))
        if mechanism is None:
            raise Misconfigured(f"{self._where}: the server offers neither XOAUTH2 nor OAUTHBEARER")
        response = sasl.token_response(mechanism, self.user, token, self.server.host, self.server.port)
        initial = _has(offered, "SASL-IR")
        tag = wire.command(
            f"AUTHENTICATE {mechanism} ".encode() + response + b"\r\n"
            if initial
            else f"AUTHENTICATE {mechanism}\r\n".encode()
        )
        answers = [] if initial else [response]
        while not (answer := await wire.answer(tag, go_ahead=True)).tagged:
            wire.write((answers.pop() if answers else sasl.after_refusal(mechanism)) + b"\r\n")
        return answer

    async def _login(self, wire: _Wire, password: str) -> _Answer:
        """RFC 3501: each word quoted, or where it cannot be, as a literal that waits for its go-ahead."""
        tag, line = b"", b"LOGIN"
        for word in (self.user.encode(), password.encode()):
            in_quotes = quoted(word)
            if in_quotes is not None:
                line += b" " + in_quotes
                continue
            line += b" {%d}\r\n" % len(word)
            if tag:
                wire.write(line)
            else:
                tag = wire.command(line)
            answer = await wire.answer(tag, go_ahead=True)
            if answer.tagged:
                return answer
            line = word
        if tag:
            wire.write(line + b"\r\n")
        else:
            tag = wire.command(line + b"\r\n")
        return await wire.answer(tag)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A command's tagged answer, or a go-ahead. `capabilities`: what the server told with it, or on the way to it."""

    tagged: bool
    ok: bool
    text: str
    capabilities: tuple[str, ...] | None


class _Wire(asyncio.Protocol):
    """Lines in with a time limit, commands out."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._ahead = bytearray()
        self._lost: ProxydError | None = None
        self._came: asyncio.Future[None] | None = None
        self._commands = 0
        self._held = b""  # written with what comes next

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._ahead += data
        if len(self._ahead) > LINE_LIMIT:
            self._end("the server sent more than an answer")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection was lost: {error}" if error else "the server closed the connection")

    def _end(self, why: str) -> None:
        self._lost = self._lost or Unreachable(why, evidence=one_line(why))
        self._wake()

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    # --- what we do

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def lost(self) -> bool:
        return self._lost is not None

    @property
    def ahead(self) -> bytes:
        return bytes(self._ahead)

    @property
    def is_local(self) -> bool:
        peer = str((self.transport.get_extra_info("peername") or ("",))[0])
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback

    def command(self, line: bytes, *, later: bool = False) -> bytes:
        """Send a command; returns its tag. `later`: with what is written next, as one segment and one TLS record."""
        self._commands += 1
        tag = b"p%d" % self._commands
        self._held += tag + b" " + line
        if not later:
            self.write(b"")
        return tag

    def write(self, octets: bytes) -> None:
        self.transport.write(self._held + octets)
        self._held = b""

    async def answer(self, tag: bytes, *, go_ahead: bool = False) -> _Answer:
        told: tuple[str, ...] | None = None
        while True:
            line = await self.line()
            told = capabilities.found_in(line) or told
            if line.startswith(tag + b" "):
                text = _text(line)
                return _Answer(True, text[:3].upper().rstrip() == "OK", text, told)
            if line.startswith(b"+"):
                if go_ahead:
                    return _Answer(False, True, "", told)
                self.write(b"*\r\n")  # a challenge that nobody asked for; some servers tell an error so
            elif line[:5].upper() == b"* BYE":
                raise refusal("signing in", _text(line), login=False, at=True)

    async def line(self) -> bytes:
        """The next line without its end. Raises Unreachable."""
        while (end := self._ahead.find(b"\n")) < 0:
            if self._lost is not None:
                raise self._lost
            self._came = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._limit):
                    await self._came
            except TimeoutError:
                why = f"the server did not answer within {self._limit:g} s"
                raise Unreachable(why, evidence=why) from None
        line = bytes(self._ahead[:end]).rstrip(b"\r")
        del self._ahead[: end + 1]
        return line

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        if self._ahead:
            raise Unreachable("the server spoke in clear behind its answer to STARTTLS: somebody may sit in between")
        secured = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_hostname=host)
        if secured is None:
            raise ConnectionResetError
        self._transport = secured

    def abort(self) -> None:
        if self._transport is not None:
            abort(self._transport)


def _drop(connecting: asyncio.Task[_Wire | ProxydError]) -> None:
    """Nobody wants it any more."""
    made = None if connecting.cancelled() or connecting.exception() is not None else connecting.result()
    if isinstance(made, _Wire):
        made.abort()


def _has(offered: tuple[str, ...], capability: str) -> bool:
    return capability in (word.upper() for word in offered)


def _text(line: bytes) -> str:
    """A status response behind its tag, fit for a person."""
    return one_line(line.partition(b" ")[2].decode("utf-8", "replace"))
