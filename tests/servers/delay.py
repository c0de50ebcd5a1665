"""A TCP forwarder that puts a server some milliseconds away: every octet arrives `each_way` seconds after it was sent.

A connection is delayed as well, as if its SYN had travelled: the server hears of it half a round trip late, and what
the client sends is counted from one round trip after it connected. Bandwidth is not limited; at most HELD octets per
direction are on their way, then the sender waits.

`with Delay(port, each_way=0.020) as far:` runs it in a process of its own, so that it takes no time from what is
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
import tempfile
from collections import deque
from pathlib import Path

from tests.servers.processes import Server, ServerProcess, free_port, listens

HELD = 64 << 20
CHUNK = 256 << 10


class Delay(Server):
    """Listens on `port` of 127.0.0.1 and ::1 and forwards to `target` on 127.0.0.1."""

    def __init__(self, target: int, *, each_way: float) -> None:
        self.target = target
        self.each_way = each_way
        self.port = free_port()
        self._process: ServerProcess | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="proxyd-delay-")
        self._process = ServerProcess(
            [sys.executable, str(Path(__file__).resolve()), str(self.port), str(self.target), str(self.each_way)],
            log=Path(self._folder.name) / "delay.out",
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        self._process.wait_until(lambda: listens(self.port), "the delaying forwarder")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class Line:
    """One direction: octets go out of it `delay` seconds after they went in, in order."""

    def __init__(self, delay: float, writer: asyncio.StreamWriter, not_before: float) -> None:
        self._delay = delay
        self._writer = writer
        self._not_before = not_before  # nothing counts as sent earlier than this
        self._on_its_way: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._changed = asyncio.Condition()

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Until the sender is done; an empty piece stands for the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                octets = await reader.read(CHUNK)
            except ConnectionError:
                octets = b""
            async with self._changed:
                await self._changed.wait_for(lambda: self._held < HELD)
                self._on_its_way.append((max(loop.time(), self._not_before) + self._delay, octets))
                self._held += len(octets)
                self._changed.notify_all()
            if not octets:
                return

    async def give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._on_its_way))
                due, octets = self._on_its_way.popleft()
                self._held -= len(octets)
                self._changed.notify_all()
            await asyncio.sleep(due - loop.time())
            with contextlib.suppress(ConnectionError, OSError):
                if not octets:
                    self._writer.write_eof()
                    return
                self._writer.write(octets)
                await self._writer.drain()


def _at_once(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int, delay: float) -> None:
    connected = asyncio.get_running_loop().time()
    _at_once(writer)
    await asyncio.sleep(delay)
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.transport.abort()
        return
    _at_once(far_writer)
    there = Line(delay, far_writer, connected + 2 * delay)
    back = Line(delay, writer, connected + delay)
    try:
        await asyncio.gather(there.take(reader), there.give(), back.take(far_reader), back.give())
    finally:
        writer.close()
        far_writer.close()


async def serve(port: int, target: int, delay: float) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forward(reader, writer, target, delay)

    server = await asyncio.start_server(accepted, ["127.0.0.1", "::1"], port, limit=CHUNK, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="forward a port, some milliseconds late")
    arguments.add_argument("port", type=int)
    arguments.add_argument("target", type=int)
    arguments.add_argument("each_way", type=float, help="seconds")
    given = arguments.parse_args()
    asyncio.run(serve(given.port, given.target, given.each_way))
