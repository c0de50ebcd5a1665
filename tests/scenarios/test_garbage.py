"""Strangers who speak nonsense to the IMAP port, many of them and much of it, while somebody reads mail.

Each hears BAD or BYE or is disconnected; whoever reads notices nothing; the daemon does not grow.
"""

from __future__ import annotations

import imaplib
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter
from tests.servers.mailprovider import PERSON

LISTEN = 'listen: {smtp: off, smtps: off, imap: "127.0.0.1:0", imaps: "127.0.0.1:0", web: off}\n'
ATTACHED = 300_000  # octets
ROUNDS = 3  # of all garbage
GROWTH = 12 * 2**20  # octets of resident memory; one of the floods alone has 10 MB
MIB = b"x" * 2**20

GARBAGE: dict[str, list[bytes]] = {
    "10 MB without a line end": [MIB] * 10,
    "10 MB behind a tag": [b"a LOGIN "] + [MIB] * 10,
    "10 MB of NULs": [bytes(2**20)] * 10,
    "10 MB of empty lines": [b"\r\n" * 2**19] * 10,
    "10 MB of bare CR": [b"\r" * 2**20] * 10,
    "an absurd literal": [b"a LOGIN {99999999999}\r\n", *[MIB] * 10],
    "an absurd literal that does not wait": [b"a LOGIN {99999999999+}\r\n", *[MIB] * 10],
    "a literal with thirty digits": [b"a LOGIN {" + b"9" * 30 + b"}\r\n"],
    "literals without end": [b"a LOGIN " + b"{1+}\r\nx " * 100_000],
    "TLS on the plain port": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2],
    "HTTP": [b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n", *[MIB] * 10],
    "STARTTLS with commands behind it": [b"a STARTTLS\r\nb LOGIN x y\r\nc NOOP\r\n"],
    "STARTTLS, then no TLS": [b"a STARTTLS\r\n", b"b NOOP\r\n"],
    "AUTHENTICATE with 10 MB for an answer": [b"a AUTHENTICATE PLAIN\r\n", *[MIB] * 10],
    "SMTP": [b"EHLO there\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"],
    "nothing": [],
}


@pytest.fixture
def serving(make_rig: Any) -> Rig:
    rig: Rig = make_rig(start=False, dovecot={"rawlog": False})
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    rig.start()
    return rig


class Somebody(threading.Thread):
    """Reads one message again and again until it is told to stop; `wrong` is what was not as it should be."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.read = 0
        self.wrong: list[str] = []
        trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
        self._imap = imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=60)
        self._imap.login(PERSON, CLIENT_PASSWORD)
        self._imap.select("INBOX")
        self._message = self._fetch()

    def _fetch(self) -> bytes:
        _, data = self._imap.fetch("1", "(BODY.PEEK[])")
        assert isinstance(data[0], tuple)
        return data[0][1]

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                if self._fetch() != self._message:
                    self.wrong.append("other octets")
                self.read += 1
            self._imap.logout()
        except Exception as error:
            self.wrong.append(repr(error))


def throw(port: int, pieces: list[bytes], *, tls: ssl.SSLContext | None) -> bytes:
    """What one stranger hears until the connection ends."""
    heard = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            if tls is not None:
                client = tls.wrap_socket(client, server_hostname="localhost")
            for piece in pieces:
                client.sendall(piece)
            if tls is None:
                client.shutdown(socket.SHUT_WR)
            else:
                client.unwrap()
            while more := client.recv(65536):
                heard += more
    except TimeoutError:
        raise
    except OSError:  # we were hung up on, which is an answer too
        pass
    return heard


def resident(rig: Rig) -> int:
    return int(Path(f"/proc/{rig.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nobody_notices(serving: Rig) -> None:
    rig = serving
    rig.provider.dovecot.deliver(PERSON, letter(attach=os.urandom(ATTACHED)).as_bytes())
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    ports = ((rig.port("imap"), None), (rig.port("imaps"), trust))

    def all_of_it() -> None:
        for name, pieces in GARBAGE.items():
            for port, tls in ports:
                heard = throw(port, pieces, tls=tls)
                assert b" OK [CAPABILITY" not in heard.partition(b"\r\n")[2], name
                assert b"fault" not in heard, name

    somebody = Somebody(rig)
    all_of_it()  # what the first of each kind brings for good
    before = resident(rig)
    somebody.start()
    for _ in range(ROUNDS):
        all_of_it()
    somebody.stop.set()
    somebody.join(60)
    assert somebody.wrong == []
    assert somebody.read > 0
    assert resident(rig) - before < GROWTH
    assert "fault of ours" not in rig.log.read_text()
    assert "Traceback" not in rig.log.read_text()
