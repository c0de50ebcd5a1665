"""One signed-in SMTP connection: how one message goes over it.

Why this way: `formats/smtp_client` decides what may be said and what answers mean; this module keeps the order of
writing and reading, and above all the one moment that matters: until the first octet of the final dot (or the last
octets of BDAT LAST) is handed to the socket the message is certainly not sent; from then on only the server knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxyd.formats import smtp_client as form
from proxyd.formats.smtp_client import DotStuffer, LineEnds, Offer, Plan, Unsendable, printable
from proxyd.model import (
    Accepted,
    Content,
    Envelope,
    HealthCause,
    HealthEvent,
    NotAccepted,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    Progress,
    SmtpReply,
)
from proxyd.provider.smtp_wire import PIECE, Lost, Wire, uptime

SMALL = 64 * 1024  # octets of content that are sent with one write
SURE = 5.0  # seconds since the server was last heard, within which a connection is believed to stand
DOUBTFUL_LIMIT = 10.0  # seconds to wait for the first answer on a connection that was idle for longer
PROBE_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: TCP and TLS together, each reply, the reply to the final dot (RFC 5321 4.5.3.2.6)."""

    connect: float = 10.0
    reply: float = 60.0
    final: float = 600.0


class Stale(Exception):
    """A connection that was kept died before the message began: nothing was sent, another one may be tried."""


class Session:
    """A signed-in connection. After `send` it may be used again where `usable`, after `tidy` where `untidy`."""

    def __init__(self, wire: Wire, offer: Offer, limits: Limits, welcome: SmtpReply) -> None:
        self.wire = wire
        self.offer = offer
        self.welcome = welcome
        self.untidy = False
        self.kept = False  # it has waited in the pool: it may have died there unheard
        self._limits = limits

    @property
    def usable(self) -> bool:
        return not self.wire.lost and (self.untidy or self.wire.silent)

    @property
    def sure(self) -> bool:
        return uptime() - self.wire.heard_at < SURE

    async def probe(self) -> bool:
        """Does the server still answer?"""
        return await self._command(b"NOOP\r\n", min(PROBE_LIMIT, self._limits.reply))

    async def tidy(self) -> bool:
        """End a refused transaction; False where the connection is of no more use."""
        self.untidy = False
        return await self._command(b"RSET\r\n", self._limits.reply)

    async def _command(self, line: bytes, limit: float) -> bool:
        try:
            self.wire.write(line)
            return (await self.wire.reply(limit)).code == 250 and self.wire.silent
        except Lost:
            return False

    async def send(self, envelope: Envelope, content: Content, progress: Progress | None = None) -> Outcome:
        """Submit one message. Raises Stale; what `content` raises leaves nothing sent."""
        plan = form.plan(envelope, self.offer, content.size, chunking=self.sure)
        if isinstance(plan, NotAccepted):
            return plan
        transfer = _Transfer(self, plan, content, self._limits, progress)
        try:
            return await (transfer.by_bdat() if plan.chunked else transfer.by_data())
        except Lost as lost:
            self.wire.abort()
            if self.kept and not transfer.begun:
                raise Stale from None
            cause = HealthCause.THROTTLED if lost.reply else HealthCause.UNREACHABLE
            evidence = printable(lost.reply.text if lost.reply else lost.why)
            return NotHandedOver(printable(lost.why), HealthEvent(cause, "SMTP", evidence), lost.reply)
        except Unsendable as error:
            self.wire.abort()
            return NotAccepted(SmtpReply(554, (f"5.6.0 The message cannot be sent: {error}",)))
        except BaseException:
            self.wire.abort()
            raise


