"""imaplib over a socket whose buffer is ours: what lies unread in it can be asked for without reading.

Why this way: between commands a connection is parked in the reactor, and imaplib's own buffered file makes three things
impossible to tell apart there: nothing to read, half a line, and the server's goodbye; and a line that came in one
packet with another lies in it unseen, as decrypted octets lie unseen in the SSL object. `read`, `readline`, `send`,
`open` and `shutdown` are the methods that imaplib documents as the ones to replace; these five replacements keep one
buffer. `Wire` also is where no argument of a command may hold CR, LF or NUL, whoever builds the command.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, Literal

from imapclient import IMAPClient

from proxyd.formats.imap_fields import cut_out
from proxyd.provider.keepalive import keep_alive
from proxyd.provider.tls import sessions
from proxyd.provider.trace import Tap

CONNECT_TIMEOUT = 10.0  # seconds, for each address of the host
READ_TIMEOUT = 30.0  # seconds without an octet from the server while an answer is due
MAX_LINE = 8 * 1024 * 1024  # octets; a SEARCH answer of a million UIDs fits
MAX_LITERAL = 64 * 1024 * 1024  # octets; we never ask for more than a small part of this at once
READ_SIZE = 16384  # octets: what a TLS record holds at most
DRAIN_LIMIT = 4 * READ_SIZE  # octets taken at once while parked; the rest is read by a worker

_FORBIDDEN = frozenset(b"\r\n\0")


class _Reading(threading.local):
    """Where each thread reads into. Were it made for each reading, and cut to what came, the memory of thousands of
    connections would be full of holes."""

    def __init__(self) -> None:
        self.octets = memoryview(bytearray(READ_SIZE))


_reading = _Reading()


class UnsafeValue(ValueError):
    """A value holds CR, LF or NUL: sent in a command it would be a command of its own (RFC 3501 section 9)."""


def checked(value: str | bytes) -> str | bytes:
    """`value` itself, if it can be sent inside a command line."""
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if not _FORBIDDEN.isdisjoint(octets):
        raise UnsafeValue("a value with CR, LF or NUL may not become part of an IMAP command")
    return value


def _say_nothing(*_: object) -> None:
    """imaplib's debug output: every line that is sent, LOGIN and its password among them."""


_TAG = b"PRXD"
_TAGGED = re.compile(rb"(?P<tag>PRXD\d+) (?P<type>[A-Z]+) (?P<data>.*)", re.ASCII)


