"""What the `web` listener answers: the HTTP API to whoever has a token; the page to whoever is signed in; to anybody a
mail client's settings, and whether the daemon is well.

Any program on this machine can ask, and so can any web page that a browser on it shows. A page cannot read the answer
(no CORS header allows it), unless its own host name was made to mean 127.0.0.1 (DNS rebinding): so the Host field must
name this machine. A token travels in a header that no page can make a browser send to us, so that nothing can be done
in another's name. What is posted without a token or a session is not kept.

"Anybody" are those users of this machine to whom the daemon says anything at all: it knows them (`is_stranger`).
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Site

from proxyd.config import Account
from proxyd.store.database import Database
from proxyd.web import autoconfig
from proxyd.web.answers import DaemonState, Document
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.control import METRICS_TYPE, MOST_POSTED, store_answers
from proxyd.web.page import Page
from proxyd.web.problems import Problem, Request, not_found, unacceptable, write_problem
from proxyd.web.routes import PREFIX, answer_faults, serve, written
from proxyd.web.streaming import bounded
from proxyd.web.viewer import Viewer
from proxyd.workers import Workers

# Section 4.2 of RFC 9110, section 3.2.2 of RFC 3986; any port, as it may be forwarded.
FOR_ANYBODY = (b"/healthz", b"/metrics", b"/.well-known/", b"/mail/", b"/api/")
OURSELVES = re.compile(rb"(?i)(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


def answered(handler: Callable[..., Coroutine[Any, Any, Document | bytes]]) -> Callable[..., Deferred[bytes]]:
    """A coroutine method as klein takes it."""

    @functools.wraps(handler)
    def respond(self: Any, request: Request, **parts: Any) -> Deferred[bytes]:
        return Deferred.fromFuture(asyncio.ensure_future(written(request, handler(self, request, **parts))))

    return respond


async def nobody(transport: Any) -> bool:
    """Whether it is a stranger: it never is."""
    return False


def argument(request: Request, name: str) -> str | None:
    values = request.args.get(name.encode())
    return values[0].decode("utf-8", "replace") if values else None


class Public:
    """The routes for anybody, and the way to the others. `accounts` gives the accounts as they are configured now, by
    address in lower case; `is_stranger` whether a user of this machine who may use none of them is at the other end of
    a connection's transport."""

    app = Klein()

    def __init__(
        self,
        api: Api,
        tokens: Tokens,
        page: Page,
        accounts: Callable[[], Mapping[str, Account]],
        database: Database,
        workers: Workers,
        state: Callable[[], DaemonState],
        figures: Callable[[], bytes] = bytes,
        is_stranger: Callable[[Any], Awaitable[bool]] = nobody,
    ) -> None:
        self._figures = figures
        self._is_stranger = is_stranger
        self._tokens = tokens
        self._page = page
        self._accounts = accounts
        self._database = database
        self._workers = workers
        self._state = state
        self._api = Klein()
        serve(api, self._api, self._asking)

    def site(self) -> Site:
        resource = ThisMachineOnly(self.app.resource(), self._api.resource(), self._page.app.resource())
        site = Site(resource, requestFactory=bounded(self._room))  # type: ignore[no-untyped-call]
        site.displayTracebacks = False
        site.noisy = False
        return site

    def _viewer(self, request: Request) -> Viewer | None:
        """Whose token the request carries."""
        said = request.requestHeaders.getRawHeaders(b"authorization") or []
        scheme, _, token = said[0].decode("latin-1").strip().partition(" ") if len(said) == 1 else ("", "", "")
        return self._tokens.viewer(token.strip()) if scheme.lower() == "bearer" else None

    def _asking(self, request: Request) -> Viewer:
        viewer = self._viewer(request)
        if viewer is None:
            request.setHeader("www-authenticate", 'Bearer realm="proxyd"')
            raise Problem(HTTPStatus.UNAUTHORIZED, "a token is needed; `proxyd token` makes one")
        return viewer

    async def _no_stranger(self, request: Request) -> None:
        if self._viewer(request) is None and await self._is_stranger(request.channel.transport):
            raise Problem(HTTPStatus.FORBIDDEN, "this is another user's proxyd, and none of its accounts is yours")

    def _room(self, request: Request) -> int:
        """How much of a body is kept: nothing of a stranger's, but what the page needs for signing in."""
        return MOST_POSTED if self._viewer(request) is not None else self._page.most_posted(request)

    @app.route("/healthz", methods=["GET"])
    @answered
    async def healthz(self, request: Request) -> Document:
        """Well where the loop turns and the store answers."""
        await self._no_stranger(request)
        await self._workers.run(store_answers, self._database)
        return {"status": "ok", "version": self._state().version}

    @app.route("/metrics", methods=["GET"])
    @answered
    async def metrics(self, request: Request) -> bytes:
        """Figures for Prometheus; none of them names anybody."""
        await self._no_stranger(request)
        request.setHeader("content-type", METRICS_TYPE)
        return await self._workers.run(self._figures)

    @app.route("/.well-known/autoconfig/mail/config-v1.1.xml", methods=["GET"])
    @app.route("/mail/config-v1.1.xml", methods=["GET"])
    @answered
    async def mail_settings(self, request: Request) -> bytes:
        await self._no_stranger(request)
        address = argument(request, "emailaddress")
        if not address:
            raise unacceptable("emailaddress is missing; accepted: config-v1.1.xml?emailaddress=ADDRESS")
        account = self._accounts().get(address.strip().lower())
        if account is None:
            raise not_found("no account has this address")
        document = autoconfig.document(account, self._state().listening)
        if document is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no SMTP listener is open; see listen in proxyd.yaml")
        request.setHeader("content-type", autoconfig.CONTENT_TYPE)
        return document


answer_faults(Public.app)


class ThisMachineOnly(Resource):
    """Hands a request on whose one Host field names this machine; 421 (RFC 9110, 15.5.20) for any other."""

    isLeaf = True

    def __init__(self, for_anybody: Any, api: Any, page: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._for_anybody = for_anybody
        self._api = api
        self._page = page

    def render(self, request: Request) -> bytes | int | Deferred[bytes]:
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("cache-control", "no-store")
        if not _is_utf8(request.path):  # klein's own answer is no problem document
            return write_problem(request, Problem(HTTPStatus.BAD_REQUEST, "the path is not text in UTF-8"))
        hosts = request.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) != 1 or not OURSELVES.fullmatch(hosts[0]):
            detail = "this address is answered to localhost, 127.0.0.1 and [::1] only"
            return write_problem(request, Problem(HTTPStatus.MISDIRECTED_REQUEST, detail))
        asked = self._page
        if request.path.startswith(f"{PREFIX}/".encode()):
            asked = self._api
        elif request.path.startswith(FOR_ANYBODY):
            asked = self._for_anybody
        answer: bytes | int | Deferred[bytes] = asked.render(request)
        return answer


def _is_utf8(path: bytes) -> bool:
    try:
        unquote_to_bytes(path).decode()
    except UnicodeError:
        return False
    return True
