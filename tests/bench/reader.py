"""The mail client that reads: a process of its own that costs as little as it can, told what to do line by line.

Blocking sockets, all octets into one buffer, nothing looked at but an answer's last line. Each line of standard input
is an order in JSON, each line of standard output its answer; who orders may look at other processes in between.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import ssl
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

BUFFER = memoryview(bytearray(1024 * 1024))
LAST = 512  # octets at the end within which an answer's last line lies
WAIT = 120.0  # seconds


@functools.cache
def context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


class Session:
    """A connection that has heard the greeting; `way` is what `reading.Way.facts` gives."""

    def __init__(self, way: dict[str, Any]) -> None:
        self.way = way
        self.socket = socket.create_connection(("127.0.0.1", way["port"]), timeout=WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way["ca"]:
            self.socket = context(way["ca"]).wrap_socket(self.socket, server_hostname="localhost")
        self.until(b"* OK")

    def sign_in(self) -> Session:
        self.ask(b'LOGIN %s "%s"' % (self.way["user"].encode(), self.way["password"].encode()))
        return self

    def ask(self, command: bytes, end: bytes = b"t OK") -> int:
        """The octets of the whole answer."""
        self.socket.sendall(b"t " + command + b"\r\n")
        return self.until(end)

    def until(self, begin: bytes) -> int:
        """Read to the line that begins so; what was read, in octets. Nothing may stand behind that line."""
        octets, tail = 0, b""
        while True:
            size = self.socket.recv_into(BUFFER)
            if not size:
                raise EOFError(f"{self.way['name']}: {tail!r}")
            octets += size
            tail = bytes(BUFFER[size - LAST : size]) if size >= LAST else (tail + BUFFER[:size])[-LAST:]
            if tail.endswith(b"\r\n"):
                last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
                if last.startswith(begin):
                    return octets
                if last.startswith((b"t NO", b"t BAD", b"* BYE")):
                    raise RuntimeError(f"{self.way['name']}: {last!r}")


class Client:
    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.crowd: list[Session] = []

    def fetch(self, way: dict[str, Any], folder: str, command: str) -> dict[str, Any]:
        """In a session that stays, with the folder selected before the clock starts."""
        session = self.sessions.get(way["name"])
        if session is None:
            session = self.sessions[way["name"]] = Session(way).sign_in()
        session.ask(b"SELECT " + folder.encode())
        start = perf_counter()
        octets = session.ask(command.encode())
        return {"took": perf_counter() - start, "octets": octets}

    def sign_in(self, way: dict[str, Any]) -> dict[str, Any]:
        """From connecting to the OK of LOGIN."""
        start = perf_counter()
        session = Session(way).sign_in()
        took = perf_counter() - start
        with contextlib.suppress(EOFError, RuntimeError):
            session.ask(b"LOGOUT")
        session.socket.close()
        return {"took": took}

    def idle(self, way: dict[str, Any], count: int) -> dict[str, Any]:
        """So many that have selected INBOX and wait there, until this process ends."""
        for _ in range(count):
            session = Session(way).sign_in()
            session.ask(b"SELECT INBOX")
            session.ask(b"IDLE", b"+ ")
            self.crowd.append(session)
        return {}


def main() -> None:
    client = Client()
    orders: dict[str, Callable[..., dict[str, Any]]] = {
        "fetch": client.fetch,
        "sign_in": client.sign_in,
        "idle": client.idle,
    }
    for line in sys.stdin:
        order = json.loads(line)
        try:
            said = orders[order.pop("do")](**order)
        except Exception as error:
            said = {"fault": repr(error)[:500]}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
