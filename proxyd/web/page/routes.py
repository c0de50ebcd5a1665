"""The page's routes: whole pages, and with `?part=…` the part of one that the script puts in its place."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.store.database import Database
from proxyd.web import answers, answers_copies, answers_crm, answers_html, answers_search, answers_suggestions
from proxyd.web.answers import DaemonState, Document
from proxyd.web.api_sending import Sender
from proxyd.web.client_document import OUTGOING, settings_document
from proxyd.web.events import Events
from proxyd.web.page import guard, story
from proxyd.web.page.people_pages import PeoplePages
from proxyd.web.page.rendering import Static, templates
from proxyd.web.page.sessions import LONGEST, Sessions
from proxyd.web.page.visits import MOST_POSTED, Visit, app, argument, go, page, posted_here
from proxyd.web.page.writing_pages import WritingPages
from proxyd.web.problems import Problem, Request, not_found
from proxyd.web.streaming import write_chunks
from proxyd.web.viewer import May, Viewer, viewer_of
from proxyd.workers import Clock, Workers

log = structlog.get_logger()

FOUND = 30  # messages on one page of the search
MOST_OF_A_LINK = 200
NO_PASSWORD = "THE PASSWORD"  # noqa: S105 in its place: a browser keeps what it shows


class Page(PeoplePages, WritingPages):
    """The routes, below `/`. `accounts` gives the accounts as they are configured now, by address in lower case."""

    app = app

    def __init__(
        self,
        sessions: Sessions,
        journal: Journal,
        accounts: Callable[[], Mapping[str, Account]],
        database: Database,
        workers: Workers,
        state: Callable[[], DaemonState],
        clock: Clock,
        sender: Sender,
        certificate: Callable[[], dict[str, str] | None],
        reconnect: Callable[[str], Awaitable[None]],
    ) -> None:
        self.sessions = sessions
        self._clock = clock
        self._sender = sender
        self._certificate = certificate
        self._reconnect = reconnect
        self._journal = journal
        self._events = Events(journal, database, workers, clock)
        self._accounts = accounts
        self._database = database
        self._workers = workers
        self._state = state
        self._static = Static()
        self._templates = templates()

    def most_posted(self, request: Request) -> int:
        """How many octets of a request's body are worth keeping: no more than a link where no session sends it."""
        return MOST_POSTED if self.visit(request) is not None else MOST_OF_A_LINK

    def visit(self, request: Request) -> Visit | None:
        """Whose session the request carries; None where nobody is signed in, or is no person of ours any more."""
        session = self.sessions.session(guard.cookie(request))
        accounts = self._accounts()
        if session is None or (session.person is not None and session.person not in accounts):
            return None
        may = May.OWNER if session.person is None else May.SEND
        return Visit(viewer_of(session.person, may, accounts), session.token)

    # --- in and out --------------------------------------------------------------------------------------

    @app.route("/", methods=["GET"])
    @page
    async def start(self, request: Request, visit: Visit) -> bytes:
        return go(request, "/contacts")

    @app.route("/login", methods=["GET"])
    def login(self, request: Request) -> bytes:
        """The link that `proxyd web` prints. Where another page leads to it, a person says so first: else a colleague
        could have them signed in as somebody else, unasked."""
        guard.harden(request)
        link = argument(request, "link")
        if guard.from_elsewhere(request) and self.sessions.good(link):
            request.setHeader("content-type", "text/html; charset=utf-8")
            return self._render(None, "confirm.html", link=link).encode()
        return self._opened(request, link)

    @app.route("/login", methods=["POST"])
    def confirmed(self, request: Request) -> bytes:
        guard.harden(request)
        if not guard.from_our_page(request):
            problem = Problem(HTTPStatus.FORBIDDEN, "this was not sent from proxyd's own page")
            return self.problem_page(request, problem, None)
        return self._opened(request, argument(request, "link"))

    def _opened(self, request: Request, link: str) -> bytes:
        cookie = self.sessions.open(link)
        if cookie is None:
            return self.sign_in_page(request, used=True)
        guard.give_cookie(request, cookie, LONGEST.total_seconds())
        return go(request, "/contacts")

    @app.route("/logout", methods=["POST"])
    @page
    @posted_here
    async def logout(self, request: Request, visit: Visit) -> bytes:
        self.sessions.close(guard.cookie(request))
        guard.give_cookie(request, "", 0)
        return go(request, "/")

    @app.route("/favicon.ico", methods=["GET"])
    def favicon(self, request: Request) -> bytes:
        """A browser asks for it where it shows a file by itself."""
        return self.static(request, "mark.svg")

    @app.route("/static/<name>", methods=["GET"])
    def static(self, request: Request, name: str) -> bytes:
        guard.harden(request)
        found = self._static.get(name)
        if found is None:
            return self.problem_page(request, not_found("there is no such file"), None)
        request.setHeader("content-type", found[0])
        request.setHeader("cache-control", "private, max-age=86400")  # its address changes when it does
        return found[1]

    @app.route("/search", methods=["GET"])
    @page
    async def search(self, request: Request, visit: Visit) -> str:
        """The full text of everything that is logged."""
        q = argument(request, "q").strip()
        found: Document = {"messages": [], "next": None}
        if q:
            cursor = argument(request, "cursor") or None
            found = await self._workers.run(answers_search.found, self._database, q, FOUND, visit.viewer, cursor)
        called = await self._called(found["messages"])
        return self._render(visit, "found.html", q=q, here="contacts", called=called, **found)

    # --- attachments -------------------------------------------------------------------------------------

    @app.route("/messages/<id>/attachments/<int:n>", methods=["GET"])
    @page
    async def attachment(self, request: Request, visit: Visit, id: str, n: int) -> bytes:
        about, chunks = await self._attachment(visit, id, n)
        request.setHeader("content-type", "application/octet-stream")
        request.setHeader("content-disposition", f"attachment; filename*=UTF-8''{quote(about['name'], safe='')}")
        return await write_chunks(request, chunks, self._workers)

    @app.route("/messages/<id>/attachments/<int:n>/preview", methods=["GET"])
    @page
    async def preview(self, request: Request, visit: Visit, id: str, n: int) -> bytes:
        """Only what the browser can show and that can do nothing there."""
        about, chunks = await self._attachment(visit, id, n)
        kind = story.preview(about)
        if not kind:
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this kind of file is not shown here; it can be saved")
        types = {"text": "text/plain; charset=utf-8"}
        request.setHeader("content-type", types.get(kind, about["type"]))
        request.setHeader("content-security-policy", guard.PDF_POLICY if kind == "pdf" else guard.FOREIGN_POLICY)
        request.setHeader("content-disposition", f"inline; filename*=UTF-8''{quote(about['name'], safe='')}")
        return await write_chunks(request, chunks, self._workers)

    @app.route("/messages/<id>/html", methods=["GET"])
    @page
    async def designed(self, request: Request, visit: Visit, id: str) -> str:
        """A message as its sender designed it, made safe, for the sandboxed frame in which it is shown."""
        images = argument(request, "images") == "yes"
        found = await self._workers.run(answers_html.page, self._database, id, images, visit.viewer)
        if found is None:
            raise not_found("this message is not here; it may have been erased")
        request.setHeader("content-security-policy", answers_html.policy(images))
        request.setHeader("referrer-policy", "no-referrer")
        return str(found["html"])

    async def _attachment(self, visit: Visit, id: str, n: int) -> Any:
        found = await self._workers.run(answers.attachment, self._database, id, n, visit.viewer)
        if found is None:
            raise not_found("there is no such attachment; it may have been erased")
        return found

    # --- suggestions -------------------------------------------------------------------------------------

    @app.route("/suggestions", methods=["GET"])
    @page
    async def suggestions(self, request: Request, visit: Visit) -> str:
        found = await self._workers.run(answers_suggestions.listed, self._database, None, visit.viewer)
        template = "suggestion_list.html" if argument(request, "part") == "suggestions" else "suggestions.html"
        return self._render(visit, template, here="suggestions", **found)

    @app.route("/suggestions/<id>/<any(accept, refuse):word>", methods=["POST"])
    @page
    @posted_here
    async def decide(self, request: Request, visit: Visit, id: str, word: str) -> bytes:
        """Accepted it is fetched and logged, refused it is forgotten."""
        if word == "accept":
            decided = await self._workers.run(answers_suggestions.accept, self._database, id, visit.viewer)
        else:
            now = datetime.now(UTC)
            decided = await self._workers.run(answers_suggestions.refuse, self._database, id, now, visit.viewer)
        if decided is None:
            raise not_found("there is nothing to decide on any more; it was decided, or belongs to somebody else")
        if word == "accept":
            self._journal.suggestions.tell(decided["account"])
        return go(request, "/suggestions")

    # --- the daemon --------------------------------------------------------------------------------------

    @app.route("/accounts", methods=["GET"])
    @page
    async def health(self, request: Request, visit: Visit) -> str:
        status = await self._workers.run(answers.status, self._database, self._state(), datetime.now(UTC))
        mine = [each for each in status["accounts"] if visit.viewer.speaks_for(each["address"])]
        template = "account_list.html" if argument(request, "part") == "accounts" else "accounts.html"
        return self._render(visit, template, accounts=mine, daemon=status["daemon"], here="accounts")

    @app.route("/accounts/<path:address>/reconnect", methods=["POST"])
    @page
    @posted_here
    async def reconnect(self, request: Request, visit: Visit, address: str) -> bytes:
        """Sign in anew, now."""
        if address not in self._accounts() or not visit.viewer.speaks_for(address):
            raise not_found("you have no account of this address")
        await self._reconnect(address)
        return go(request, "/accounts")

    @app.route("/accounts/<path:address>/crm/<name>/retry", methods=["POST"])
    @page
    @posted_here
    async def retry_crm(self, request: Request, visit: Visit, address: str, name: str) -> bytes:
        """Somebody has mended what the CRM complained of: ask it again, now."""
        if address not in self._accounts() or not visit.viewer.speaks_for(address):
            raise not_found("you have no account of this address")
        now = datetime.now(UTC)
        await self._workers.run(answers_crm.retry, self._database, None, address, name, now, visit.viewer)
        self._journal.wakes.mended.set()
        self._journal.wakes.entries.set()
        return go(request, "/accounts")

    @app.route("/accounts/<path:address>/copies/<what>/retry", methods=["POST"])
    @page
    @posted_here
    async def retry_copies(self, request: Request, visit: Visit, address: str, what: str) -> bytes:
        """Somebody has mended what hindered them: they are due now."""
        if address not in self._accounts() or not visit.viewer.speaks_for(address):
            raise not_found("you have no account of this address")
        now = datetime.now(UTC)
        retry = functools.partial(answers_copies.retry, viewer=visit.viewer, configured=self._accounts())
        _, accounts = await self._workers.run(retry, self._database, None, address, what, now)
        self._journal.wakes.copies_again(accounts)
        return go(request, "/accounts")

    @app.route("/clients/<path:address>", methods=["GET"])
    @page
    async def client(self, request: Request, visit: Visit, address: str) -> str:
        """What the person's mail program is to be set to, but for the password."""
        account = self._accounts().get(address.lower())
        if account is None or not visit.viewer.speaks_for(account.address):
            raise not_found("you have no account of this address")
        listening = dict(self._state().listening)
        if not any(each in listening for each in OUTGOING):
            raise Problem(HTTPStatus.CONFLICT, "no SMTP listener is open; see listen in proxyd.yaml, and proxyd status")
        certificate = await self._workers.run(self._certificate)
        settings = settings_document(account, listening, NO_PASSWORD, certificate)
        return self._render(visit, "client.html", settings=settings, here="accounts")

    @app.route("/why", methods=["GET"])
    @page
    async def why(self, request: Request, visit: Visit) -> str:
        asked = argument(request, "message_id").strip()
        told = None
        if asked:
            now = datetime.now(UTC)
            told = await self._workers.run(answers.explain, self._database, asked, now, visit.viewer)
        return self._render(visit, "why.html", asked=asked, told=told, here="why")

    @app.route("/events", methods=["GET"])
    @page
    async def events(self, request: Request, visit: Visit) -> bytes:
        """What changes, as it happens; the script then fetches the part of the page that shows it."""
        over = self.sessions.ended(guard.cookie(request), self._clock)
        return await self._events.write(request, functools.partial(self._still, visit.viewer), over=over)

    def _still(self, viewer: Viewer) -> Viewer | None:
        """As the accounts are by now; listening does not count as using the session."""
        accounts = self._accounts()
        gone = viewer.person is not None and viewer.person not in accounts
        return None if gone else viewer_of(viewer.person, viewer.may, accounts)

    # --- rendering ---------------------------------------------------------------------------------------

    def _render(self, visit: Visit | None, template: str, **more: Any) -> str:
        given = {"visit": visit, "version": self._static.version, "here": ""} | more
        return self._templates.get_template(template).render(given)

    def sign_in_page(self, request: Request, *, used: bool = False) -> bytes:
        request.setResponseCode(HTTPStatus.FORBIDDEN)
        request.setHeader("content-type", "text/html; charset=utf-8")
        return self._render(None, "sign_in.html", used=used).encode()

    def problem_page(self, request: Request, problem: Problem, visit: Visit | None) -> bytes:
        request.setResponseCode(problem.status)
        request.setHeader("content-type", "text/html; charset=utf-8")
        more = {"title": problem.status.phrase, "detail": problem.detail}
        return self._render(visit, "problem.html", **more).encode("utf-8", "replace")

    def no_such_page(self, request: Request, failure: Failure) -> bytes:
        guard.harden(request)
        error: Any = failure.value
        status = HTTPStatus(error.code or 500)
        detail = "there is no such page here" if status is HTTPStatus.NOT_FOUND else status.description
        return self.problem_page(request, Problem(status, detail), None)

    def our_fault(self, request: Request, failure: Failure) -> bytes:
        guard.harden(request)
        log.error("a page failed", path=request.path.decode("ascii", "replace"), exc_info=failure.value)
        detail = "a fault of proxyd; its log says more"
        return self.problem_page(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail), None)


_routes: Any = Page.app
_routes.handle_errors(HTTPException)(Page.no_such_page)
_routes.handle_errors(Exception)(Page.our_fault)
