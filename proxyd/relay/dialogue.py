"""One mail client's SMTP connection, on aiosmtpd's protocol class (RFC 5321, RFC 6409).

Of aiosmtpd stay the connection's life, its timer and its session. Replaced is what is not transparent: it reads lines
of at most 1001 octets one by one, refuses DSN's parameters, upper-cases ENVID, answers HTTP, logs addresses, and its
authenticator cannot wait. What a command means is decided in `formats.smtp_dialogue`; here it is read and answered.

All reading goes through `_block`, which first sends what was answered: replies to a pipelined flight leave as one
write. asyncio sets TCP_NODELAY on every socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP

from proxyd.config import Account
from proxyd.formats import smtp_dialogue as form
from proxyd.formats.smtp_data import DataReader
from proxyd.formats.smtp_dialogue import Extensions, Path, octets, reply
from proxyd.model import Envelope, Recipient, SmtpReply, mailbox_key
from proxyd.relay import answers
from proxyd.relay.desk import Desk
from proxyd.relay.reception import Reception, addresses_of
from proxyd.workers import start

BLOCK = 64 * 1024  # octets read at once
LINE_LIMIT = 8 * 1024  # octets of a command before the client has signed in
LINE_LIMIT_AFTER = 64 * 1024  # and after
IDLE_LIMIT = 300.0  # seconds, RFC 5321 section 4.5.3.2.7
HANDSHAKE_LIMIT = 30.0  # seconds for STARTTLS
BAD_COMMANDS = 3  # unknown commands, then the connection ends
BAD_LOGINS = 3
RECIPIENTS = 1000  # of one message
NAME = "localhost"  # what we call ourselves: the name in our certificate; no product, no version

_NO_HOOKS = object()  # aiosmtpd would call methods of it

log = structlog.get_logger()


class _Ended(Exception):
    """The client ended the connection, or a reply that ends it was given."""


@dataclass(slots=True)
class _Transaction:
    """What MAIL and RCPT said so far."""

    sender: str
    parameters: tuple[str, ...]
    smtputf8: bool
    recipients: list[Recipient] = field(default_factory=list)


class Dialogue(SMTP):
    """`tls` is the context for STARTTLS, None on a connection that is TLS from its first octet."""

    line_length_limit = BLOCK  # aiosmtpd gives it to its stream: reading pauses at twice this many octets

    def __init__(self, desk: Desk, tls: ssl.SSLContext | None) -> None:
        super().__init__(_NO_HOOKS, hostname=NAME, timeout=IDLE_LIMIT, loop=asyncio.get_running_loop())
        self._desk = desk
        self._starttls = tls
        self._secure = tls is None
        self._extended = False  # EHLO, not HELO
        self._greeting = ""  # what the client calls itself, empty until it said so
        self._address = ""  # of the account that signed in
        self._transaction: _Transaction | None = None
        self._ahead = b""  # read and not yet looked at
        self._replies: list[bytes] = []  # given and not yet sent
        self._bad_commands = 0
        self._bad_logins = 0
        self._answers = self._commands()

    def _commands(self) -> dict[str, Callable[[str], Coroutine[Any, Any, SmtpReply | None]]]:
        return {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._start_tls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
            "EXPN": self._not_here,
            "ETRN": self._not_here,
            "HELP": self._not_here,
            "TURN": self._not_here,
            "BDAT": self._not_here,
            "XCLIENT": self._not_here,
        }

    # --- the connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._desk.came(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._desk.went(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        """The client sends no more. Over plain TCP it may still want its answers; TLS ends as a whole."""
        self._reader.feed_eof()
        return not self._secure

    def _timeout_cb(self) -> None:
        self._bye(reply(421, "4.4.2 Nothing heard for too long, closing"))

    def dismiss(self) -> None:
        """The daemon stops: end the connection, unless a message is on its way in or through."""
        if not self._desk.is_busy(self):
            self._bye(reply(421, "4.3.2 Closing, please try again in a moment"))

    def _bye(self, last: SmtpReply) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(b"".join(self._replies) + octets(last))
            self._replies.clear()
            self.transport.close()

    async def _handle_client(self) -> None:
        try:
            if self._desk.is_crowded:
                self._bye(reply(421, "4.3.2 Too many connections, please try again later"))
                return
            self._desk.warm_up()
            self._say(reply(220, f"{NAME} ESMTP"))
            while True:
                await self._answer(await self._line())
        except (_Ended, ConnectionError):
            with contextlib.suppress(ConnectionError):
                await self._send()
        except Exception:
            log.exception("smtp connection ended by a fault of ours")
            self._bye(reply(421, "4.3.0 A fault in proxyd, see its log; please try again"))
        finally:
            if self.transport is not None:
                self.transport.close()

    async def _answer(self, line: bytes) -> None:
        self._reset_timeout()
        command = form.command(line)
        answer = self._answers.get(command.verb)
        if answer is not None:
            said = await answer(command.argument)
            if said is not None:
                self._say(said)
            return
        if command.verb in form.HTTP_VERBS:
            log.warning("http spoken to the smtp port")
            self._end(reply(421, "4.7.0 This is a mail server"))
        self._bad_commands += 1
        if self._bad_commands >= BAD_COMMANDS:
            self._end(reply(421, "4.7.0 Too many unknown commands"))
        self._say(reply(500, "5.5.1 Unknown command"))

    # --- octets in and out

    def _say(self, answer: SmtpReply) -> None:
        self._replies.append(octets(answer))

    def _end(self, answer: SmtpReply) -> None:
        """The connection's last reply."""
        self._say(answer)
        raise _Ended

    async def _send(self) -> None:
        if not self._replies or self.transport is None or self.transport.is_closing():
            return
        self._writer.write(b"".join(self._replies))
        self._replies.clear()
        await self._writer.drain()

    async def _block(self) -> bytes:
        """What the client sends next, of any length; what it was told goes out first."""
        await self._send()
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        block = await self._reader.read(BLOCK)
        if not block:
            raise _Ended
        return block

    async def _line(self) -> bytes:
        limit = LINE_LIMIT_AFTER if self._address else LINE_LIMIT
        line = b""
        while True:
            if b"\n" in self._ahead:
                head, _, self._ahead = self._ahead.partition(b"\n")
                line += head
                if len(line) <= limit:
                    return line
            else:
                line += self._ahead
                self._ahead = b""
            if len(line) > limit:
                self._end(reply(500, "5.5.6 Line too long"))
            self._ahead = await self._block()

    # --- who is there

    async def _helo(self, name: str) -> SmtpReply:
        return self._greeted(name, extended=False) or reply(250, NAME)

    async def _ehlo(self, name: str) -> SmtpReply:
        refused = self._greeted(name, extended=True)
        if refused is not None:
            return refused
        offered = self._offered()
        lines = [NAME, "PIPELINING", f"SIZE {offered.size}"]
        lines += ["8BITMIME"] if offered.eight_bit else []
        lines += ["SMTPUTF8"] if offered.smtputf8 else []
        lines += ["DSN"] if offered.dsn else []
        lines += ["ENHANCEDSTATUSCODES"]
        lines += ["STARTTLS"] if self._starttls is not None and not self._secure else []
        lines += ["AUTH PLAIN LOGIN"] if self._may_sign_in() else []
        return reply(250, *lines)

    def _greeted(self, name: str, *, extended: bool) -> SmtpReply | None:
        """The client's name is taken whatever it is, for it is never used: it would tell the provider the host's."""
        if not name:
            return reply(501, "5.5.4 Syntax: EHLO name" if extended else "5.5.4 Syntax: HELO name")
        self._transaction = None
        self._greeting = name
        self._extended = extended
        return None

    def _offered(self) -> Extensions:
        return form.extensions(self._desk.offers(self._address))

    def _may_sign_in(self) -> bool:
        return not self._address and (self._secure or self._is_local())

    def _is_local(self) -> bool:
        peer: Any = self._writer.get_extra_info("peername")
        try:
            address = ipaddress.ip_address(peer[0].partition("%")[0])
        except (TypeError, ValueError, IndexError):
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    async def _start_tls(self, argument: str) -> SmtpReply | None:
        if self._secure or self._starttls is None:
            return reply(503, "5.5.1 TLS is already in use")
        if argument:
            return reply(501, "5.5.4 Syntax: STARTTLS")
        self._say(reply(220, "2.0.0 Ready to start TLS"))
        await self._send()
        # Commands sent in the clear behind STARTTLS were never the client's (CVE-2011-0411): no word is spoken on.
        if self._ahead or self._reader._buffer:  # type: ignore[attr-defined]  # the stream has no public look at it
            log.warning("octets in the clear behind STARTTLS; connection ended")
            raise _Ended
        self._forget()
        try:
            secured = await self.loop.start_tls(
                self._writer.transport, self, self._starttls, server_side=True, ssl_handshake_timeout=HANDSHAKE_LIMIT
            )
        except OSError as error:  # a client that does not trust our certificate, or speaks no TLS
            log.info("starttls failed", error=str(error))
            raise _Ended from None
        self._use(secured)
        return None

    def _use(self, secured: asyncio.Transport | None) -> None:
        """As `asyncio.StreamWriter.start_tls` does, which leaves the reader's side out in Python 3.11."""
        if secured is None:
            raise _Ended
        self.transport = secured
        self._reader._transport = secured  # type: ignore[attr-defined]
        self._writer._transport = secured  # type: ignore[attr-defined]
        self._secure = self._over_ssl = True

    def _forget(self) -> None:
        """RFC 3207 section 4.2: what was said before TLS was not said."""
        self._transaction = None
        self._address = ""
        self._greeting = ""
        self._extended = False

    # --- AUTH (RFC 4954)

    async def _auth(self, argument: str) -> SmtpReply | None:
        if not self._greeting or not self._extended:
            return reply(503, "5.5.1 Say EHLO first")
        if self._address or self._transaction is not None:
            return reply(503, "5.5.1 Already signed in" if self._address else "5.5.1 Not inside a transaction")
        if not self._may_sign_in():
            return reply(538, "5.7.11 Use STARTTLS before you sign in")
        mechanism, _, initial = argument.partition(" ")
        match mechanism.upper():
            case "PLAIN":
                said = await self._plain(initial)
            case "LOGIN":
                said = await self._login(initial)
            case _:
                return reply(504, "5.5.4 Use AUTH PLAIN or AUTH LOGIN")
        return said if isinstance(said, SmtpReply) else await self._sign_in(*said)

    async def _plain(self, initial: str) -> tuple[bytes, bytes] | SmtpReply:
        """RFC 4616: authorization identity, authentication identity, password. To act for another is not offered."""
        words = await self._response(initial, b"")
        if isinstance(words, SmtpReply):
            return words
        parts = words.split(b"\0")
        if len(parts) != 3:
            return reply(501, "5.5.2 Bad PLAIN response")
        acts_for, user, password = parts
        if acts_for and acts_for.strip().lower() != user.strip().lower():
            return b"", password
        return user, password

    async def _login(self, initial: str) -> tuple[bytes, bytes] | SmtpReply:
        user = await self._response(initial, b"VXNlcm5hbWU6")  # Username:
        if isinstance(user, SmtpReply):
            return user
        password = await self._response("", b"UGFzc3dvcmQ6")  # Password:
        return password if isinstance(password, SmtpReply) else (user, password)

    async def _response(self, initial: str, challenge: bytes) -> bytes | SmtpReply:
        """The decoded response; `=` is an empty initial one, `*` ends the exchange."""
        if initial:
            said = b"" if initial == "=" else initial.encode()
        else:
            self._replies.append(b"334 " + challenge + b"\r\n")
            said = (await self._line()).strip()
            self._reset_timeout()
        if said == b"*":
            return reply(501, "5.7.0 AUTH ended by the client")
        try:
            return b64decode(said, validate=True)
        except ValueError:
            return reply(501, "5.5.2 Not base64")

    async def _sign_in(self, user: bytes, password: bytes) -> SmtpReply:
        await self._send()
        account = await self._desk.logins.check(user, password)
        self._reset_timeout()
        if account is not None:
            self._address = account.address
            self._desk.warm_up(account.address)
            return reply(235, "2.7.0 Signed in")
        self._bad_logins += 1
        refused = reply(535, "5.7.8 Not accepted: use the account's address and the client password that proxyd made")
        if self._bad_logins >= BAD_LOGINS:
            self._end(refused)
        return refused

    # --- a transaction

    def _account(self) -> Account | None:
        """As it is configured now; None before signing in, and where it was taken out of the configuration."""
        return self._desk.accounts().get(self._address)

    async def _mail(self, argument: str) -> SmtpReply:
        if not self._greeting:
            return reply(503, "5.5.1 Say EHLO first")
        account = self._account()
        if account is None:
            return reply(530, "5.7.0 Sign in first")
        if self._transaction is not None:
            return reply(503, "5.5.1 MAIL was given already")
        said = form.path(argument, "FROM")
        if isinstance(said, SmtpReply):
            return said
        mine = addresses_of(account)
        if mailbox_key(said.address) not in mine:
            return answers.not_yours(said.address, mine.values(), "MAIL FROM")
        known = form.mail_parameters(said.parameters, self._offered())
        if isinstance(known, SmtpReply):
            return known
        if not said.address.isascii() and not known.smtputf8:
            return reply(553, "5.6.7 This address needs SMTPUTF8")
        self._transaction = _Transaction(said.address, known.verbatim, known.smtputf8)
        return reply(250, "2.1.0 OK")

    async def _rcpt(self, argument: str) -> SmtpReply:
        """Recipients are refused by the provider, when the message is handed over, not here: only their form is."""
        transaction = self._transaction
        if transaction is None:
            return reply(503, "5.5.1 Say MAIL first")
        said = form.path(argument, "TO")
        if isinstance(said, SmtpReply):
            return said
        if not said.address:
            return reply(553, "5.1.3 An address is needed")
        if not said.address.isascii() and not transaction.smtputf8:
            return reply(553, "5.6.7 This address needs SMTPUTF8")
        return self._add(transaction, said)

    def _add(self, transaction: _Transaction, said: Path) -> SmtpReply:
        if len(transaction.recipients) >= RECIPIENTS:
            return reply(452, f"4.5.3 Too many recipients: at most {RECIPIENTS} in one message")
        parameters = form.rcpt_parameters(said.parameters, self._offered())
        if isinstance(parameters, SmtpReply):
            return parameters
        transaction.recipients.append(Recipient(said.address, parameters))
        return reply(250, "2.1.5 OK")

    async def _rset(self, _argument: str) -> SmtpReply:
        self._transaction = None
        return reply(250, "2.0.0 OK")

    async def _data(self, argument: str) -> SmtpReply | None:
        transaction, account = self._transaction, self._account()
        if transaction is None or account is None:
            return reply(503, "5.5.1 Say MAIL first")
        if not transaction.recipients:
            return reply(554, "5.5.1 No recipients")
        if argument:
            return reply(501, "5.5.4 Syntax: DATA")
        self._transaction = None
        envelope = Envelope(transaction.sender, tuple(transaction.recipients), transaction.parameters)
        with self._desk.busy(self):
            await self._take(account, envelope)
        return None

    async def _take(self, account: Account, envelope: Envelope) -> None:
        """A message from DATA to its answer, which is sent before this returns."""
        desk = self._desk
        intake = desk.journal.intake(account.address)
        reception = Reception(intake, account, envelope, self._offered().size, desk.clock.now())
        self._say(reply(354, "End with CRLF.CRLF"))
        try:
            await self._receive(reception)
        except BaseException:  # also when the connection was lost, which cancels us
            start(reception.abandon(), f"abandon {intake.id}")
            raise
        submission = await reception.finish()
        if isinstance(submission, SmtpReply):
            self._say(submission)
            return
        self._reset_timeout(max(IDLE_LIMIT, account.sending.answer_within + 60))
        handed = await desk.submissions.hand_in(account, intake, submission)
        self._reset_timeout()
        self._say(handed.reply)
        await self._send()
        if self.transport is not None and not self.transport.is_closing():
            desk.submissions.told(account, handed)

    async def _receive(self, reception: Reception) -> None:
        data = DataReader()
        done = False
        while not done:
            block = await self._block()
            self._reset_timeout()
            content, done, self._ahead = data.feed(block)
            if data.fault:
                reception.refuse(reply(550, f"5.6.0 The message holds {data.fault}, which no message may; not sent"))
            await reception.feed(content)

    # --- the rest

    async def _noop(self, _argument: str) -> SmtpReply:
        return reply(250, "2.0.0 OK")

    async def _vrfy(self, _argument: str) -> SmtpReply:
        return reply(252, "2.1.5 Send a message to find out")

    async def _not_here(self, _argument: str) -> SmtpReply:
        return reply(502, "5.5.1 Not implemented")

    async def _quit(self, _argument: str) -> SmtpReply | None:
        self._end(reply(221, "2.0.0 Bye"))
        return None