class Wire(imaplib.IMAP4):
    """One connection. `context` is TLS from the first byte, None = plain (STARTTLS may follow)."""

    # There may be thousands of them. A dictionary with imaplib's names would cost each a KiB, a pattern for tags of its
    # own two, and nobody needs the logger that imapclient gives it.
    __slots__ = (
        *("debug", "state", "literal", "tagged_commands", "untagged_responses", "continuation_response", "is_readonly"),
        *("tagnum", "_tls_established", "utf8_enabled", "_encoding", "Literal", "Untagged_status", "host", "port"),
        *("sock", "_cmd_log_len", "_cmd_log_idx", "_cmd_log", "welcome", "capabilities", "PROTOCOL_VERSION", "mo"),
        *("_context", "_read_timeout", "tap", "_unread", "moved", "_searched", "_fields"),
    )
    tagpre = property(lambda self: _TAG, lambda self, made: None)
    tagre = property(lambda self: _TAGGED, lambda self, made: None)
    _mesg = property(lambda self: _say_nothing, lambda self, made: None)

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, *, connect_timeout: float, read_timeout: float
    ) -> None:
        self._context = context
        self._read_timeout = read_timeout
        self.tap = Tap()
        self._unread = bytearray()
        self.moved = 0  # how often octets came or went; only ever counted up, so that any thread may look
        self._searched = 0  # octets of `_unread` known to hold no line end
        self._fields: dict[int, bytes] | None = None  # those of messages, while they are asked for
        super().__init__(host, port, connect_timeout)

    # --- what imaplib lets us replace -------------------------------------------------------------------

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.host, self.port = host, port
        sock = socket.create_connection((host, port), timeout)
        try:
            _tune(sock)
            self.sock = self._secured(self._context, sock) if self._context else sock
            self.sock.settimeout(self._read_timeout)
        except BaseException:
            sock.close()
            raise

    def read(self, size: int) -> bytes:
        if size > MAX_LITERAL:
            raise self.abort(f"the server announced a literal of {size} octets")
        while len(self._unread) < size:
            self._fill()
        return self._take(size)

    def readline(self) -> bytes:
        while (end := self._line_end()) < 0:
            if len(self._unread) > MAX_LINE:
                raise self.abort(f"the server sent a line of more than {MAX_LINE} octets")
            self._fill()
        line = self._take(end)
        self.tap.imap_got(line)
        return line

    def send(self, data: Any) -> None:
        self.sock.sendall(data)
        self.tap.imap_sent(data)
        if len(data) > READ_SIZE:  # what is small goes into the system's buffer, whether the server stands or not
            self.moved += 1

    def shutdown(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    # --- what we add -----------------------------------------------------------------------------------

    def _command(self, name: str, *args: Any) -> bytes:
        for value in args:
            if value is not None:
                checked(value)
        tag: bytes = super()._command(name, *args)  # type: ignore[misc]
        return tag

    @contextlib.contextmanager
    def collecting_fields(self) -> Iterator[dict[int, bytes]]:
        """Around a FETCH of header fields: what came in the usual form, by UID. imaplib gets to see all the rest."""
        self._fields = {}
        try:
            yield self._fields
        finally:
            self._fields = None

    def _get_response(self) -> Any:
        if self._fields is not None and self._unread and not self.tap.is_heard:
            found, octets = cut_out(bytes(self._unread))
            self._fields |= found
            self._take(octets)
        return super()._get_response()  # type: ignore[misc]

    def _log(self, line: str) -> None:
        """imaplib keeps the last ten lines, LOGIN and its password among them. We keep none."""

    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> tuple[Literal["OK"], list[None]]:
        """RFC 3501 section 6.2.1. Octets that came in clear behind the server's OK end the connection (injection)."""
        if ssl_context is None:
            raise ValueError("starttls needs the context that verifies the server")
        kind, _ = self._simple_command("STARTTLS")
        if kind != "OK":
            raise self.error("the server refused STARTTLS")
        if self._unread:
            raise self.abort("the server sent octets in clear behind its answer to STARTTLS")
        self.sock = self._secured(ssl_context, self.sock)
        self._get_capabilities()
        return "OK", [None]

    def _secured(self, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        return context.wrap_socket(sock, server_hostname=self.host, session=sessions.to(context, self.host, self.port))

    def keep_session(self) -> None:
        """So that the next connection to this server can resume it."""
        if isinstance(self.sock, ssl.SSLSocket):
            sessions.keep(self.sock, self.host, self.port)

    def drop(self) -> None:
        """End the connection from any thread: whoever reads from it hears so at once."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not SSLSocket's, which would pull TLS from a reader

    def waiting(self) -> list[bytes]:
        """The complete lines that are there now, without their CRLF; half a line stays for later.

        Never waits. Raises `abort` when the server has closed. Reads TLS's own buffer empty, which the reactor cannot
        see.
        """
        closed = False
        self.sock.settimeout(0)
        try:
            taken = 0
            while taken < DRAIN_LIMIT or self._decrypted():
                read = self._receive()
                closed = not read
                if closed:
                    break
                taken += read
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(self._read_timeout)
        lines = []
        while (end := self._line_end()) >= 0:
            lines.append(self._take(end).rstrip(b"\r\n"))
            self.tap.imap_got(lines[-1])
        if closed and not lines:
            raise self.abort("the server closed the connection")
        return lines

    def _decrypted(self) -> int:
        """Octets inside the SSL object, of which the reactor would not tell."""
        return self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0

    def _fill(self) -> None:
        if not self._receive():
            raise self.abort("the server closed the connection")

    def _receive(self) -> int:
        """Take in what comes; how many octets, none at the connection's end."""
        read = self.sock.recv_into(_reading.octets)
        if read:
            self._unread += _reading.octets[:read]
            self.moved += 1
        return read

    def _line_end(self) -> int:
        at = self._unread.find(b"\n", self._searched)
        self._searched = 0 if at >= 0 else len(self._unread)
        return at + 1 if at >= 0 else -1

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._unread)[:size])
        del self._unread[:size]
        self._searched = 0
        return taken


class Client(IMAPClient):
    """imapclient over our `Wire`, with every argument of its own raw command path checked too."""

    __slots__ = (
        *("host", "port", "ssl", "ssl_context", "stream", "use_uid", "folder_encode", "normalise_times", "_timeout"),
        *("_starttls_done", "_cached_capabilities", "_idle_tag", "_imap", "_wire_context"),
    )

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._wire_context = context
        super().__init__(host, port, ssl=context is not None)
        self._imap.debug = 0
        self.normalise_times = False  # aware datetimes

    def _create_IMAP4(self) -> Wire:  # imapclient calls it once, in its constructor
        return Wire(
            self.host, self.port, self._wire_context, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT
        )

    def _set_read_timeout(self) -> None:
        """`Wire` has set it."""

    def _raw_command(self, command: bytes, args: Any, uid: bool = True) -> Any:
        for item in args if isinstance(args, list | tuple) else [args]:
            checked(item)
        return super()._raw_command(command, args, uid=uid)  # type: ignore[no-untyped-call]


def _tune(sock: socket.socket) -> None:
    """No delay for small lines, and a dead peer is found out while we are parked."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock)
