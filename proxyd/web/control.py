"""The HTTP API on the control socket, without a token, to the daemon's own user; and what that user alone may ask.

Why klein: it is twisted.web with routes, and its resources run on the reactor that is there.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from klein import Klein
from twisted.web.server import Site

from proxyd.provider.trace import Taps
from proxyd.store.database import Database
from proxyd.web import answers, answers_tokens, documents
from proxyd.web.answers import DaemonState, Document
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.earlier import EarlierMail
from proxyd.web.problems import Problem, Request, not_found
from proxyd.web.routes import route, serve
from proxyd.web.streaming import bounded
from proxyd.web.traces import write_trace
from proxyd.web.troubles import troubles
from proxyd.web.viewer import OWNER, May, Viewer
from proxyd.workers import SystemClock, Workers

MOST_POSTED = 64 * 1024 * 1024  # octets: a message of 40 MB in base64, an address book with photos

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: struct ucred of unix(7)


class Control:
    """The daemon's own routes. `reload` reads the configuration anew and returns its problems, none where it was
    taken; `figures` tells them as Prometheus reads them, and blocks; `login_link` makes the page's one-time link, and
    raises Problem where there is no page."""

    def __init__(
        self,
        api: Api,
        earlier: EarlierMail,
        tokens: Tokens,
        database: Database,
        workers: Workers,
        state: Callable[[], DaemonState],
        reload: Callable[[], Awaitable[list[str]]],
        login_link: Callable[[str | None], str],
        figures: Callable[[], bytes] = bytes,
        taps: Taps | None = None,
    ) -> None:
        self._taps = taps or Taps()
        self._tokens = tokens
        self._database = database
        self._workers = workers
        self._state = state
        self._reload = reload
        self._login_link = login_link
        self._rights_changed = api.rights_changed
        self._figures = figures
        self._app = Klein()
        serve(api, self._app, own_user)
        serve(earlier, self._app, own_user)
        serve(self, self._app, own_user)

    def site(self) -> Site:
        site = Site(self._app.resource(), requestFactory=bounded(lambda request: MOST_POSTED))  # type: ignore[no-untyped-call]
        site.displayTracebacks = False
        return site

    @route("GET", "/healthz", answer="application/json")
    async def healthz(self) -> Document:
        """Well where the loop turns and the store answers."""
        await self._workers.run(store_answers, self._database)
        return {"status": "ok", "version": self._state().version}

    @route("GET", "/metrics", answer="text/plain")
    async def metrics(self, request: Request) -> bytes:
        """Figures for Prometheus."""
        request.setHeader("content-type", METRICS_TYPE)
        return await self._workers.run(self._figures)

    @route("GET", "status", answer=documents.Status, may=May.OWNER)
    async def status(self) -> Document:
        """How the daemon and every account are, and what waits."""
        return await self._workers.run(answers.status, self._database, self._state(), datetime.now(UTC))

    @route("GET", "troubles", answer=documents.Troubles, may=May.OWNER)
    async def troubles(self) -> Document:
        """What was given up, what nobody knows the outcome of, and what servers offer that is new to us."""
        return await self._workers.run(troubles, self._database, datetime.now(UTC))

    @route("GET", "accounts/{address}/trace", answer="text/plain", may=May.OWNER, problems=(HTTPStatus.NOT_FOUND,))
    async def trace(self, request: Request, address: str, query: documents.TraceFor) -> bytes:
        """What crosses the wire to the account's provider: commands and kinds of answers, no content."""
        key = address.strip().lower()
        if key not in {each.address for each in self._state().accounts}:
            raise not_found("no account has this address")
        return await write_trace(request, self._taps.of(key), query.seconds, SystemClock())

    @route("POST", "reload", answer=documents.Problems, may=May.OWNER, problems=(HTTPStatus.CONFLICT,))
    async def reload(self) -> Document:
        """Read the configuration anew."""
        problems = await self._reload()
        self._rights_changed()
        if problems:
            raise Problem(HTTPStatus.CONFLICT, "for some files the old settings stay in force", problems=problems)
        return {"problems": []}

    @route("POST", "login-links", answer=documents.LoginLink, may=May.OWNER, problems=(HTTPStatus.NOT_FOUND,))
    async def login_link(self, body: documents.MakeLoginLink) -> Document:
        """Make the page's one-time link."""
        return {"url": self._login_link(body.account)}

    # --- tokens ------------------------------------------------------------------------------------------

    @route("GET", "tokens", answer=documents.Tokens, may=May.OWNER)
    async def tokens(self) -> Document:
        """Every token's name, person and scope."""
        return await self._workers.run(answers_tokens.every, self._database)

    @route("POST", "tokens", answer=documents.TokenMade, may=May.OWNER, status=(HTTPStatus.CREATED,))
    async def make_token(self, request: Request, body: documents.MakeToken) -> Document:
        """Make a token, which is told this once."""
        made = await self._workers.run(
            answers_tokens.make, self._database, body.name, body.person, body.may, datetime.now(UTC)
        )
        await self._workers.run(self._tokens.load)
        request.setResponseCode(HTTPStatus.CREATED)
        return made

    @route("DELETE", "tokens/{name}", answer=documents.Tokens, may=May.OWNER, problems=(HTTPStatus.NOT_FOUND,))
    async def revoke_token(self, name: str) -> Document:
        """Revoke a token; answers with those that are left."""
        there = await self._workers.run(answers_tokens.revoke, self._database, name)
        await self._workers.run(self._tokens.load)
        self._rights_changed()
        if not there:
            raise not_found("there is no token of this name")
        return await self._workers.run(answers_tokens.every, self._database)


def own_user(request: Request) -> Viewer:
    """The daemon's owner, by the uid of whoever connected; raises Problem for any other.

    The socket's mode keeps others out already. This holds where a folder or a copy of it was opened to them.
    """
    connection: Any = request.channel.transport.getHandle()
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(said)
    if uid not in (os.geteuid(), 0):
        raise Problem(HTTPStatus.FORBIDDEN, "only the daemon's own user may ask here")
    return OWNER


def store_answers(database: Database) -> None:
    """Raises where the store does not answer. Blocks."""
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
