"""Whatever a stranger says, to either relay: whole lines come back, the same however it was cut, and nothing breaks.

The relays run in a thread on a loop of their own, so that hypothesis may try, and shrink, one connection after another.
`make fuzz` lets it try for as long as one likes.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxyd.workers import SystemClock
from tests.relay.house import PASSWORD, house, plain
from tests.relay.imap_house import ADA, PlayedProvider, imap_house

WAIT = 20.0  # seconds for the end of a connection
TLS_BEGINS = re.compile(rb"^(?:220 |\S+ OK Begin TLS)[^\r\n]*\r\n", re.MULTILINE)
IMAP_LINE = re.compile(rb"(?:\* (?:OK|BAD|BYE|CAPABILITY|ID) |\+ |[^ \r\n]+ (?:OK|NO|BAD) )[^\0\r\n]*\r\n")
SMTP_LINE = re.compile(rb"[2345]\d\d[ -][^\0\r\n]*\r\n")


class Impatient(SystemClock):
    """Wrong passwords are not slowed down."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Served:
    """What `make` gives, in a thread; `faults` is what nobody there caught."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self.port = 0
        self.faults: list[dict[str, Any]] = []
        self._make = make
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(WAIT)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        async with self._make() as here:
            self.port = here.port
            self._ready.set()
            await self._over.wait()

    def answers(self, pieces: list[bytes]) -> bytes:
        """All that a client hears that sends these, each on its own, and then has said all it had to say."""
        heard = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in pieces:
                    client.sendall(piece)
                client.shutdown(socket.SHUT_WR)
                while more := client.recv(65536):
                    heard += more
            except TimeoutError:
                raise AssertionError(f"the connection does not end; so far {heard!r}") from None
            except OSError:  # it was ended with octets unread; what came before may be lost by that
                return heard[: heard.rfind(b"\n") + 1]
        assert not self.faults
        return heard


@pytest.fixture(scope="module")
def imap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("imap")
    away = PlayedProvider(refusal="NO [UNAVAILABLE] closed today")  # so that nobody gets past the sign-in
    with Served(lambda: imap_house(folder, provider=away, clock=Impatient())) as served:
        yield served


@pytest.fixture(scope="module")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("smtp")
    with Served(lambda: house(folder, clock=Impatient())) as served:
        yield served


def cut(octets: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({each % (len(octets) + 1) for each in at} | {0, len(octets)})
    return [octets[a:b] for a, b in itertools.pairwise(ends)]


def check(served: Served, line: re.Pattern[bytes], octets: bytes, at: list[int]) -> None:
    whole = served.answers([octets])
    for heard in (whole, served.answers(cut(octets, at))):
        clear = heard
        if begun := TLS_BEGINS.search(heard, heard.find(b"\n") + 1):
            clear = heard[: begun.end()]  # what follows is TLS
        left = line.sub(b"", clear)
        assert left == b"", f"no whole line of the protocol: {left!r}"
        assert b"fault" not in clear.lower()


def spoken(words: list[bytes]) -> st.SearchStrategy[bytes]:
    """Commands, parts of commands, and anything."""
    piece = st.one_of(
        st.sampled_from(words),
        st.sampled_from(
            [b"\r\n", b"\n", b"\r", b" ", b"\0", b'"', b"\\", b"*\r\n", b"(", b")", b"\x16\x03\x01", b"=\r\n"]
        ),
        st.binary(max_size=12),
        st.integers(0, 2**70).map(lambda size: b"{%d}\r\n" % size),
        st.integers(0, 40).map(lambda size: b"{%d+}\r\n" % size),
        st.tuples(st.sampled_from(words), st.integers(1, 3000)).map(lambda both: both[0] * both[1]),
    )
    return st.lists(piece, max_size=12).map(b"".join)


WRONG = base64.b64encode(b"\0" + ADA.encode() + b"\0no")
IMAP_WORDS = [
    *(b"a NOOP\r\n", b"a CAPABILITY\r\n", b"a ID NIL\r\n", b"a LOGOUT\r\n", b"a STARTTLS\r\n", b"a SELECT INBOX\r\n"),
    *(b"a LOGIN ", b"a LOGIN {15}\r\n", b"a AUTHENTICATE PLAIN\r\n", b"a AUTHENTICATE LOGIN\r\n", b"a AUTHENTICATE "),
    *(
        f'{ADA} "{PASSWORD}"\r\n'.encode(),
        ADA.encode(),
        f"a AUTHENTICATE PLAIN {plain()}\r\n".encode(),
        WRONG + b"\r\n",
    ),
    *(b"GET / HTTP/1.1\r\n", b"EHLO there\r\n", b"a APPEND Sent {5}\r\n", b"A1 ", b"x"),
]
SMTP_WORDS = [
    *(
        b"EHLO there\r\n",
        b"HELO x\r\n",
        b"NOOP\r\n",
        b"RSET\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"DATA\r\n",
        b"VRFY x\r\n",
    ),
    *(
        b"AUTH PLAIN ",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        plain().encode() + b"\r\n",
        WRONG + b"\r\n",
        b"AUTH LOGIN ",
    ),
    *(b"MAIL FROM:<ada@example.com>\r\n", b"RCPT TO:<bob@example.net>\r\n", b"MAIL FROM:<", b"RCPT TO:<", b"> SIZE="),
    *(
        b".\r\n",
        b"Subject: x\r\n\r\nx\r\n.\r\n",
        b"BDAT 5 LAST\r\n",
        b"BDAT ",
        b"GET / HTTP/1.1\r\n",
        b"a LOGIN x y\r\n",
    ),
]
CUTS = st.lists(st.integers(0, 2**16), max_size=6)
SLOW = settings(suppress_health_check=list(HealthCheck), database=None)


@SLOW
@given(octets=spoken(IMAP_WORDS), at=CUTS)
@example(octets=b"a STARTTLS\r\na NOOP\r\n", at=[12])
@example(octets=b"a LOGIN {99999999999}\r\n", at=[])
@example(octets=b"a AUTHENTICATE PLAIN\r\n*\r\na AUTHENTICATE LOGIN\r\n", at=[20])
def test_any_octets_to_imap(imap: Served, octets: bytes, at: list[int]) -> None:
    check(imap, IMAP_LINE, octets, at)


@SLOW
@given(octets=spoken(SMTP_WORDS), at=CUTS)
@example(octets=b"EHLO x\r\nSTARTTLS\r\nEHLO y\r\n", at=[18])
@example(octets=b"EHLO x\r\nAUTH LOGIN\r\n*\r\n", at=[])
def test_any_octets_to_smtp(smtp: Served, octets: bytes, at: list[int]) -> None:
    check(smtp, SMTP_LINE, octets, at)


@SLOW
@given(lines=st.lists(st.sampled_from([each for each in IMAP_WORDS if each.endswith(b"\r\n")]), max_size=8), at=CUTS)
def test_the_same_however_it_is_cut(imap: Served, lines: list[bytes], at: list[int]) -> None:
    octets = b"".join(lines)
    if b"STARTTLS" not in octets:  # there it matters what stands behind it at that moment
        assert imap.answers([octets]) == imap.answers(cut(octets, at))
