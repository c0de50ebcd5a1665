"""A forwarder that cuts connections on demand, or makes them half-open: they stand, and what either side sends is lost.

    with Swallow(server_port) as between:      # clients connect to between.port
        between.swallow()                      # from now on, for the connections that stand; new ones pass
        between.vanish()                       # as if the other machine had been started anew: it knows of none
        between.cut(after=300)                 # reset, so many octets from now, in whatever these are in the middle of
        between.refuses = True                 # new ones are reset at once

It runs on a loop and a thread of its own, so that it serves plain tests and tests on the daemon's loop alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future

from proxyd.provider.tls import abort
from tests.servers.processes import Server, free_port

TCP_REPAIR = 19  # linux/tcp.h


class Swallow(Server):
    """Listens on `port` of 127.0.0.1 and ::1 and forwards to `target` on 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.refuses = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="swallow")
        self._standing: list[_Line] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def swallow(self) -> int:
        """What stands now is half-open; returns how many lines that are, two for each connection."""
        swallowed = [line for line in self._standing if not line.over]
        for line in swallowed:
            line.swallows = True
        return len(swallowed)

    def vanish(self) -> int:
        """Forget the connections that stand without a word to the client's side; how many there were. Needs root."""
        gone = [line for line in self._standing if not line.over and line.to_client]
        for line in gone:
            line.swallows = True
            self._loop.call_soon_threadsafe(line.forget)
        return len(gone)

    def cut(self, *, after: int = 0) -> None:
        """The connections that stand are reset once the server has said so many octets more."""

        def cut() -> None:
            for line in self._standing:
                if not line.over and line.to_client:
                    line.left = after
                    if not after:
                        line.reset()

        self._loop.call_soon_threadsafe(cut)

    @property
    def passing(self) -> int:
        """Connections that stand and pass what is sent."""
        return sum(not line.over and not line.swallows for line in self._standing) // 2

    def _call(self, coroutine: object) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)  # type: ignore[arg-type]
        done.result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, ["127.0.0.1", "::1"], self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refuses:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            abort(writer.transport)
            self._tasks.discard(task)
            return
        there, back = _Line(reader, far_writer, False), _Line(far_reader, writer, True)
        self._standing += [there, back]
        try:
            await asyncio.gather(there.carry(), back.carry())
        finally:
            writer.close()
            far_writer.close()
            self._tasks.discard(task)


class _Line:
    """One direction."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_client: bool) -> None:
        self.to_client = to_client
        self._reader = reader
        self._writer = writer
        self.swallows = False
        self.left: int | None = None  # octets that may still pass
        self.over = False

    def reset(self) -> None:
        abort(self._writer.transport)
        self.over = True

    def forget(self) -> None:
        """A socket under repair says nothing when it is closed (tcp(7) has no word of TCP_REPAIR; CRIU lives by it)."""
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self._writer.transport.abort()
        self.over = True

    async def carry(self) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await self._reader.read(65536):
                if self.swallows:
                    continue
                if self.left is not None:
                    octets, self.left = octets[: self.left], max(self.left - len(octets), 0)
                self._writer.write(octets)
                await self._writer.drain()
                if self.left == 0:
                    self.reset()
                    return
        self.over = True
        if not self.swallows:
            with contextlib.suppress(OSError):
                self._writer.write_eof() if self._writer.can_write_eof() else self._writer.close()
