"""Typed, blocking IMAP commands on one connection (RFC 3501 and what our work needs of UIDPLUS, IDLE, SPECIAL-USE).

The only importer of imapclient. Each method is one command, waits for its answer, and raises what `proxyd.errors` names
after who must act; every one of them may raise `Unreachable` (the connection is gone: open another) and `Throttled`.
Not safe for two threads: a `workers.Lane` gives one connection's calls their order. Only `drop` may be called from
anywhere, at any time.

Message-IDs and header fields come from strangers: no value with CR, LF or NUL is ever put into a command
(`imap_lines.checked`), and a search value is always quoted. Nothing here marks a message read: folders are opened with
EXAMINE, bodies and fields are fetched by BODY.PEEK.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import logging
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from imapclient.exceptions import LoginError

from proxyd.errors import Refused
from proxyd.model import Folder
from proxyd.provider.imap_errors import Misconfigured, Throttled, Unreachable, health_of, said_by, text_of, translated
from proxyd.provider.imap_lines import Client, UnsafeValue, checked

__all__ = [
    "Appended",
    "Connection",
    "Facts",
    "Misconfigured",
    "Opened",
    "Status",
    "Throttled",
    "Unreachable",
    "UnsafeValue",
    "health_of",
]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PART = 1024 * 1024  # octets of a message fetched by one command

# imapclient and imaplib tell their loggers every line, addresses and search values among them.
logging.getLogger("imapclient").setLevel(logging.CRITICAL)

_APPENDUID = re.compile(rb"\[APPENDUID (\d+) (\d+)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"\* (\d+) EXISTS", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened folder (answer to EXAMINE or SELECT). `uidnext` is 0 where the server does not say."""

    name: str
    uidvalidity: int
    uidnext: int
    messages: int


@dataclass(frozen=True, slots=True)
class Status:
    uidvalidity: int
    uidnext: int
    messages: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says of a message without looking into it. `size` is its own reckoning, in octets."""

    size: int
    internaldate: datetime | None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an appended message lies (RFC 4315); zeros where the server does not say."""

    uidvalidity: int = 0
    uid: int = 0