class _Transfer:
    """One transaction. Raises Lost as long as the message is certainly not sent; never afterwards."""

    def __init__(
        self, session: Session, plan: Plan, content: Content, limits: Limits, progress: Progress | None
    ) -> None:
        self.begun = False  # a reply to MAIL came that was not goodbye
        self._session = session
        self._wire = session.wire
        self._plan = plan
        self._content = content
        self._limits = limits
        self._progress = progress
        self._answers: list[SmtpReply] = []  # to MAIL, then to each RCPT

    # --- DATA

    async def by_data(self) -> Outcome:
        small = await self._whole() if self._content.size <= SMALL else None
        refused, data = await (self._pipelined() if self._plan.pipelined else self._step_by_step())
        if refused is not None:
            self._session.untidy = True
            if data is not None and data.code == 354:
                self._wire.abort()  # the server waits for content: nothing, not even an empty message, may reach it
            return refused
        assert data is not None
        if data.code != 354:
            self._session.untidy = True
            return NotAccepted(self._no(data))
        stuffer = DotStuffer()
        if small is not None:
            last = stuffer.feed(small) + stuffer.end()
        else:
            async for chunk in self._octets():
                if (early := await self._send(stuffer.feed(chunk))) is not None:
                    return early
            last = stuffer.end()
        if (early := self._early()) is not None:
            return early
        self._write_end(last)
        return await self._final()

    async def _pipelined(self) -> tuple[NotAccepted | None, SmtpReply | None]:
        """MAIL, every RCPT and DATA in one flight (RFC 2920): what was refused, and the answer to DATA."""
        self._wire.write(self._plan.mail + b"".join(self._plan.rcpts) + b"DATA\r\n")
        data = None
        try:
            await self._answers_to_envelope()
            data = await self._answer()
        except Lost:
            if (refused := self._refusal()) is None:
                raise
            self._wire.abort()
            return refused, None
        return self._refusal(), data

    async def _step_by_step(self) -> tuple[NotAccepted | None, SmtpReply | None]:
        for line in (self._plan.mail, *self._plan.rcpts):
            try:
                self._wire.write(line)
                self._answers.append(await self._envelope_answer())
            except Lost:
                if (refused := self._refusal()) is None:
                    raise
                self._wire.abort()
                return refused, None
            if self._answers[0].code // 100 != 2:
                break
        if (refused := self._refusal()) is not None:
            return refused, None
        self._wire.write(b"DATA\r\n")
        return None, await self._answer()

    # --- BDAT

    async def by_bdat(self) -> Outcome:
        """MAIL, the one RCPT and the content in one flight (RFC 3030)."""
        flight = self._plan.mail + self._plan.rcpts[0] + form.bdat_last(self._content.size)
        ends = LineEnds()
        held = b""  # the last chunk waits until all of them are known to be sound
        async for chunk in self._octets():
            ends.feed(chunk)
            if held and self._content.size > SMALL:
                if (early := await self._send(flight + held)) is not None:
                    return early
                flight = held = b""
            held += chunk
        ends.end()
        flight += held
        tail = max(0, len(flight) - PIECE) if self._content.size > SMALL else 0
        if (early := await self._send(flight[:tail]) or self._early()) is not None:
            return early
        self._write_end(flight[tail:])
        return await self._after_bdat()

    def _early(self) -> NotAccepted | None:
        """A refusal of MAIL, RCPT or the content that came while content was still being written."""
        hoped_for = 2 if self._plan.chunked else 0  # with DATA, MAIL and RCPT were answered before
        for number, reply in enumerate(self._wire.unread):
            if reply.code // 100 == 2 and number < hoped_for:
                self.begun = True
                continue
            self.begun = self.begun or reply.code != 421
            about_rcpt = self._plan.chunked and number == 1
            return self._cut_short(reply, self._plan.addresses[0] if about_rcpt else None)
        return None

    async def _after_bdat(self) -> Outcome:
        try:
            await self._answers_to_envelope()
        except Lost as lost:
            if lost.reply is not None:
                raise
            return self._refusal() or self._unknown(lost.why)
        refused = self._refusal()
        if refused is None:
            return await self._final()
        self._session.untidy = True
        try:
            if (await self._wire.reply(self._limits.reply)).code < 400:
                self._wire.abort()
        except Lost:
            self._wire.abort()
        return refused

    # --- both

    def _write_end(self, octets: bytes) -> None:
        if self._progress is not None:
            self._progress.ends()
        self._wire.write(octets)

    async def _octets(self) -> AsyncIterator[bytes]:
        """The content's chunks; raises where they are not as many octets as it says, which is our own fault."""
        left = self._content.size
        async for chunk in self._content.chunks():
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
        if left:
            raise RuntimeError("content that is not as long as it says")

    async def _whole(self) -> bytes:
        return b"".join([chunk async for chunk in self._octets()])

    async def _send(self, octets: bytes) -> NotAccepted | None:
        """Send a piece of the content, unless the server has refused it: that may come with the connection's end."""
        if (early := self._early()) is not None:
            return early
        try:
            await self._wire.send(octets, self._limits.reply)
        except Lost as lost:
            goodbye = next((reply for reply in self._wire.unread if reply.code == 421), None)
            if goodbye:
                raise Lost(goodbye.text, goodbye) from None
            if (early := self._early()) is not None:
                return early
            raise lost from None
        return None

    async def _answers_to_envelope(self) -> None:
        while len(self._answers) < 1 + len(self._plan.rcpts):
            self._answers.append(await self._envelope_answer())

    async def _envelope_answer(self) -> SmtpReply:
        reply = await self._answer()
        return reply if reply.code // 100 == 2 else self._no(reply)

    async def _answer(self) -> SmtpReply:
        """A reply before any content. Raises Lost for goodbye as well."""
        limit = self._limits.reply
        if self._session.kept and not self._session.sure and not self._answers:
            limit = min(limit, DOUBTFUL_LIMIT)
        reply = await self._wire.reply(limit)
        if reply.code == 421:
            raise Lost(f"the server said {reply.text}", reply)
        self.begun = True
        return reply

    def _refusal(self) -> NotAccepted | None:
        if not self._answers:
            return None
        answers = zip(self._plan.addresses, self._answers[1:], strict=False)
        return form.refusal(self._answers[0], answers, self._plan.optional)

    def _no(self, reply: SmtpReply) -> SmtpReply:
        """A refusal where 354 was hoped for; anything else means that the two sides have lost step."""
        if reply.code < 400:
            raise Lost(f"the server answered out of turn: {printable(reply.text)}")
        return reply

    def _cut_short(self, reply: SmtpReply, address: str | None = None) -> NotAccepted:
        """The server gave up while content was being written: it has not seen the end, so nothing was sent."""
        self._wire.abort()
        if reply.code == 421:
            raise Lost(f"the server said {reply.text}", reply)
        return NotAccepted(self._no(reply), ((address, reply),) if address else ())

    async def _final(self) -> Outcome:
        try:
            reply = await self._wire.reply(self._limits.final)
        except Lost as lost:
            return self._unknown(lost.why)
        if reply.code // 100 == 2:
            answers = zip(self._plan.addresses, self._answers[1:], strict=False)
            return Accepted(reply, tuple((address, no) for address, no in answers if no.code // 100 != 2))
        if reply.code // 100 == 3:
            return self._unknown(f"the server answered out of turn: {printable(reply.text)}")
        self._session.untidy = True
        if reply.code == 421:
            self._wire.abort()
        return NotAccepted(reply)

    def _unknown(self, why: str) -> OutcomeUnknown:
        self._wire.abort()
        return OutcomeUnknown(f"the message was sent, but not answered: {printable(why)}")
