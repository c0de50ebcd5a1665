"""An IMAP server that plays a written conversation: what no real server does on demand.

A script is text. `S: line` is sent with CRLF, `S~ text` without; lines `S:`/`S~` that follow one another go out in one
packet. `C: words` waits for a client's line that holds these words; `%T` stands for its tag. `close` ends the
connection, `pause` waits until the test calls `go()`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

GREETING = "S: * OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN SASL-IR] ready\n"
SIGN_IN = (
    "C: CAPABILITY\nS: * CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN SASL-IR\nS: %T OK done\n"
    "C: AUTHENTICATE PLAIN\nS: %T OK [CAPABILITY IMAP4rev1 IDLE] in\n"
)
EXAMINE = (
    "C: EXAMINE\nS: * 3 EXISTS\nS: * 0 RECENT\nS: * FLAGS ()\nS: * OK [UIDVALIDITY 7] ok\nS: * OK [UIDNEXT 4] ok\n"
    "S: %T OK [READ-ONLY] done\n"
)


class ScriptedImap:
    def __init__(self, script: str, context: ssl.SSLContext | None = None) -> None:
        self._steps = [line for line in script.splitlines() if line.strip()]
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[str] = []
        self.failed: str | None = None
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def go(self) -> None:
        """Past the next `pause`."""
        self._go.release()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in accept
        self._listener.close()
        for _ in self._steps:
            self._go.release()
        self._thread.join(5)
        if kind is None:
            assert self.failed is None, self.failed

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = self._listener.accept()
            with accepted, contextlib.suppress(ConnectionError):
                accepted.settimeout(20)
                peer = self._context.wrap_socket(accepted, server_side=True) if self._context else accepted
                try:
                    self._play(peer)
                finally:
                    peer.close()

    def _play(self, peer: socket.socket) -> None:
        lines = peer.makefile("rb")
        tag, out = "", b""
        for step in self._steps:
            kind, _, text = step.partition(" ")
            if kind in ("S:", "S~"):
                out += text.replace("%T", tag).encode() + (b"\r\n" if kind == "S:" else b"")
                continue
            if out:
                peer.sendall(out)
                out = b""
            if kind == "C:":
                line = lines.readline().decode("utf-8", "replace").rstrip("\r\n")
                self.heard.append(line)
                if text not in line:
                    self.failed = f"expected {text!r}, heard {line!r}"
                    return
                if line != "DONE":
                    tag = line.partition(" ")[0]
            elif kind == "pause":
                self._go.acquire()
            elif kind == "close":
                return
        if out:
            peer.sendall(out)
        with contextlib.suppress(OSError):
            while line := lines.readline():  # whatever else is said is heard, so that the test ends the connection
                self.heard.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                if b"LOGOUT" in line:
                    return
