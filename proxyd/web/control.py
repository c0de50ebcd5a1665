"""The HTTP API under /api/v1/, served on the control socket to the daemon's own user.

Why klein: it is twisted.web with routes, and its resources run on the reactor that is there. Each handler is a
coroutine that returns a JSON-able document or raises `Problem`; what blocks runs in a worker thread.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.server import Site
from werkzeug.exceptions import HTTPException
from zope.interface.declarations import implementer

from proxyd.errors import ProxydError, TryLater
from proxyd.journal import Journal
from proxyd.store.database import Database
from proxyd.web import answers
from proxyd.web.answers import DaemonState, Document
from proxyd.web.problems import Problem, not_found, unacceptable, write_problem
from proxyd.workers import Workers

PREFIX = "/api/v1"
MOST_POSTED = 32 * 1024 * 1024  # octets: an address book with photos
USUAL_LIMIT = 50  # messages, where the question names none

log = structlog.get_logger()

Request = Any  # twisted.web.server.Request, which has no types
Handler = Callable[..., Coroutine[Any, Any, Document | bytes]]


def answered(handler: Handler) -> Callable[..., Deferred[bytes]]:
    """A coroutine as klein takes it: its document becomes JSON, its Problem a problem document."""

    @functools.wraps(handler)
    def respond(self: Any, request: Request, **parts: str) -> Deferred[bytes]:
        async def written() -> bytes:
            try:
                result = await handler(self, request, **parts)
            except Problem as problem:
                return write_problem(request, problem)
            except answers.Unacceptable as error:
                return write_problem(request, unacceptable(str(error)))
            except TryLater as error:
                return write_problem(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))
            except ProxydError as error:
                return write_problem(request, Problem(HTTPStatus.CONFLICT, str(error)))
            if isinstance(result, bytes):
                return result
            request.setHeader("content-type", "application/json")
            return json.dumps(result, ensure_ascii=False).encode("utf-8", "replace")

        return Deferred.fromFuture(asyncio.ensure_future(written()))

    return respond


class Control:
    """The API's routes. `reload` reads the configuration anew and returns its problems, none where it was taken."""

    app = Klein()

    def __init__(
        self,
        journal: Journal,
        database: Database,
        workers: Workers,
        state: Callable[[], DaemonState],
        reload: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._journal = journal
        self._database = database
        self._workers = workers
        self._state = state
        self._reload = reload

    def site(self) -> Site:
        site = Site(self.app.resource())  # type: ignore[no-untyped-call]
        site.displayTracebacks = False
        return site

    # --- the daemon --------------------------------------------------------------------------------------

    @app.route("/healthz", methods=["GET"])
    @answered
    async def healthz(self, request: Request) -> Document:
        """Well where the loop turns and the store answers."""
        await self._workers.run(store_answers, self._database)
        return {"status": "ok", "version": self._state().version}

    @app.route(f"{PREFIX}/status", methods=["GET"])
    @answered
    async def status(self, request: Request) -> Document:
        return await self._workers.run(answers.status, self._database, self._state(), datetime.now(UTC))

    @app.route(f"{PREFIX}/accounts", methods=["GET"])
    @answered
    async def accounts(self, request: Request) -> Document:
        return answers.accounts(self._state())

    @app.route(f"{PREFIX}/reload", methods=["POST"])
    @answered
    async def reload(self, request: Request) -> Document:
        problems = await self._reload()
        if problems:
            raise Problem(HTTPStatus.CONFLICT, "the old settings stay in force", problems=problems)
        return {"problems": []}

    # --- contacts ----------------------------------------------------------------------------------------

    @app.route(f"{PREFIX}/contacts", methods=["GET"])
    @answered
    async def contacts(self, request: Request) -> Document:
        return await self._workers.run(answers.contacts, self._database, argument(request, "q") or "")

    @app.route(f"{PREFIX}/contacts", methods=["POST"])
    @answered
    async def add_contact(self, request: Request) -> Document:
        posted = _posted_document(request)
        email, name, company = (posted.get(each, "") for each in ("email", "name", "company"))
        if not all(isinstance(each, str) for each in (email, name, company)):
            raise unacceptable("email, name and company are texts")
        added = await self._workers.run(answers.add_contact, self._database, email, name, company)
        if added["new"]:
            request.setResponseCode(HTTPStatus.CREATED)
        return added

    @app.route(f"{PREFIX}/contacts/import", methods=["POST"])
    @answered
    async def import_contacts(self, request: Request) -> Document:
        octets, kind = _posted(request), argument(request, "kind") or ""
        return await self._workers.run(answers.import_contacts, self._database, octets, kind)

    @app.route(f"{PREFIX}/contacts/<path:email>/timeline", methods=["GET"])
    @answered
    async def timeline(self, request: Request, email: str) -> Document:
        return await self._messages(request, email)

    # --- messages ----------------------------------------------------------------------------------------

    @app.route(f"{PREFIX}/messages", methods=["GET"])
    @answered
    async def messages(self, request: Request) -> Document:
        return await self._messages(request, None)

    async def _messages(self, request: Request, contact: str | None) -> Document:
        account, limit = argument(request, "account"), _number(request, "limit", USUAL_LIMIT)
        return await self._workers.run(answers.timeline, self._database, contact, account, limit)

    @app.route(f"{PREFIX}/messages/<id>", methods=["GET"])
    @answered
    async def message(self, request: Request, id: str) -> Document:
        found = await self._workers.run(answers.message, self._database, id)
        if found is None:
            raise not_found("no logged message has this id")
        return found

    @app.route(f"{PREFIX}/messages/<id>/raw", methods=["GET"])
    @answered
    async def raw(self, request: Request, id: str) -> bytes:
        chunks = await self._workers.run(answers.raw, self._database, id)
        if chunks is None:
            raise not_found("no logged message has this id")
        request.setHeader("content-type", "message/rfc822")
        return await self._written(request, chunks)

    @app.route(f"{PREFIX}/messages/<id>/attachments/<int:n>", methods=["GET"])
    @answered
    async def attachment(self, request: Request, id: str, n: int) -> bytes:
        found = await self._workers.run(answers.attachment, self._database, id, n)
        if found is None:
            raise not_found("no logged message has this id and an attachment of this number, counted from 0")
        about, chunks = found
        # Never shown in place: what a stranger sent must not run as a page of ours.
        request.setHeader("content-type", "application/octet-stream")
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("content-disposition", f"attachment; filename*=UTF-8''{quote(about['name'], safe='')}")
        return await self._written(request, chunks)

    async def _written(self, request: Request, chunks: Iterator[bytes]) -> bytes:
        """Chunk by chunk, each read in a thread when the one before has gone out: a 25 MB message costs a buffer."""
        room = _Room()
        request.registerProducer(room, True)
        try:
            while await room.left() and (chunk := await self._workers.run(next, chunks, None)) is not None:
                request.write(chunk)
        finally:
            request.unregisterProducer()
        return b""

    @app.route(f"{PREFIX}/explain", methods=["GET"])
    @answered
    async def explain(self, request: Request) -> Document:
        message_id = argument(request, "message_id")
        if not message_id:
            raise unacceptable("message_id is missing; accepted: explain?message_id=ID")
        found = await self._workers.run(answers.explain, self._database, message_id, datetime.now(UTC))
        if found is None:
            raise not_found("nothing is known under this Message-ID")
        return found


# --- what went wrong -----------------------------------------------------------------------------------------


def answer_faults(app: Klein) -> None:
    """Give `app` problem documents for what no route answers and for what a route fails at."""
    routes: Any = app
    routes.handle_errors(HTTPException)(_no_such_route)
    routes.handle_errors(Exception)(_our_fault)


def _no_such_route(_routes: object, request: Request, failure: Failure) -> bytes:
    error: Any = failure.value
    status = HTTPStatus(error.code or 500)
    return write_problem(request, Problem(status, error.description or status.phrase))


def _our_fault(_routes: object, request: Request, failure: Failure) -> bytes:
    log.error("a request failed", path=request.path.decode("ascii", "replace"), exc_info=failure.value)
    return write_problem(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of proxyd; see its log"))


answer_faults(Control.app)


def store_answers(database: Database) -> None:
    """Raises where the store does not answer. Blocks."""
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")


@implementer(IPushProducer)  # type: ignore[no-untyped-call]
class _Room:
    """Tells whether the transport has room for more, or nobody reads any more."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._stopped = False

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    def stopProducing(self) -> None:
        self._stopped = True
        self._open.set()

    async def left(self) -> bool:
        """Waits for room; False once nobody reads any more."""
        await self._open.wait()
        return not self._stopped


# --- reading a request ---------------------------------------------------------------------------------------


def argument(request: Request, name: str) -> str | None:
    values = request.args.get(name.encode())
    return values[0].decode("utf-8", "replace") if values else None


def _number(request: Request, name: str, usual: int) -> int:
    text = argument(request, name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise unacceptable(f"{name} is a whole number")
    return int(text)


def _posted(request: Request) -> bytes:
    octets: bytes = request.content.read(MOST_POSTED + 1)
    if len(octets) > MOST_POSTED:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_POSTED >> 20} MB are taken at once")
    return octets


def _posted_document(request: Request) -> Document:
    try:
        document = json.loads(_posted(request))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the request's body is no JSON object")
    return document
