"""The page on a port of its own, over a real journal, and browsers that are signed in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on
from twisted.internet.defer import maybeDeferred

from proxyd.crm.sending import Sending
from proxyd.model import HealthCause, HealthEvent, Sent, SmtpReply
from proxyd.relay.reception import new_message_id
from proxyd.relay.smtp import SmtpRelay
from proxyd.rules import connection
from proxyd.web.answers import AccountState, DaemonState
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.page import Sessions
from proxyd.web.public import Public
from tests.relay.house import ScriptedProvider
from tests.rigged import ADA, GRACE, Desk, desk, message
from tests.web.paged import page_of


@dataclass
class Browser:
    """Somebody's: keeps its cookies, and says of what it posts where that came from."""

    client: httpx.AsyncClient

    async def get(self, path: str, *, site: str = "none", **more: str) -> httpx.Response:
        return await self.client.get(path, headers={"sec-fetch-site": site} | more)

    async def post(self, path: str, /, *, token: str | None = None, **fields: str) -> httpx.Response:
        return await self.client.post(
            path,
            data=fields | {"token": await self.token() if token is None else token},
            headers={"sec-fetch-site": "same-origin", "origin": str(self.client.base_url).rstrip("/")},
        )

    async def token(self) -> str:
        found = re.search(r'<meta name="posts" content="(\w+)">', (await self.get("/contacts")).text)
        assert found is not None, "nobody is signed in"
        return found[1]


@dataclass
class Shown:
    desk: Desk
    sessions: Sessions
    port: int
    opened: AsyncExitStack
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    listening: dict[str, str] = field(default_factory=dict)
    reconnected: list[str] = field(default_factory=list)
    event: HealthEvent = field(default_factory=lambda: HealthEvent(HealthCause.SIGNED_IN, "IMAP", ""))

    async def reconnect(self, address: str) -> None:
        self.reconnected.append(address)

    def state(self) -> DaemonState:
        now = self.desk.clock.now()
        condition = connection.step(connection.Condition(since=now), self.event, now)
        accounts = [AccountState(each, condition, now) for each in self.desk.accounts]
        return DaemonState("0.1.0", now, self.listening, accounts)

    async def stranger(self) -> Browser:
        client = httpx.AsyncClient(trust_env=False, base_url=f"http://localhost:{self.port}")
        return Browser(await self.opened.enter_async_context(client))

    async def browser(self, person: str | None = None) -> Browser:
        """Of a person, or of the owner; signed in."""
        made = await self.stranger()
        answer = await made.get(f"/login?link={self.sessions.link(person)}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/contacts")
        return made

    async def sent(self, octets: bytes | None = None) -> str:
        """A message of Ada's to Grace, logged; its record's id."""
        await self.desk.add_contact(GRACE)
        with self.desk.journal.changes.listening() as listener:
            begun = await self.desk.begin(octets or message())
            await self.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), self.desk.clock.now()))
            for _ in range(3):  # begun, sent, read
                await listener.next()
        return begun.id


@asynccontextmanager
async def shown(folder: Path) -> AsyncIterator[Shown]:
    async with desk(folder) as d, AsyncExitStack() as opened:
        sessions = Sessions(d.clock.now, d.database)
        made = Shown(d, sessions, 0, opened)
        nobody: Any = None  # signs in to this relay
        accounts = lambda: d.accounts  # noqa: E731
        relay = SmtpRelay(accounts, d.journal, lambda address: made.provider, d.clock, logins=nobody, tls=nobody)
        sending = Sending(accounts, d.journal, d.database, d.workers, d.clock, lambda: relay, new_message_id)
        tokens = Tokens(d.database, accounts)
        api = Api(d.journal, d.database, d.workers, d.clock, made.state, made.reconnect, accounts, sending)
        page = page_of(d, made.state, sending, sessions, made.reconnect)
        public = Public(api, tokens, page, accounts, d.database, d.workers, made.state)
        port = reactor.listenTCP(0, public.site(), interface="127.0.0.1")
        made.port = port.getHost().port
        try:
            yield made
        finally:
            await maybeDeferred(port.stopListening).asFuture(asyncio.get_running_loop())
            await relay.close(0)
            await d.settled()


__all__ = ["ADA", "GRACE", "Browser", "Shown", "shown"]
