"""What answers HTTP: the control socket, and the listener `web` with the API, the page and what anybody may ask."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from twisted.web.server import Site

from proxyd.crm.sending import Sending
from proxyd.daemon.metrics import Metrics
from proxyd.daemon.people import People
from proxyd.daemon.strangers import Strangers
from proxyd.journal import Journal
from proxyd.relay.peer import Admission
from proxyd.relay.reception import new_message_id
from proxyd.relay.smtp import SmtpRelay
from proxyd.store.database import Database
from proxyd.web.answers import DaemonState
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.control import Control
from proxyd.web.earlier import EarlierMail
from proxyd.web.page import Page, Sessions
from proxyd.web.problems import Problem
from proxyd.web.public import Public
from proxyd.workers import Clock, Workers


class WebSide:
    """`relay`: where what is sent from the CRM goes in, which raises TryLater while there is none. `certificate`: what
    mail clients are to trust. `state` and `reload` are the daemon's."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        people: People,
        workers: Workers,
        clock: Clock,
        admission: Admission,
        *,
        relay: Callable[[], SmtpRelay],
        certificate: Callable[[], dict[str, str] | None],
        state: Callable[[], DaemonState],
        reload: Callable[[], Awaitable[list[str]]],
    ) -> None:
        accounts = people.accounts
        self._accounts = accounts
        self._state = state
        self._port: Any = None
        self._tokens = Tokens(database, accounts)
        self._sessions = Sessions(clock.now, database)
        figures = Metrics(journal, database, state, people.sign_ins.renewed).exposition
        sending = Sending(accounts, journal, database, workers, clock, relay, new_message_id)
        api = Api(journal, database, workers, clock, state, people.reconnect, accounts, sending)
        earlier = EarlierMail(journal.backfills, state)
        page = Page(
            self._sessions, journal, accounts, database, workers, state, clock, sending, certificate, people.reconnect
        )
        strangers = Strangers(admission, accounts, workers)
        self._public = Public(
            api, self._tokens, page, accounts, database, workers, state, figures, is_stranger=strangers.is_at
        )
        link = self._login_link
        self._control = Control(
            api, earlier, self._tokens, database, workers, state, reload, link, figures, people.taps
        )

    def load(self) -> None:
        """The tokens and sessions of before the daemon was started. Blocks."""
        self._tokens.load()
        self._sessions.load()

    def site(self) -> Site:
        """What the listener `web` answers."""
        return self._public.site()

    def open_control_socket(self, path: Path, reactor: Any) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)  # the socket is ours alone from its first moment, not from the chmod that follows
        try:
            self._port = reactor.listenUNIX(str(path), self._control.site(), mode=0o600)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Close the control socket, where it is open."""
        if self._port is not None:
            await self._port.stopListening().asFuture(asyncio.get_running_loop())

    def _login_link(self, person: str | None) -> str:
        """The page's one-time link for a person, None = the owner. Raises Problem where there is nobody or no page."""
        address = self._state().listening.get("web")
        if address is None:
            raise Problem(HTTPStatus.CONFLICT, "the page is off; see listen.web in proxyd.yaml, and proxyd status")
        if person is not None and person.lower() not in self._accounts():
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no account {person!r}; proxyd status names them")
        link = self._sessions.link(None if person is None else person.lower())
        return f"http://localhost:{address.rpartition(':')[2]}/login?link={link}"
