"""A server in this process, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future

from tests.servers.processes import Server


class OwnLoopServer(Server):
    """Whoever inherits says on what it listens, and cuts its connections when it is stopped."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()

    def start(self) -> None:
        up: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(up)), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        up.result(10)

    def stop(self) -> None:
        """Nothing listens any more, every connection is cut."""
        if self._thread is None or self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._thread = self._loop = None

    async def _serve(self, up: Future[None]) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await self._listen()
        except OSError as error:
            up.set_exception(error)
            return
        up.set_result(None)
        await self._ended.wait()
        server.close()
        self._cut()

    async def _listen(self) -> asyncio.Server:
        raise NotImplementedError

    def _cut(self) -> None:
        raise NotImplementedError
