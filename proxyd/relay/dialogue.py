"""What a mail client says and hears, command by command (RFC 5321, RFC 4954, RFC 6409).

aiosmtpd's own commands are not used: they refuse DSN's parameters, upper-case ENVID, keep lone CRs, and hold a message
whole. What a command means is decided in `formats.smtp_dialogue`; here it is asked, remembered and answered.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from proxyd.config import Account
from proxyd.errors import TryLater
from proxyd.formats import smtp_dialogue as form
from proxyd.formats.smtp_data import DataReader
from proxyd.formats.smtp_dialogue import Extensions, Path, reply
from proxyd.model import Envelope, Recipient, SmtpReply, mailbox_key
from proxyd.relay import answers
from proxyd.relay.connection import IDLE_LIMIT, NAME, Connection
from proxyd.relay.desk import Desk
from proxyd.relay.peer import ends_of
from proxyd.relay.reception import Reception, addresses_of
from proxyd.workers import start

BAD_LOGINS = 3  # wrong passwords, then the connection ends
RECIPIENTS = 1000  # of one message


@dataclass(slots=True)
class _Transaction:
    """What MAIL and RCPT said so far."""

    sender: str
    parameters: tuple[str, ...]
    smtputf8: bool
    recipients: list[Recipient] = field(default_factory=list)


class Dialogue(Connection):
    """`tls` is the context for STARTTLS, None on a connection that is TLS from its first octet."""

    def __init__(self, desk: Desk, tls: ssl.SSLContext | None) -> None:
        super().__init__(desk, secure=tls is None)
        self._starttls = tls
        self._extended = False  # EHLO, not HELO
        self._greeting = ""  # what the client calls itself, empty until it said so
        self._address = ""  # of the account that signed in
        self._transaction: _Transaction | None = None
        self._bad_logins = 0
        self._answers = self._commands()

    async def obey(self, command: form.Command) -> bool:
        answer = self._answers.get(command.verb)
        if answer is None:
            return False
        said = await answer(command.argument)
        if said is not None:
            self.say(said)
        return True

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

    # --- who is there

    async def _helo(self, name: str) -> SmtpReply:
        return self._greeted(name, extended=False) or reply(250, NAME)

    async def _ehlo(self, name: str) -> SmtpReply:
        refused = self._greeted(name, extended=True)
        if refused is not None:
            return refused
        starttls = self._starttls is not None and not self.secure
        return form.ehlo(NAME, self._offered(), starttls=starttls, auth=self._may_sign_in())

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
        return not self._address and (self.secure or self.is_local)

    async def _start_tls(self, argument: str) -> SmtpReply | None:
        if self.secure or self._starttls is None:
            return reply(503, "5.5.1 TLS is already in use")
        if argument:
            return reply(501, "5.5.4 Syntax: STARTTLS")
        self.say(reply(220, "2.0.0 Ready to start TLS"))
        await self.upgrade(self._starttls)
        # RFC 3207 section 4.2: what was said before TLS was not said.
        self._transaction = None
        self._address = self._greeting = ""
        self._extended = self.trusted = False
        return None

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
            self.say_octets(b"334 " + challenge + b"\r\n")
            said = (await self.line()).strip()
            self.heard()
        if said == b"*":
            return reply(501, "5.7.0 AUTH ended by the client")
        try:
            return b64decode(said, validate=True)
        except ValueError:
            return reply(501, "5.5.2 Not base64")

    async def _sign_in(self, user: bytes, password: bytes) -> SmtpReply:
        await self.flush()
        try:
            account = await self._desk.logins.check(user, password, ends_of(self.transport))
        except TryLater as error:
            return reply(454, f"4.7.0 {error}")
        finally:
            self.heard()
        if account is not None:
            self._address = account.address
            self.trusted = True
            self._desk.warm_up(account.address)
            return reply(235, "2.7.0 Signed in")
        self._bad_logins += 1
        refused = reply(535, "5.7.8 Not accepted: use the account's address and the client password that proxyd made")
        if self._bad_logins >= BAD_LOGINS:
            self.end(refused)
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
        if said.address and mailbox_key(said.address) not in mine:  # `<>` has a receipt that was asked for (RFC 8098)
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
        reception = Reception(intake, account, envelope, self._offered().size, desk.clock.now(), desk.workers)
        self.say(reply(354, "End with CRLF.CRLF"))
        try:
            await self._receive(reception)
            submission = await reception.finish()
        except BaseException:  # also when the connection was lost, which cancels us
            start(reception.abandon(), f"abandon {intake.id}")
            raise
        if isinstance(submission, SmtpReply):
            self.say(submission)
            return
        self.heard(max(IDLE_LIMIT, account.sending.answer_within + 60))
        handed = await desk.submissions.hand_in(account, intake, submission)
        self.heard()
        self.say(handed.reply)
        await self.flush()
        if self.listens:
            desk.submissions.told(handed)

    async def _receive(self, reception: Reception) -> None:
        data = DataReader()
        done = False
        while not done:
            block = await self.block()
            self.heard()
            content, done, rest = data.feed(block)
            self.put_back(rest)
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
        self.end(reply(221, "2.0.0 Bye"))
        return None
