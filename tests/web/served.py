"""A control socket with a real journal behind it, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on
from twisted.internet.defer import maybeDeferred

from proxyd.model import HealthCause, HealthEvent
from proxyd.rules import connection
from proxyd.web.answers import AccountState, DaemonState
from proxyd.web.control import Control
from tests.rigged import ADA, Desk, desk

SIGNED_IN = HealthEvent(HealthCause.SIGNED_IN, "IMAP", "")


@dataclass
class Served:
    desk: Desk
    socket: Path
    client: httpx.AsyncClient
    problems: list[str] = field(default_factory=list)
    config_problem: str | None = None
    broken: bool = False
    event: HealthEvent = SIGNED_IN
    listening: dict[str, str] = field(default_factory=lambda: {"smtp": "127.0.0.1:1587"})

    def state(self) -> DaemonState:
        if self.broken:
            raise KeyError("a secret")
        now = self.desk.clock.now()
        condition = connection.step(connection.Condition(since=now), self.event, now)
        account = AccountState(ADA, condition, now)
        return DaemonState("0.1.0", now, self.listening, [account], self.config_problem)

    async def reload(self) -> list[str]:
        return self.problems

    async def get(self, path: str, **arguments: str) -> tuple[int, Any]:
        response = await self.client.get(path, params=arguments)
        return response.status_code, json.loads(response.content)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    async with desk(folder) as d:
        socket = folder / "data" / "control.sock"
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxyd", trust_env=False) as client:
            made = Served(d, socket, client)
            control = Control(d.journal, d.database, d.workers, made.state, made.reload)
            port = reactor.listenUNIX(str(socket), control.site(), mode=0o600)
            try:
                yield made
            finally:
                await maybeDeferred(port.stopListening).asFuture(asyncio.get_running_loop())
