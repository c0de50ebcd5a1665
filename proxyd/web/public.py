"""What the `web` listener answers without a token: a mail client's settings, and whether the daemon is well.

Any program on this machine can ask, and so can any web page that a browser on it shows. A page cannot read the answer
(no CORS header allows it), unless its own host name was made to mean 127.0.0.1 (DNS rebinding): so the Host field must
name this machine. What is posted is never kept: nothing here takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request as TwistedRequest
from twisted.web.server import Site

from proxyd.config import Account
from proxyd.store.database import Database
from proxyd.web import autoconfig
from proxyd.web.answers import DaemonState, Document
from proxyd.web.control import answer_faults, answered, argument, store_answers
from proxyd.web.problems import Problem, Request, not_found, unacceptable, write_problem
from proxyd.workers import Workers

# Section 4.2 of RFC 9110, section 3.2.2 of RFC 3986; any port, as it may be forwarded.
OURSELVES = re.compile(rb"(?i)(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


class Public:
    """The routes. `accounts` gives the accounts as they are configured now, by address in lower case."""

    app = Klein()

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        database: Database,
        workers: Workers,
        state: Callable[[], DaemonState],
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._workers = workers
        self._state = state

    def site(self) -> Site:
        site = Site(ThisMachineOnly(self.app.resource()), requestFactory=BodilessRequest)  # type: ignore[no-untyped-call]
        site.displayTracebacks = False
        site.noisy = False
        return site

    @app.route("/healthz", methods=["GET"])
    @answered
    async def healthz(self, request: Request) -> Document:
        """Well where the loop turns and the store answers."""
        await self._workers.run(store_answers, self._database)
        return {"status": "ok", "version": self._state().version}

    @app.route("/.well-known/autoconfig/mail/config-v1.1.xml", methods=["GET"])
    @app.route("/mail/config-v1.1.xml", methods=["GET"])
    @answered
    async def mail_settings(self, request: Request) -> bytes:
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

    def __init__(self, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner

    def render(self, request: Request) -> bytes | int | Deferred[bytes]:
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("cache-control", "no-store")
        hosts = request.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) != 1 or not OURSELVES.fullmatch(hosts[0]):
            detail = "this address is answered to localhost, 127.0.0.1 and [::1] only"
            return write_problem(request, Problem(HTTPStatus.MISDIRECTED_REQUEST, detail))
        answer: bytes | int | Deferred[bytes] = self._inner.render(request)
        return answer


class BodilessRequest(TwistedRequest):
    """A request whose body is dropped as it comes: Twisted would keep it whole, on disk where it is long."""

    def handleContentChunk(self, data: bytes) -> None:
        pass
