"""The pages on which somebody writes: the form, what is posted of it, and the draft that is kept meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.errors import ProxydError
from proxyd.formats.compose import File
from proxyd.model import State
from proxyd.store import drafts
from proxyd.store.database import Database
from proxyd.web import answers, answers_sending
from proxyd.web.answers import Document
from proxyd.web.api_sending import Sender
from proxyd.web.page import words, writing
from proxyd.web.page.visits import Visit, app, argument, go, page, posted_here
from proxyd.web.page.writing import Letter
from proxyd.web.problems import Problem, Request, not_found
from proxyd.workers import Clock, Workers


class WritingPages:
    """`sender` is the CRM's side; `render` fills a template in for a visit."""

    _accounts: Callable[[], Mapping[str, Account]]
    _database: Database
    _workers: Workers
    _clock: Clock
    _sender: Sender
    _render: Callable[..., str]

    @app.route("/compose", methods=["GET"])
    @page
    async def compose(self, request: Request, visit: Visit) -> str:
        """The form: to somebody, or in answer to a logged message; as it was left, where it was begun before."""
        own = writing.authors(self._mine(visit))
        if not own:
            raise Problem(HTTPStatus.CONFLICT, "there is no account of yours to write from")
        if id := argument(request, "reply"):
            answered = await self._workers.run(answers.message, self._database, id, visit.viewer)
            if answered is None:
                raise not_found("the message to be answered is not here; it may have been erased")
            letter = writing.answer(answered, own)
        else:
            letter = writing.first(argument(request, "to"), own)
        kept = await self._workers.run(self._draft, visit, letter.about)
        return self._form(request, visit, letter.with_draft(kept), kept=kept is not None)

    @app.route("/compose", methods=["POST"])
    @page
    @posted_here
    async def send(self, request: Request, visit: Visit) -> str | bytes:
        """Sent through the account's own provider. Where it is not, the form comes back as it was, with the reason."""
        letter, files = await self._workers.run(writing.read, request)
        try:
            outcome = await self._send(visit, letter, files)
        except (ProxydError, Problem) as error:
            request.setResponseCode(HTTPStatus.UNPROCESSABLE_ENTITY)
            return self._form(request, visit, letter, problem=str(error))
        await self._database.write(lambda connection: drafts.drop(connection, visit.person, letter.about))
        if argument(request, "part") == "form":
            return self._render(visit, "sent.html", said=words.outcome(outcome))
        return go(request, f"/contacts/{quote(writing.recipient(letter), safe='@')}")

    @app.route("/drafts", methods=["POST"])
    @page
    @posted_here
    async def keep(self, request: Request, visit: Visit) -> bytes:
        """What is being written, as it stands."""
        letter, _ = await self._workers.run(writing.read, request)
        draft, now = letter.draft, self._clock.now()

        def job(connection: sa.Connection) -> None:
            drafts.forget(connection, writing.stale(now))
            if draft is None:
                drafts.drop(connection, visit.person, letter.about)
            else:
                drafts.put(connection, visit.person, letter.about, draft, now)

        await self._database.write(job)
        request.setResponseCode(HTTPStatus.NO_CONTENT)
        return b""

    @app.route("/drafts/discard", methods=["POST"])
    @page
    @posted_here
    async def discard(self, request: Request, visit: Visit) -> bytes:
        letter, _ = await self._workers.run(writing.read, request)
        await self._database.write(lambda connection: drafts.drop(connection, visit.person, letter.about))
        return go(request, "/contacts")

    def _mine(self, visit: Visit) -> list[Account]:
        """The accounts that somebody speaks for, their own first."""
        accounts = [each for address, each in self._accounts().items() if visit.viewer.speaks_for(address)]
        return sorted(accounts, key=lambda each: each.address != visit.person)

    def _draft(self, visit: Visit, about: str) -> Document | None:
        with self._database.reading() as connection:
            return drafts.get(connection, visit.person, about)

    async def _send(self, visit: Visit, letter: Letter, files: tuple[File, ...]) -> Document:
        account = answers_sending.sender(None, letter.author, visit.viewer, self._accounts())
        asked = letter.document
        draft = await self._workers.run(answers_sending.draft, self._database, asked, account, visit.viewer)
        key = (visit.person or "*", f"page {letter.key}") if letter.key else None
        handed = await self._sender.send(account.address, replace(draft, files=files), key)
        outcome = answers_sending.outcome
        told = await self._workers.run(outcome, self._database, handed.id, str(handed.state), handed.reply)
        if handed.state is State.REFUSED:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"Not sent: {told['reply'] or 'refused'}")
        return told

    def _form(self, request: Request, visit: Visit, letter: Letter, problem: str = "", kept: bool = False) -> str:
        template = "letter.html" if argument(request, "part") == "form" else "compose.html"
        own = writing.authors(self._mine(visit))
        return self._render(visit, template, letter=letter, own=own, problem=problem, kept=kept)
