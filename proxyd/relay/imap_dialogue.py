"""What a mail client says and hears over IMAP until it has signed in (RFC 3501 section 6.1 and 6.2, RFC 4959, 2971).

All of it is ours: the provider is spoken to once the client's own password was right. A provider that is away or
refuses *our* sign-in is told as UNAVAILABLE (RFC 5530): AUTHENTICATIONFAILED would make the client ask for, and
overwrite, the password that is right.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from proxyd.config import Account
from proxyd.errors import TryLater
from proxyd.formats import capabilities
from proxyd.formats.imap_words import astrings
from proxyd.formats.smtp_dialogue import one_line
from proxyd.relay.imap_connection import Command, ImapConnection, Passed
from proxyd.relay.imap_desk import ImapDesk
from proxyd.relay.imap_passage import Passage
from proxyd.relay.peer import ends_of
from proxyd.relay.stream import Ended

BAD_LOGINS = 3  # wrong passwords, then the connection ends
VAIN_LOGINS = 3  # right ones that came to nothing at the provider, likewise: each may be a connection to it
ID = b'* ID ("name" "proxyd")\r\n'

log = structlog.get_logger()

# What a client may say once it has signed in: it heard of them, so they are no bad commands.
_LATER = frozenset(
    """SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB STATUS APPEND CHECK CLOSE EXPUNGE SEARCH
    FETCH STORE COPY MOVE UID IDLE NAMESPACE ENABLE UNSELECT COMPRESS GETQUOTA GETQUOTAROOT XLIST SORT THREAD""".split()  # noqa: SIM905
)


class ImapDialogue(ImapConnection):
    """`tls` is the context for STARTTLS, None on a connection that is TLS from its first octet."""

    def __init__(self, desk: ImapDesk, tls: ssl.SSLContext | None) -> None:
        super().__init__(desk, secure=tls is None)
        self._starttls = tls
        self._bad_logins = 0
        self._vain_logins = 0
        self._commands: dict[str, Callable[[Command], Coroutine[Any, Any, bytes | None]]] = {
            "CAPABILITY": self._capability,
            "NOOP": self._noop,
            "ID": self._id,
            "LOGOUT": self._logout,
            "STARTTLS": self._start_tls,
            "LOGIN": self._login,
            "AUTHENTICATE": self._authenticate,
        }

    def greeting(self) -> bytes:
        return b"* OK [CAPABILITY " + self._offered() + b"] localhost ready\r\n"

    async def obey(self, command: Command) -> bool:
        answer = self._commands.get(command.verb)
        if answer is None:
            if command.verb in _LATER:
                self.say(command.tag + b" BAD Sign in first\r\n")
            return command.verb in _LATER
        said = await answer(command)
        if said is not None:
            self.say(command.tag + b" " + said + b"\r\n")
        return True

    # --- what needs no name

    @property
    def _may_sign_in(self) -> bool:
        return self.secure or self.is_local

    def _offered(self) -> bytes:
        starttls = self._starttls is not None
        return capabilities.octets(
            capabilities.before_login(starttls=starttls, secure=self.secure, may_sign_in=self._may_sign_in)
        )

    async def _capability(self, command: Command) -> bytes:
        self.say(b"* CAPABILITY " + self._offered() + b"\r\n")
        return b"OK CAPABILITY completed"

    async def _noop(self, command: Command) -> bytes:
        return b"OK NOOP completed"

    async def _id(self, command: Command) -> bytes:
        self.say(ID)
        return b"OK ID completed"

    async def _logout(self, command: Command) -> None:
        self.end(b"* BYE Bye\r\n" + command.tag + b" OK LOGOUT completed\r\n")

    async def _start_tls(self, command: Command) -> bytes | None:
        if self.secure or self._starttls is None:
            return b"BAD TLS is already in use"
        if self.spoken_on:
            # Commands in the clear behind STARTTLS were never the client's (CVE-2011-0411): none of them is read.
            log.warning("octets in the clear behind STARTTLS; connection ended")
            self.end(command.tag + b" BAD Nothing may stand behind STARTTLS\r\n* BYE Closing\r\n")
        self.say(command.tag + b" OK Begin TLS now\r\n")
        await self.upgrade(self._starttls)
        return None

    # --- who is there

    async def _login(self, command: Command) -> bytes | None:
        words = astrings(command.parts)
        if words is None or len(words) != 2:
            return b"BAD Syntax: LOGIN user password"
        return self._not_here() or await self._sign_in(command.tag, *words)

    async def _authenticate(self, command: Command) -> bytes | None:
        words = astrings(command.parts)
        if not words or len(words) > 2:
            return b"BAD Syntax: AUTHENTICATE mechanism"
        initial = words[1] if len(words) == 2 else None
        match words[0].upper():
            case b"PLAIN":
                exchange = self._plain
            case b"LOGIN":
                exchange = self._login_in_two
            case _:
                return b"NO [CANNOT] Use AUTHENTICATE PLAIN or LOGIN"
        refused = self._not_here()
        said = refused or await exchange(initial)
        return said if isinstance(said, bytes) else await self._sign_in(command.tag, *said)

    def _not_here(self) -> bytes | None:
        return None if self._may_sign_in else b"NO [PRIVACYREQUIRED] Use STARTTLS before you sign in"

    async def _plain(self, initial: bytes | None) -> tuple[bytes, bytes] | bytes:
        """RFC 4616: authorization identity, authentication identity, password. To act for another is not offered."""
        words = await self._response(initial, b"")
        if words is None:
            return b"BAD AUTHENTICATE ended"
        parts = words.split(b"\0")
        if len(parts) != 3:
            return b"BAD Not a PLAIN response"
        acts_for, user, password = parts
        if acts_for and acts_for.strip().lower() != user.strip().lower():
            return b"", password
        return user, password

    async def _login_in_two(self, initial: bytes | None) -> tuple[bytes, bytes] | bytes:
        user = await self._response(initial, b"VXNlcm5hbWU6")  # Username:
        password = None if user is None else await self._response(None, b"UGFzc3dvcmQ6")  # Password:
        return b"BAD AUTHENTICATE ended" if user is None or password is None else (user, password)

    async def _response(self, initial: bytes | None, challenge: bytes) -> bytes | None:
        """The decoded response; `=` is an empty initial one. None: the client ended it by `*`, or it is no base64."""
        if initial is None:
            self.say(b"+ " + challenge + b"\r\n")
            initial = (await self.line()).strip()
            self.heard()
            if initial == b"*":
                return None
        try:
            return b"" if initial == b"=" else b64decode(initial, validate=True)
        except ValueError:
            return None

    async def _sign_in(self, tag: bytes, user: bytes, password: bytes) -> bytes | None:
        self.send()
        try:
            account = await self._desk.logins.check(user, password, ends_of(self.transport))
        except TryLater as error:
            return f"NO [UNAVAILABLE] {error}".encode("ascii")
        finally:
            self.heard()
        if account is not None:
            return await self._pass(tag, account)
        self._bad_logins += 1
        refused = (
            b"NO [AUTHENTICATIONFAILED] Not accepted: use the account's address and the client password "
            b"that proxyd made"
        )
        if self._bad_logins >= BAD_LOGINS:
            self.end(tag + b" " + refused + b"\r\n* BYE Too many wrong passwords\r\n")
        return refused

    async def _pass(self, tag: bytes, account: Account) -> bytes | None:
        """Sign in at the provider; then the connection is the passage's."""
        signed_in = await self._desk.sign_in(account)
        self.heard()
        if isinstance(signed_in, str):
            refused = b"NO " + one_line(signed_in).encode("ascii")
            self._vain_logins += 1
            if self._vain_logins >= VAIN_LOGINS:
                self.end(tag + b" " + refused + b"\r\n* BYE [UNAVAILABLE] Please try again later\r\n")
            return refused
        if self.transport.is_closing():
            signed_in.abort()
            raise Ended
        offered = capabilities.octets(capabilities.after_login(signed_in.capabilities))
        self.say(tag + b" OK [CAPABILITY " + offered + b"] Signed in\r\n")
        self.send()
        Passage(self._desk, account, self.transport, signed_in).begin(self.take_all(), ended=self._gone)
        raise Passed
