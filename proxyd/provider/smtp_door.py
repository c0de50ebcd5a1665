"""How a submission connection is opened: connected, secured, greeted and signed in.

Why apart from `smtp_session`: what goes over a connection that stands knows nothing of certificates and passwords, and
what a refusal at the door means for the account's health is decided here alone.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxyd.config import Server
from proxyd.errors import ProxydError
from proxyd.formats import sasl
from proxyd.formats import smtp_client as form
from proxyd.formats.smtp_client import Offer, printable
from proxyd.model import (
    HealthCause,
    HealthEvent,
    SmtpReply,
)
from proxyd.provider import tls
from proxyd.provider.sign_in import AccessToken
from proxyd.provider.smtp_session import Limits, Session
from proxyd.provider.smtp_wire import Lost, Wire
from proxyd.provider.token_endpoint import cause_of
from proxyd.provider.trace import Tap
from proxyd.rules.refusals import policy

COMMAND_LINE = 512  # octets, CRLF included (RFC 5321 section 4.5.3.1.4)


class NotReady(Exception):
    """No signed-in connection could be had: `event` is what that means, `reply` the server's own words if any."""

    def __init__(self, cause: HealthCause, why: str, reply: SmtpReply | None = None, *, said: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.reply = reply
        self.event = HealthEvent(cause, "SMTP", printable(reply.text if reply else said or why))


@dataclass(frozen=True, slots=True)
class Door:
    """All that is needed to open a connection. `password` is asked at each sign-in; it raises ConfigError.

    `tls` may be None only where the server's `tls` is none.
    """

    server: Server
    user: str
    password: Callable[[], Awaitable[str]]
    tls: ssl.SSLContext | None
    ehlo_name: str
    limits: Limits
    tap: Tap | None = None

    async def open(self) -> Session:
        """Connect, secure, greet and sign in. Raises NotReady."""
        wire = await self._connect()
        try:
            offer = await self._greet(wire)
            welcome = await self._sign_in(wire, offer)
            return Session(wire, offer, self.limits, welcome)
        except Lost as lost:
            wire.abort()
            cause = HealthCause.THROTTLED if lost.reply else HealthCause.UNREACHABLE
            raise NotReady(cause, f"{self._where}: {lost.why}", lost.reply) from None
        except BaseException:
            wire.abort()
            raise

    async def look(self) -> Offer:
        """Connect, secure and greet, and go again without signing in. Raises NotReady."""
        wire = await self._connect()
        try:
            offer = await self._greet(wire)
        except Lost as lost:
            wire.abort()
            raise NotReady(HealthCause.UNREACHABLE, f"{self._where}: {lost.why}", lost.reply) from None
        except BaseException:
            wire.abort()
            raise
        wire.close(b"QUIT\r\n")
        return offer

    @property
    def _where(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    async def _connect(self) -> Wire:
        implicit = self.server.tls == "implicit"
        assert self.tls is not None or not implicit
        try:
            async with asyncio.timeout(self.limits.connect):
                _, wire = await asyncio.get_running_loop().create_connection(
                    functools.partial(Wire, self.tap),
                    self.server.host,
                    self.server.port,
                    ssl=self.tls if implicit else None,
                    server_hostname=self.server.host if implicit else None,
                    happy_eyeballs_delay=0.25,
                )
        except (OSError, EOFError) as error:
            raise NotReady(*tls.failure(error, self.server.host, self.server.port)) from None
        return wire

    async def _greet(self, wire: Wire) -> Offer:
        greeting = await wire.reply(self.limits.reply)
        if greeting.code != 220:
            raise self._turned_away(greeting)
        offer = await self._ehlo(wire)
        if self.server.tls == "implicit":
            return offer
        if self.server.tls == "none":
            if not ipaddress.ip_address(wire.peer.partition("%")[0]).is_loopback:
                raise NotReady(HealthCause.MISCONFIGURED, f"{self._where}: tls: none is for this machine only")
            return offer
        if not offer.starttls:
            raise NotReady(HealthCause.MISCONFIGURED, f"{self._where}: the server does not offer STARTTLS")
        wire.write(b"STARTTLS\r\n")
        go_ahead = await wire.reply(self.limits.reply)
        if go_ahead.code != 220:
            raise self._turned_away(go_ahead)
        assert self.tls is not None
        try:
            async with asyncio.timeout(self.limits.connect):
                await wire.start_tls(self.tls, self.server.host, self.limits.connect)
        except (OSError, EOFError) as error:
            raise NotReady(*tls.failure(error, self.server.host, self.server.port)) from None
        return await self._ehlo(wire)

    async def _ehlo(self, wire: Wire) -> Offer:
        wire.write(form.command(f"EHLO {self.ehlo_name}"))
        reply = await wire.reply(self.limits.reply)
        if reply.code != 250:
            raise self._turned_away(reply)
        return form.read_offer(reply)

    def _turned_away(self, reply: SmtpReply) -> NotReady:
        """A refusal before sign-in: "not now" is load; a plain no may end (a blocked address, a closed service)."""
        cause = HealthCause.UNREACHABLE if reply.permanent else HealthCause.THROTTLED
        return NotReady(cause, f"{self._where}: the server said {printable(reply.text)}", reply)

    async def _sign_in(self, wire: Wire, offer: Offer) -> SmtpReply:
        secret = await self._secret()
        reply = await self._try(wire, offer, secret)
        if reply.code == 535 and isinstance(secret, AccessToken) and secret.refused():
            reply = await self._try(wire, offer, await self._secret())  # it may have ended before its time
        if reply.code == 235:
            return reply
        if 200 <= reply.code < 400:
            raise Lost(f"the server answered out of turn: {printable(reply.text)}")
        raise NotReady(_sign_in_cause(reply), f"sign-in: the server said {printable(reply.text)}", reply)

    async def _secret(self) -> str:
        try:
            return await self.password()
        except ProxydError as error:
            raise NotReady(cause_of(error), str(error), said=getattr(error, "evidence", "")) from None

    async def _try(self, wire: Wire, offer: Offer, secret: str) -> SmtpReply:
        """One AUTH; what the server says to it, without our secrets in it."""
        token = isinstance(secret, AccessToken)
        mechanism = (
            sasl.mechanism(offer.auth) if token else next((m for m in ("PLAIN", "LOGIN") if m in offer.auth), None)
        )
        if mechanism is None:
            way = "an access token (XOAUTH2 or OAUTHBEARER" if token else "a password (AUTH PLAIN or LOGIN"
            words = (
                f"{self._where}: the server offers no sign-in with {way}; offered: {', '.join(offer.auth) or 'none'})"
            )
            raise NotReady(HealthCause.MISCONFIGURED, words)
        try:
            answers: tuple[bytes, ...]
            if token:
                answers = (sasl.token_response(mechanism, self.user, secret, self.server.host, self.server.port),)
                return _redacted(await self._dialogue(wire, mechanism, answers), (*answers, secret.encode()))
            plain, *login, bare = _secrets(self.user, secret)
        except ValueError as error:
            raise NotReady(HealthCause.MISCONFIGURED, str(error)) from None
        answers = (plain,) if mechanism == "PLAIN" else tuple(login)
        return _redacted(await self._dialogue(wire, mechanism, answers), (plain, login[1], bare))

    async def _dialogue(self, wire: Wire, mechanism: str, answers: tuple[bytes, ...]) -> SmtpReply:
        """With its initial response where that fits on a line (RFC 4954 section 4); LOGIN question by question."""
        waiting = list(answers)
        initial = mechanism != "LOGIN" and len(waiting[0]) + len(mechanism) + 8 <= COMMAND_LINE
        wire.write(b"AUTH " + mechanism.encode() + (b" " + waiting[0] if initial else b"") + b"\r\n")
        reply = await wire.reply(self.limits.reply)
        while reply.code == 334 and waiting:
            refused = mechanism in sasl.MECHANISMS and sasl.why_refused(reply.lines[0].encode())
            if refused:  # the reason, which wants an answer before the refusal itself comes
                waiting.clear()
            wire.write((sasl.after_refusal(mechanism) if refused else waiting.pop(0)) + b"\r\n")
            reply = await wire.reply(self.limits.reply)
        if reply.code == 334 and mechanism in sasl.MECHANISMS:
            wire.write(sasl.after_refusal(mechanism) + b"\r\n")
            reply = await wire.reply(self.limits.reply)
        return reply


def _secrets(user: str, password: str) -> tuple[bytes, bytes, bytes, bytes]:
    return form.auth_plain(user, password), form.auth_login(user), form.auth_login(password), password.encode()


def _redacted(reply: SmtpReply, secrets: tuple[bytes, ...]) -> SmtpReply:
    """Some servers quote the line that they refuse."""
    lines = reply.lines
    for secret in secrets:
        if secret:
            lines = tuple(line.replace(secret.decode(), "***") for line in lines)
    return SmtpReply(reply.code, lines)


def _sign_in_cause(reply: SmtpReply) -> HealthCause:
    """RFC 4954 section 6: 4yz is for later; 535, 534 and 5.7.z are about the credentials, unless the words tell of a
    policy; the rest is about us."""
    if not reply.permanent:
        return HealthCause.THROTTLED
    if policy(reply.text):
        return HealthCause.MISCONFIGURED
    if reply.code in (534, 535):
        return HealthCause.SIGN_IN_REFUSED
    if reply.code != 538 and form.enhanced_code(reply).startswith("5.7."):
        return HealthCause.SIGN_IN_REFUSED
    return HealthCause.MISCONFIGURED
