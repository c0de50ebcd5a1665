"""A submission server that costs next to nothing: implicit TLS, AUTH PLAIN, DATA and BDAT, every message is forgotten.

smtp-sink knows neither TLS nor AUTH, and a whole Postfix spends most of a small message's time on its queue's disk.
This is the direct way at its fastest, so that what proxyd adds is not hidden behind somebody else's work.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

from tests.servers.processes import Server, ServerProcess, free_port, listens
from tests.servers.tls import Leaf

OFFER = (
    b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 60000000\r\n250-8BITMIME\r\n250-DSN\r\n250-CHUNKING\r\n"
    b"250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN\r\n"
)
ANSWERS = {
    b"EHLO": OFFER,
    b"AUTH": b"235 2.7.0 welcome\r\n",
    b"MAIL": b"250 2.1.0 ok\r\n",
    b"RCPT": b"250 2.1.5 ok\r\n",
    b"DATA": b"354 go\r\n",
    b"RSET": b"250 2.0.0 ok\r\n",
    b"NOOP": b"250 2.0.0 ok\r\n",
}
TAKEN = b"250 2.0.0 taken and forgotten\r\n"
END = b"\r\n.\r\n"


class Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        self.content = False  # within DATA; `buffer` holds no more than the last four octets then
        self.left = 0  # octets of BDAT still to come
        transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        answers = b""
        rest = self.buffer + data
        while rest:
            if self.left:
                taken = min(self.left, len(rest))
                self.left -= taken
                rest = rest[taken:]
                answers += b"" if self.left else TAKEN
            elif self.content:
                end = rest.find(END)
                if end < 0:
                    rest = rest[-4:]
                    break
                self.content, rest = False, rest[end + 5 :]
                answers += TAKEN
            else:
                line, found, behind = rest.partition(b"\r\n")
                if not found:
                    break
                rest = behind
                answers += self.command(line)
                if self.content:
                    rest = b"\r\n" + rest
        self.buffer = rest
        if answers:
            self.transport.write(answers)

    def command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"BDAT":
            self.left = int(line.split()[1])
            return b"" if self.left else TAKEN
        if verb == b"QUIT":
            self.transport.close()
            return b"221 bye\r\n"
        self.content = verb == b"DATA"
        return ANSWERS.get(verb, b"500 what?\r\n")


class TlsSink(Server):
    """The sink as a process on `port` of localhost, with this certificate."""

    def __init__(self, folder: Path, leaf: Leaf) -> None:
        self.folder = folder
        self.leaf = leaf
        self.port = free_port()
        self._process: ServerProcess | None = None

    def start(self) -> None:
        self._process = ServerProcess(
            [sys.executable, "-m", "tests.bench.sink", str(self.port), str(self.leaf.chain), str(self.leaf.key)],
            log=self.folder / "sink.out",
        )
        self._process.wait_until(lambda: listens(self.port), "the sink")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


async def serve(port: int, chain: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, ["127.0.0.1", "::1"], port, ssl=context, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