class Connection:
    """One connection to an IMAP server, made by `open`. `selected` is the folder that is open now."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # neither library is typed; what leaves this class is
        self._wire: Any = client._imap
        self._append_tag = b""
        self.selected: str | None = None
        self._news = False
        self._messages = 0
        self._idle_tag: bytes | None = None

    # --- coming and going ------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, host: str, port: int, tls: Literal["implicit", "starttls", "none"], context: ssl.SSLContext | None
    ) -> Connection:
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
        return connection

    def _raise_tls(self, context: ssl.SSLContext | None, at: tuple[str, int]) -> None:
        with translated("STARTTLS", at=at):
            if not self._client.has_capability("STARTTLS"):
                raise Misconfigured("the server does not offer STARTTLS on this port: use tls: implicit and port 993")
            self._client.starttls(context)

    def sign_in(self, user: str, password: str) -> None:
        """AUTHENTICATE PLAIN where offered (RFC 4616), else LOGIN.

        Raises SignInRefused (the credentials, in so many words), Throttled, Misconfigured (no way of signing in).
        """
        if "\0" in user or "\0" in password:
            raise Misconfigured("a user name or password with a NUL cannot be sent")
        with translated("signing in", login=True):
            if self._client.has_capability("AUTH=PLAIN"):
                self._authenticate_plain(user, password)
            elif self._client.has_capability("LOGINDISABLED"):
                raise Misconfigured("the server takes no password on this connection: it says LOGINDISABLED")
            else:
                self._login(user, password)
            self._client.capabilities()
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

    def _login(self, user: str, password: str) -> None:
        if not (user.isascii() and password.isascii()):
            raise Misconfigured("the server's only way of signing in, LOGIN, takes ASCII letters alone")
        kind, data = self._wire._simple_command("LOGIN", _quoted(user), _quoted(password))
        if kind != "OK":
            raise LoginError(text_of(data))
        self._wire.state = "AUTH"

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

    # --- folders ---------------------------------------------------------------------------------------

    def folders(self) -> list[Folder]:
        """Every folder with its special-use attributes: LIST (RFC 6154), or XLIST where only that knows them."""
        special, extended, xlist = (
            self._client.has_capability(name) for name in ("SPECIAL-USE", "LIST-EXTENDED", "XLIST")
        )
        lines = []
        if special and extended:  # a server may keep the attributes back unless they are asked for
            with contextlib.suppress(Refused), self._command("LIST"):
                kind, data = self._wire._simple_command("LIST", '""', '"*"', "RETURN", "(SPECIAL-USE)")
                self._client._checkok("LIST", kind, data)
                lines = self._client._proc_folder_list(self._wire._untagged_response(kind, data, "LIST")[1])
        if not lines:
            with self._command("LIST"):
                lines = self._client.xlist_folders() if xlist and not special else self._client.list_folders()
        return [
            Folder(
                name if isinstance(name, str) else _ascii(name),
                _ascii(delimiter) if delimiter else "",
                frozenset(_ascii(flag).lower() for flag in flags),
            )
            for flags, delimiter, name in lines
        ]

    def create(self, folder: str) -> None:
        """CREATE and SUBSCRIBE. That it exists already is no error."""
        with self._command("CREATE"):
            try:
                self._client.create_folder(checked(folder))
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                if "ALREADYEXISTS" not in str(error).upper() and "exist" not in str(error).lower():
                    raise
        with self._command("SUBSCRIBE"), contextlib.suppress(Refused):
            self._client.subscribe_folder(checked(folder))

    def examine(self, folder: str) -> Opened:
        """Open read-only: nothing that follows can change a flag."""
        return self._open_folder(folder, readonly=True)

    def select(self, folder: str) -> Opened:
        """Open for writing: only for taking back a message that we put there ourselves."""
        return self._open_folder(folder, readonly=False)

    def _open_folder(self, folder: str, *, readonly: bool) -> Opened:
        self.selected = None
        with self._command("EXAMINE" if readonly else "SELECT", keep=True):
            try:
                answer = self._client.select_folder(checked(folder), readonly=readonly)
            except imaplib.IMAP4.readonly as error:  # an abort by imaplib's family tree, and none by its meaning
                raise Refused("the server opens the folder for reading alone", said_by(error)) from error
        self._wire.untagged_responses.clear()
        self.selected = folder
        self._news = False
        self._messages = _number(answer.get(b"EXISTS"))
        uidnext, uidvalidity = _number(answer.get(b"UIDNEXT")), _number(answer.get(b"UIDVALIDITY"))
        return Opened(folder, uidvalidity, uidnext, self._messages)

    def status(self, folder: str) -> Status:
        """STATUS (UIDVALIDITY UIDNEXT MESSAGES): what the folder holds, whatever IDLE did or did not tell."""
        with self._command("STATUS"):
            answer = self._client.folder_status(checked(folder), ["UIDVALIDITY", "UIDNEXT", "MESSAGES"])
        numbers = {key.upper(): _number(value) for key, value in answer.items()}
        return Status(*(numbers.get(key, 0) for key in (b"UIDVALIDITY", b"UIDNEXT", b"MESSAGES")))

    def noop(self) -> None:
        with self._command("NOOP"):
            self._client.noop()

    # --- finding and reading ---------------------------------------------------------------------------

    def uids_from(self, uid: int) -> list[int]:
        """The UIDs at or above `uid` in the open folder, ascending."""
        # `n:*` always names the last message too, even where its UID is below n.
        return sorted(found for found in self._search(b"UID", b"%d:*" % uid) if found >= uid)

    def uids_since(self, day: date) -> list[int]:
        """The UIDs of messages whose INTERNALDATE is on `day` or later, whatever the time zone of the server."""
        return sorted(self._search(b"SINCE", f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}".encode()))

    def uids_of_id(self, message_id: str) -> list[int]:
        """What the server finds by SEARCH HEADER Message-ID. It may find too much (a part of the field is enough) and
        some servers find nothing: look at the fields of what it found, and look by other means too."""
        if not message_id.isascii():
            return []  # would need a charset; RFC 5322 knows no such id, and the other means find it
        with contextlib.suppress(Refused):
            return sorted(self._search(b"HEADER", b"Message-ID", _quoted(f"<{message_id}>").encode()))
        return []

    def deleted(self) -> list[int]:
        """The UIDs that carry \\Deleted."""
        return sorted(self._search(b"DELETED"))

    def _search(self, *criteria: bytes) -> list[int]:
        with self._command("SEARCH"):
            data = self._client._raw_command_untagged(b"SEARCH", list(criteria))
        # A server may answer with several SEARCH lines, or, with nothing found, with none.
        words = b" ".join(line for line in data if line).partition(b"(")[0].split()
        return [int(word) for word in words if word.isdigit()]

    def fields(self, uids: Sequence[int], names: Sequence[str]) -> dict[int, bytes]:
        """The header fields called `names` of many messages, in one command, as the server cut them out: each field
        whole, then a blank line. A UID that the server does not deliver is missing from the answer."""
        if not uids:
            return {}
        item = f"BODY.PEEK[HEADER.FIELDS ({' '.join(names)})]"
        found = {}
        for uid, values in self._fetch(uids, [item]).items():
            for key, value in values.items():
                if key.upper().startswith(b"BODY[HEADER.FIELDS"):
                    found[uid] = _octets(value)
        return found

    def facts(self, uid: int) -> Facts | None:
        """RFC822.SIZE and INTERNALDATE; None = there is no such message (any more)."""
        values = self._fetch([uid], ["RFC822.SIZE", "INTERNALDATE"]).get(uid)
        if values is None or b"RFC822.SIZE" not in values:
            return None
        when = values.get(b"INTERNALDATE")
        return Facts(_number(values[b"RFC822.SIZE"]), _aware(when) if isinstance(when, datetime) else None)

    def flags(self, uid: int) -> frozenset[str] | None:
        """None = there is no such message (any more)."""
        values = self._fetch([uid], ["FLAGS"]).get(uid, {}).get(b"FLAGS")
        return None if values is None else frozenset(_ascii(flag) for flag in values)

    def part(self, uid: int, offset: int, size: int = PART) -> bytes | None:
        """Octets `offset` to `offset + size` of the whole message, fewer at its end, none behind it; None = gone."""
        values = self._fetch([uid], [f"BODY.PEEK[]<{offset}.{size}>"]).get(uid, {})
        for key, value in values.items():
            if key.upper().startswith(b"BODY[]"):
                return _octets(value)
        return None

    def _fetch(self, uids: Sequence[int], items: Sequence[str]) -> Mapping[int, Mapping[bytes, Any]]:
        with self._command("FETCH"):
            answer: Mapping[int, Mapping[bytes, Any]] = self._client.fetch(list(uids), list(items))
        return answer

    # --- writing: the Sent copy only -------------------------------------------------------------------

    def append_begin(self, folder: str, size: int, flags: Iterable[str], at: datetime) -> None:
        """Announce a message of `size` octets; returns when the server asks for them. Then `append_octets` until all
        have gone, then `append_end`. In parts, so that no message is held whole; octet by octet as given (imaplib's own
        APPEND rewrites line ends). Raises Refused where the server does not want it: [TRYCREATE], [OVERQUOTA]."""
        wire = self._wire
        when = at.astimezone(UTC).strftime(f'"%d-{_MONTHS[at.astimezone(UTC).month - 1]}-%Y %H:%M:%S +0000"')
        with self._command("APPEND", keep=True):
            self._append_tag = wire._new_tag()
            name = _ascii(self._client._normalise_folder(checked(folder)))
            line = f"APPEND {name} ({' '.join(flags)}) {when} {{{size}}}"
            wire.send(self._append_tag + b" " + _ascii_line(line) + b"\r\n")
            while wire._get_response() is not None:
                if wire.tagged_commands[self._append_tag] is not None:
                    kind, data = wire.tagged_commands.pop(self._append_tag)
                    raise imaplib.IMAP4.error(f"{kind} {text_of(data)}")

    def append_octets(self, octets: bytes) -> None:
        with translated("APPEND"):
            self._wire.send(octets)

    def append_end(self) -> Appended:
        """The server's answer. Where this raises Unreachable, nobody knows whether the message is there: search."""
        with self._command("APPEND"):
            self._wire.send(b"\r\n")
            kind, data = self._wire._command_complete("APPEND", self._append_tag)
            if kind != "OK":
                raise imaplib.IMAP4.error(text_of(data))
        found = _APPENDUID.search(data[-1] or b"")
        return Appended(int(found[1]), int(found[2])) if found else Appended()

    def add_flags(self, uid: int, flags: Iterable[str]) -> None:
        """UID STORE +FLAGS in the folder opened by `select`; nothing is taken off. Raises Refused: some keyword."""
        with self._command("STORE"):
            self._client.add_flags([uid], [_ascii_line(flag) for flag in flags], silent=True)

    def remove(self, uid: int) -> bool:
        """Take one message out of the folder opened by `select`; False = it cannot be done without taking others too.

        UID STORE +FLAGS \\Deleted and UID EXPUNGE (RFC 4315). Without UIDPLUS, EXPUNGE takes everything that carries
        \\Deleted, so it is done only where nothing else does.
        """
        uidplus = self._client.has_capability("UIDPLUS")
        self.noop()  # what others expunged must not look as if it were there
        if not uidplus and [other for other in self.deleted() if other != uid]:
            return False
        with self._command("STORE"):
            self._client.add_flags([uid], [rb"\Deleted"], silent=True)
        if not uidplus and self.deleted() != [uid]:
            with self._command("STORE"):
                self._client.remove_flags([uid], [rb"\Deleted"], silent=True)
            return False
        with self._command("EXPUNGE"):
            self._client.expunge([uid] if uidplus else None)
        return True

    # --- IDLE, for provider.parking ---------------------------------------------------------------------

    def idle(self) -> bool:
        """Begin IDLE (RFC 2177). True = there is news already: end it at once with `idle_done`, and look."""
        with self._command("IDLE"):
            self._idle_tag = self._wire._command("IDLE")
            while self._wire._get_response() is not None:
                if self._wire.tagged_commands[self._idle_tag] is not None:
                    kind, data = self._wire.tagged_commands.pop(self._idle_tag)
                    raise imaplib.IMAP4.error(f"{kind} {text_of(data)}")
        return self.parked_news() | self.take_news()

    def parked_news(self) -> bool:
        """While in IDLE: look at what has come, without waiting. True = new mail may be there.

        Never blocks: called on the reactor's thread. Raises Unreachable when the server has gone or ended IDLE.
        """
        with translated("IDLE"):
            news = False
            for line in self._wire.waiting():
                if not line.startswith(b"* "):
                    raise imaplib.IMAP4.abort(f"the server ended IDLE: {line.decode('ascii', 'replace')}")
                if line[:6].upper() == b"* BYE ":
                    raise imaplib.IMAP4.abort(line[6:].decode("utf-8", "replace"))
                news = self._count(line) or news
            return news

    def idle_done(self) -> None:
        """End IDLE; news that came with the end is kept for `take_news`."""
        with self._command("IDLE"):
            self._wire.send(b"DONE\r\n")
            kind, data = self._wire._command_complete("IDLE", self._idle_tag)
            self._idle_tag = None
            if kind != "OK":
                raise imaplib.IMAP4.error(text_of(data))

    def take_news(self) -> bool:
        """Whether any answer since the last call said that the open folder has grown."""
        news, self._news = self._news, False
        return news

    def _count(self, line: bytes) -> bool:
        """Whether this untagged line says that the folder has grown."""
        if (found := _EXISTS.match(line)) is not None:
            return self._grown(int(found[1]))
        if line.upper().endswith(b" EXPUNGE"):
            self._messages = max(0, self._messages - 1)
        return False

    def _grown(self, messages: int, expunged: int = 0) -> bool:
        """EXISTS said `messages`, and beside it, before or after, so many EXPUNGE came. Some servers repeat EXISTS
        without need, so it is compared; where the order is lost, the lower count is kept: rather once too often."""
        grown = messages > self._messages or expunged > 0
        self._messages = messages - expunged
        return grown

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
        untagged.clear()


def _ascii(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _ascii_line(line: str) -> bytes:
    checked(line)
    return line.encode("ascii")


def _octets(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _aware(when: datetime) -> datetime:
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _quoted(value: str) -> str:
    """A quoted string (RFC 3501 section 4.3): never an atom, so that no character of it means anything."""
    checked(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
