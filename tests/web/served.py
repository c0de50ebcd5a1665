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

from proxyd.crm.sending import Sending
from proxyd.model import HealthCause, HealthEvent
from proxyd.relay.reception import new_message_id
from proxyd.relay.smtp import SmtpRelay
from proxyd.rules import connection
from proxyd.web.answers import AccountState, DaemonState
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.control import Control
from proxyd.web.earlier import EarlierMail
from proxyd.web.public import Public
from tests.clock import ManualClock
from tests.relay.house import ScriptedProvider
from tests.rigged import ADA, Desk, desk
from tests.web.paged import page_of

SIGNED_IN = HealthEvent(HealthCause.SIGNED_IN, "IMAP", "")


@dataclass
class Served:
    desk: Desk
    socket: Path
    client: httpx.AsyncClient
    problems: list[str] = field(default_factory=list)
    config_problem: str | None = None
    not_listening: dict[str, str] = field(default_factory=dict)
    no_room: str | None = None
    broken: bool = False
    event: HealthEvent = SIGNED_IN
    web: str = ""
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    reconnected: list[str] = field(default_factory=list)
    listening: dict[str, str] = field(default_factory=lambda: {"smtp": "127.0.0.1:1587"})

    def state(self) -> DaemonState:
        if self.broken:
            raise KeyError("a secret")
        now = self.desk.clock.now()
        condition = connection.step(connection.Condition(since=now), self.event, now)
        account = AccountState(ADA, condition, now)
        return DaemonState(
            "0.1.0", now, self.listening, [account], self.config_problem, self.not_listening, self.no_room
        )

    async def reconnect(self, address: str) -> None:
        self.reconnected.append(address)

    async def token(self, name: str = "crm", person: str | None = ADA, may: str = "send") -> httpx.AsyncClient:
        """A client of the `web` listener that carries a new token; to be closed by whoever asks."""
        asked = {"name": name, "person": person, "may": may}
        secret = (await self.client.post("/api/v1/tokens", json=asked)).json()["token"]
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(base_url=self.web, headers=headers, trust_env=False)

    async def reload(self) -> list[str]:
        return self.problems

    def login_link(self, person: str | None) -> str:
        return f"http://localhost/login?link=for-{person}"

    async def get(self, path: str, **arguments: str) -> tuple[int, Any]:
        response = await self.client.get(path, params=arguments)
        return response.status_code, json.loads(response.content)


@asynccontextmanager
async def served(folder: Path, more: str = "", *, clock: ManualClock | None = None) -> AsyncIterator[Served]:
    async with desk(folder, more, clock=clock) as d:
        socket = folder / "data" / "control.sock"
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxyd", trust_env=False) as client:
            made = Served(d, socket, client)
            tokens = Tokens(d.database, lambda: d.accounts)
            nobody: Any = None  # signs in to this relay
            relay = SmtpRelay(
                lambda: d.accounts, d.journal, lambda address: made.provider, d.clock, logins=nobody, tls=nobody
            )
            sending = Sending(
                lambda: d.accounts, d.journal, d.database, d.workers, d.clock, lambda: relay, new_message_id
            )
            api = Api(
                d.journal, d.database, d.workers, d.clock, made.state, made.reconnect, lambda: d.accounts, sending
            )
            earlier = EarlierMail(d.journal.backfills, made.state)
            control = Control(api, earlier, tokens, d.database, d.workers, made.state, made.reload, made.login_link)
            page = page_of(d, made.state, sending)
            public = Public(api, tokens, page, lambda: d.accounts, d.database, d.workers, made.state)
            port = reactor.listenUNIX(str(socket), control.site(), mode=0o600)
            web = reactor.listenTCP(0, public.site(), interface="127.0.0.1")
            made.web = f"http://127.0.0.1:{web.getHost().port}"
            try:
                yield made
            finally:
                for each in (port, web):
                    await maybeDeferred(each.stopListening).asFuture(asyncio.get_running_loop())
                await relay.close(0)
