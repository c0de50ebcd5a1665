"""The connection itself, below its commands: opened, signed in, closed, and what comes beside every answer looked at.

`provider.imap.Connection` is this with its commands. `_news` and `_messages` are kept here because any command's answer
may say that the open folder has grown.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import logging
import ssl
from collections.abc import Container, Iterator, Sequence
from typing import Any, Literal, Self

from imapclient.exceptions import LoginError

from proxyd.formats import sasl
from proxyd.provider.imap_errors import Misconfigured, text_of, translated
from proxyd.provider.imap_lines import Client
from proxyd.provider.imap_told import Told
from proxyd.provider.imap_values import quoted
from proxyd.provider.sign_in import AccessToken
from proxyd.provider.trace import Tap

# imapclient and imaplib tell their loggers every line, addresses and search values among them.
logging.getLogger("imapclient").setLevel(logging.CRITICAL)

_SHARED: dict[Any, Any] = {}  # lists of capabilities; servers offer few different ones


class Link:
    """One connection to an IMAP server, made by `open`. `selected` is the folder that is open now."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # neither library is typed; what leaves this class is
        self._wire: Any = client._imap
        self._append_tag = b""
        self.selected: str | None = None
        self._news = False
        self._messages = 0
        self._told = Told()
        self.notifying = False  # the server tells of folders that are not open (NOTIFY)
        self.heeds: Container[str] | None = None  # the folders of which being told wakes whoever is parked; None = all
        self._idle_tag: bytes | None = None

    def traced_by(self, tap: Tap) -> None:
        """From now on what is said here is told to `tap`, redacted."""
        self._wire.tap = tap

    # --- coming and going ------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, host: str, port: int, tls: Literal["implicit", "starttls", "none"], context: ssl.SSLContext | None
    ) -> Self:
        """Connect, and raise TLS where the settings say so; `context` is the one context that all connections share,
        None only where `tls` is.

        Raises Unreachable, Throttled (a greeting that says so), Misconfigured (certificate, no STARTTLS).
        """
        with translated(f"connecting to {host}:{port}", at=(host, port)):
            client = Client(host, port, context if tls == "implicit" else None)
        connection = cls(client)
        if tls == "starttls":
            try:
                connection._raise_tls(context, (host, port))
            except BaseException:
                connection.drop()
                connection.close()
                raise
        connection._wire.keep_session()
        connection._wire.welcome = b""
        return connection

    def _raise_tls(self, context: ssl.SSLContext | None, at: tuple[str, int]) -> None:
        with translated("STARTTLS", at=at):
            if not self._client.has_capability("STARTTLS"):
                raise Misconfigured("the server does not offer STARTTLS on this port: use tls: implicit and port 993")
            self._client.starttls(context)

    def sign_in(self, user: str, password: str) -> None:
        """AUTHENTICATE PLAIN where offered (RFC 4616), else LOGIN; an access token by its own mechanisms.

        Raises SignInRefused (the credentials, in so many words), Throttled, Misconfigured (no way of signing in).
        """
        if "\0" in user or "\0" in password:
            raise Misconfigured("a user name or password with a NUL cannot be sent")
        with translated("signing in", login=True):
            if isinstance(password, AccessToken):
                self._authenticate_by_token(user, password)
            elif self._client.has_capability("AUTH=PLAIN"):
                self._authenticate_plain(user, password)
            elif self._client.has_capability("LOGINDISABLED"):
                raise Misconfigured("the server takes no password on this connection: it says LOGINDISABLED")
            else:
                self._login(user, password)
            self._client.capabilities()
            self._share_capabilities()
            self._settle()
            if self._client.has_capability("ID"):
                with contextlib.suppress(imaplib.IMAP4.error):  # some ask for it, none may refuse us for it
                    self._client.id_({"name": "proxyd"})

    def _authenticate_plain(self, user: str, password: str) -> None:
        response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        if self._client.has_capability("SASL-IR"):
            kind, data = self._wire._simple_command("AUTHENTICATE", "PLAIN", response)
            if kind != "OK":
                raise LoginError(text_of(data))
            self._wire.state = "AUTH"
        else:
            self._client.plain_login(user, password)

    def _authenticate_by_token(self, user: str, token: AccessToken) -> None:
        offered = [each[5:] for each in text_of(self._client.capabilities()).split() if each.startswith("AUTH=")]
        mechanism = sasl.mechanism(offered)
        if mechanism is None:
            raise Misconfigured("the server takes no access token: it offers neither XOAUTH2 nor OAUTHBEARER")
        answers = [sasl.token_response(mechanism, user, token, self._client.host, self._client.port)]
        initial = self._client.has_capability("SASL-IR")
        tag = self._wire._command("AUTHENTICATE", mechanism, *([answers.pop().decode()] if initial else []))
        why = ""
        while self._wire.tagged_commands[tag] is None:
            if self._wire._get_response() is None:  # a go-ahead, or the reason of a refusal
                if not answers:
                    why = sasl.why_refused(self._wire.continuation_response)
                self._wire.send((answers.pop() if answers else sasl.after_refusal(mechanism)) + b"\r\n")
        kind, data = self._wire.tagged_commands.pop(tag)
        if kind != "OK":
            raise LoginError(f"{text_of(data)} ({why})" if why else text_of(data))
        self._wire.state = "AUTH"

    def _login(self, user: str, password: str) -> None:
        if not (user.isascii() and password.isascii()):
            raise Misconfigured("the server's only way of signing in, LOGIN, takes ASCII letters alone")
        kind, data = self._wire._simple_command("LOGIN", quoted(user), quoted(password))
        if kind != "OK":
            raise LoginError(text_of(data))
        self._wire.state = "AUTH"

    def _share_capabilities(self) -> None:
        """All connections to one kind of server hold the same list, once: there may be thousands of them."""
        client, wire = self._client, self._wire
        client._cached_capabilities = _SHARED.setdefault(client._cached_capabilities, client._cached_capabilities)
        wire.capabilities = _SHARED.setdefault(tuple(wire.capabilities), tuple(wire.capabilities))

    def close(self) -> None:
        """LOGOUT where the connection stands, then the socket. Never raises."""
        with contextlib.suppress(Exception):
            self._wire.sock.settimeout(2.0)
            self._client.logout()
        with contextlib.suppress(Exception):
            self._wire.shutdown()

    def drop(self) -> None:
        """End the connection without a word; a call that waits on it in another thread ends with Unreachable."""
        self._wire.drop()

    @property
    def moved(self) -> int:
        """How often octets came or went. From any thread."""
        return int(self._wire.moved)

    def fileno(self) -> int:
        return int(self._wire.sock.fileno())

    def has(self, capability: str) -> bool:
        with translated("CAPABILITY"):
            return bool(self._client.has_capability(capability))

    def noop(self) -> None:
        with self._command("NOOP"):
            self._client.noop()

    # --- between commands ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _command(self, what: str, *, keep: bool = False) -> Iterator[None]:
        """Around one command: its errors in our words, and what the server said beside its answer looked at."""
        with translated(what):
            self._settle()
            try:
                yield
            finally:
                if not keep:
                    self._settle()

    def _settle(self) -> None:
        """Look at what came beside an answer, then forget it: imaplib would keep it for ever, and mix old with new."""
        untagged = self._wire.untagged_responses
        if bye := untagged.get("BYE"):
            raise imaplib.IMAP4.abort(text_of(bye))
        counts = [int(value) for value in untagged.get("EXISTS", []) if value and value.isdigit()]
        expunged = len(untagged.get("EXPUNGE", []))
        if counts:
            self._news = self._grown(counts[-1], expunged) or self._news
        else:
            self._messages -= expunged
        for item in _whole(untagged.get("STATUS", [])):
            self._told.status(item)
        self._told.fetched(untagged.get("FETCH", []))
        if "NOTIFICATIONOVERFLOW" in untagged:
            self._overflown()
        elif self.notifying and "LIST" in untagged:
            self._told.listed = True
        untagged.clear()
        self._wire.mo = None  # the last line, in pieces

    def _overflown(self) -> None:
        """The server has too much to tell, and stops telling (RFC 5465 section 5.8)."""
        self.notifying = False
        self._told.listed = True

    def take_told(self) -> Told:
        """What the server told by itself since the last call."""
        told, self._told = self._told, Told()
        return told

    def _grown(self, messages: int, expunged: int = 0) -> bool:
        """EXISTS said `messages`, and beside it, before or after, so many EXPUNGE came. Some servers repeat EXISTS
        without need, so it is compared; where the order is lost, the lower count is kept: rather once too often."""
        grown = messages > self._messages or expunged > 0
        self._messages = messages - expunged
        return grown


def _whole(items: Sequence[Any]) -> Iterator[list[Any]]:
    """imaplib's pieces of each answer: one with a literal in it comes in several."""
    answer: list[Any] = []
    for item in items:
        if item is None:
            continue
        answer.append(item)
        if not isinstance(item, tuple):
            yield answer
            answer = []
