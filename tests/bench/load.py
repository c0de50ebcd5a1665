"""The mail clients of the benchmark: a process of its own that costs as little as it can.

Blocking TLS sockets, one thread per session, one write per step, content made beforehand. A client goes step by step,
as smtplib, swaks and Thunderbird do: EHLO, AUTH, MAIL, RCPT, DATA, content. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import socket
import ssl
import sys
import threading
from time import perf_counter


class Session:
    """One signed-in client."""

    def __init__(self, port: int, context: ssl.SSLContext, auth: bytes) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=300)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.answer(b"220")
        self.step(b"EHLO [127.0.0.1]\r\n", b"250")
        self.step(b"AUTH PLAIN " + auth + b"\r\n", b"235")

    def answer(self, code: bytes) -> None:
        octets = b""
        while not (octets.endswith(b"\r\n") and octets[octets.rfind(b"\n", 0, -1) + 1 :][3:4] != b"-"):
            more = self.socket.recv(16384)
            if not more:
                raise EOFError(octets)
            octets += more
        if octets[octets.rfind(b"\n", 0, -1) + 1 :][:3] != code:
            raise RuntimeError(octets)

    def step(self, octets: bytes, code: bytes) -> None:
        self.socket.sendall(octets)
        self.answer(code)

    def send(self, sender: str, recipient: str, content: bytes) -> None:
        self.step(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        self.step(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        self.step(b"DATA\r\n", b"354")
        self.step(content, b"250")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(b"QUIT\r\n")
        self.socket.close()


def letter(sender: str, recipient: str, size: int, number: str) -> bytes:
    """A message of `size` octets as on the wire, its dot included; `number` makes its Message-ID its own."""
    head = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: figures\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{number}@bench.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    ).encode()
    line = b"The quick brown fox jumps over the lazy dog, and over the next one as well.\r\n"
    return head + line * max(1, (size - len(head)) // len(line)) + b".\r\n"


class Load:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.context = ssl.create_default_context(cafile=given.ca)
        self.auth = base64.b64encode(f"\0{given.user}\0{given.password}".encode())
        self.times: list[float] = []
        self.faults: list[str] = []

    def session(self) -> Session:
        return Session(self.given.port, self.context, self.auth)

    def letters(self, who: int, count: int) -> list[bytes]:
        given = self.given
        return [letter(given.user, given.to, given.size, f"{given.tag}.{who}.{n}") for n in range(count)]

    def whole(self) -> None:
        """Connect, sign in, send, again and again: what a mail client's user waits for."""
        for content in self.letters(0, self.given.count):
            start = perf_counter()
            session = self.session()
            session.send(self.given.user, self.given.to, content)
            self.times.append(perf_counter() - start)
            session.close()

    def sessions(self) -> float:
        """`sessions` of them at once, each sends `count` messages, and with `again` connects anew for each of them;
        the seconds that it took. A session that stays has signed in before the clock starts."""
        count, start = self.given.count, threading.Barrier(self.given.sessions + 1)

        def one(who: int) -> None:
            letters = self.letters(who, count)
            session = None
            try:
                session = self.session()
                start.wait()
                for content in letters:
                    began = perf_counter()
                    if self.given.again:
                        session.close()
                        session = self.session()
                    session.send(self.given.user, self.given.to, content)
                    self.times.append(perf_counter() - began)
                session.close()
            except Exception as error:
                self.faults.append(repr(error)[:300])
                if session is None:
                    start.abort()

        threads = [threading.Thread(target=one, args=(who,)) for who in range(self.given.sessions)]
        for thread in threads:
            thread.start()
        with contextlib.suppress(threading.BrokenBarrierError):
            start.wait()
        began = perf_counter()
        for thread in threads:
            thread.join()
        return perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("ca", "user", "password", "to", "tag"):
        parser.add_argument(f"--{name}", required=True)
    for name, default in (("port", None), ("size", 5000), ("count", 100), ("sessions", 0)):
        parser.add_argument(f"--{name}", type=int, required=default is None, default=default)
    parser.add_argument("--again", type=int, default=0)
    load = Load(parser.parse_args())
    if load.given.sessions:
        took = load.sessions()
    else:
        start = perf_counter()
        load.whole()
        took = perf_counter() - start
    json.dump({"times": load.times, "took": took, "faults": load.faults}, sys.stdout)


if __name__ == "__main__":
    main()
