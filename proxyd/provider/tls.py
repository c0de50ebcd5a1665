"""TLS towards the provider: one shared context per role and private CA, and failures said in one sentence.

Why this way: a context of its own costs a connection close to a megabyte, so contexts are shared by all accounts that
trust the same authorities. The standard library's ssl is used on every side: pyOpenSSL dies where memory may not be
both writable and executable, which our systemd unit forbids.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxyd.errors import ConfigError
from proxyd.model import HealthCause


def client_context(role: str, ca: Path | None = None) -> ssl.SSLContext:
    """The context of `role` ("smtp", "imap" …): certificates and names verified, TLS 1.2 or later.

    `ca` is a PEM file of authorities trusted beside the system's. Raises ConfigError where it cannot be read. A file
    that has changed gives a new context, for the connections opened from then on.
    """
    if ca is None:
        return _context(role, None, 0, 0)
    try:
        facts = ca.stat()
    except OSError as error:
        raise ConfigError(f"ca: {ca} cannot be read: {error.strerror}") from None
    return _context(role, ca, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=64)
def _context(_role: str, ca: Path | None, _mtime_ns: int, _size: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except ssl.SSLError:
            raise ConfigError(f"ca: {ca} holds no certificate in PEM form") from None
        except OSError as error:
            raise ConfigError(f"ca: {ca} cannot be read: {error.strerror}") from None
    return context


RESUMED = 3600.0  # seconds
KEPT = 64  # servers


class Sessions:
    """What a server's TLS session is resumed by: all connections to one server share the reading of its certificates,
    which else costs each of them ten KiB and both sides a signature.

    A certificate is looked at anew after an hour at most (RFC 8446 section 4.6.1 would allow a week).
    """

    def __init__(self) -> None:
        self._of: dict[tuple[ssl.SSLContext, str, int], tuple[ssl.SSLSession, float]] = {}

    def to(self, context: ssl.SSLContext, host: str, port: int) -> ssl.SSLSession | None:
        session, verified = self._of.get((context, host, port), (None, 0.0))
        return session if time.monotonic() - verified < RESUMED else None

    def keep(self, sock: ssl.SSLSocket, host: str, port: int) -> None:
        """After the first answers: with TLS 1.3 the server says what to resume by behind its handshake."""
        if sock.session_reused or (session := sock.session) is None or not session.has_ticket:
            return
        key = (sock.context, host, port)
        while len(self._of) >= KEPT and key not in self._of:
            del self._of[next(iter(self._of))]
        self._of[key] = session, time.monotonic()


sessions = Sessions()


# X509_V_ERR_* of OpenSSL's x509_vfy.h. `rules.remedies` knows these words.
CERTIFICATE = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed and not known here (setting `ca` names a private authority)",
    19: "its certificate comes from an authority not known here (setting `ca` names a private authority)",
    20: "its certificate comes from an authority not known here (setting `ca` names a private authority)",
    21: "its certificate comes from an authority not known here (setting `ca` names a private authority)",
    23: "its certificate was revoked",
    62: "its certificate is for another name",
    64: "its certificate is for another name",
}

_BY_THE_CLOCK = (9, 10)  # the day is told with these: one that is wrong is known at a glance

_HANDSHAKE = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port (setting `tls`: implicit or starttls?)",
    "HTTP_REQUEST": "it does not speak TLS on this port (setting `tls`: implicit or starttls?)",
    "PACKET_LENGTH_TOO_LONG": "it does not speak TLS on this port (setting `tls`: implicit or starttls?)",
    "RECORD_LAYER_FAILURE": "it does not speak TLS on this port (setting `tls`: implicit or starttls?)",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS newer than 1.1",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS newer than 1.1",
    "NO_PROTOCOLS_AVAILABLE": "it speaks no TLS newer than 1.1",
}


def failure(error: BaseException, host: str, port: int) -> tuple[HealthCause, str]:
    """What a failed connection or handshake with `host` means, and one sentence for the person who must act."""
    where = f"{host}:{port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = CERTIFICATE.get(error.verify_code, f"its certificate is not trusted: {error.verify_message}")
        if error.verify_code in _BY_THE_CLOCK:
            why += f" (here it is {datetime.now(UTC):%Y-%m-%d})"
        return HealthCause.MISCONFIGURED, f"{where}: {why}"
    if isinstance(error, ssl.CertificateError):
        return HealthCause.MISCONFIGURED, f"{where}: its certificate is not trusted: {error}"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        reason = error.reason or "unknown reason"
        known = _HANDSHAKE.get(reason, f"the TLS handshake failed: {reason.replace('_', ' ').lower()}")
        return HealthCause.MISCONFIGURED, f"{where}: {known}"
    cause = HealthCause.NO_SUCH_NAME if _no_such_name(error) else HealthCause.UNREACHABLE
    return cause, f"{where}: {_network(error)}"


def _no_such_name(error: BaseException) -> bool:
    """The DNS has answered, and says no; where nobody answered it is EAI_AGAIN."""
    return isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)


def _network(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name was not found: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError) or "[Errno 111]" in str(error):
        return "the connection was refused"  # asyncio joins the errors of several addresses into one text
    if isinstance(error, ConnectionError | EOFError | ssl.SSLError):
        return "the connection was closed by the other side"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or error}"
    return f"no connection: {type(error).__name__}"


def abort(transport: asyncio.WriteTransport) -> None:
    """End it at once; what waits in its buffer is never sent.

    asyncio's own stumbles over a transport that is gone, where its buffer was emptied only after it was closed: it has
    no loop any more.
    """
    with contextlib.suppress(AttributeError):
        transport.abort()


_BUFFER = bytearray(256 * 1024)
_VIEW = memoryview(_BUFFER)


def share_buffer(transport: asyncio.BaseTransport) -> None:
    """Let a TLS connection read into the one buffer that all of them share; asyncio gives each 256 KiB of its own, and
    keeps a reading of the other end's certificate that nobody asks for.

    Safe because octets lie in it only between two calls that the loop makes one behind the other.
    """
    protocol: Any = getattr(transport, "_ssl_protocol", None)  # asyncio has no public way to it
    if hasattr(protocol, "_ssl_buffer_view"):
        protocol._ssl_buffer, protocol._ssl_buffer_view = _BUFFER, _VIEW
        protocol._extra.pop("peercert", None)
