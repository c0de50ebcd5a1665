"""The pages on which somebody writes: the form, what is posted of it, and the draft that is kept meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from proxyd.store.drafts import Attached
from proxyd.web import answers, answers_sending
from proxyd.web.answers import Document
from proxyd.web.api_sending import Sender
from proxyd.web.page import words, writing
from proxyd.web.page.visits import Visit, app, argument, go, page, posted_here
from proxyd.web.page.writing import Letter, Posted
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
        kept, files = await self._workers.run(self._draft, visit, letter.about)
        return self._form(request, visit, letter.with_draft(kept), files, kept=kept is not None)

    @app.route("/compose", methods=["POST"])
    @page
    @posted_here
    async def send(self, request: Request, visit: Visit) -> str | bytes:
        """Sent through the account's own provider. Where it is not, the form comes back as it was, with the reason."""
        posted = await self._workers.run(writing.read, request)
        letter = posted.letter
        try:
            outcome = await self._send(visit, posted)
        except (ProxydError, Problem) as error:
            files = await self._keep(visit, posted, quietly=True)
            request.setResponseCode(HTTPStatus.UNPROCESSABLE_ENTITY)
            # Nobody has got it, and it may be changed before it is sent again: another letter from here on.
            again = replace(letter, key=writing.new_key())
            return self._form(request, visit, again, files, problem=str(error))
        await self._database.write(lambda connection: drafts.drop(connection, visit.person, letter.about))
        if argument(request, "part") == "form":
            return self._render(visit, "sent.html", said=words.outcome(outcome))
        return go(request, f"/contacts/{quote(writing.recipient(letter), safe='@')}")

    @app.route("/drafts", methods=["POST"])
    @page
    @posted_here
    async def keep(self, request: Request, visit: Visit) -> str | bytes:
        """What is being written, as it stands; with `part=files` the list of its files is the answer."""
        posted = await self._workers.run(writing.read, request)
        files = await self._keep(visit, posted)
        if argument(request, "part") == "files":
            return self._render(visit, "draft_files.html", files=files)
        request.setResponseCode(HTTPStatus.NO_CONTENT)
        return b""

    @app.route("/drafts/detach", methods=["POST"])
    @page
    @posted_here
    async def detach(self, request: Request, visit: Visit) -> str:
        """Take one file off; the letter is shown again, or with `part=files` the list of what is left."""
        posted = await self._workers.run(writing.read, request)
        gone = argument(request, "detach")
        files = await self._keep(visit, posted, gone=gone)
        if argument(request, "part") == "files":
            return self._render(visit, "draft_files.html", files=files)
        return self._form(request, visit, posted.letter, files, kept=True)

    @app.route("/drafts/discard", methods=["POST"])
    @page
    @posted_here
    async def discard(self, request: Request, visit: Visit) -> bytes:
        letter = (await self._workers.run(writing.read, request)).letter
        await self._database.write(lambda connection: drafts.drop(connection, visit.person, letter.about))
        return go(request, "/contacts")

    async def _keep(self, visit: Visit, posted: Posted, *, gone: str = "", quietly: bool = False) -> list[Attached]:
        """The draft as it stands now, with the files that came and without the one that is `gone`; all that it has.
        Where that is more than is kept Problem is raised, or `quietly` the new ones are left out."""
        letter, person, now = posted.letter, visit.person, self._clock.now()

        def job(connection: sa.Connection) -> list[Attached]:
            drafts.forget(connection, writing.stale(now))
            drafts.detach(connection, person, letter.about, gone)
            there = drafts.attached(connection, person, letter.about)
            more = posted.files
            try:
                writing.room((each.size for each in there), more)
            except Problem:
                if not quietly:
                    raise
                more = ()
            if letter.empty and not there and not more:
                drafts.drop(connection, person, letter.about)
                return []
            drafts.put(connection, person, letter.about, letter.draft, now)
            for each in more:
                drafts.attach(connection, person, letter.about, each.name, each.type, each.octets)
            return drafts.attached(connection, person, letter.about)

        return await self._database.write(job)

    def _mine(self, visit: Visit) -> list[Account]:
        """The accounts that somebody speaks for, their own first."""
        accounts = [each for address, each in self._accounts().items() if visit.viewer.speaks_for(address)]
        return sorted(accounts, key=lambda each: each.address != visit.person)

    def _draft(self, visit: Visit, about: str) -> tuple[Document | None, list[Attached]]:
        with self._database.reading() as connection:
            return drafts.get(connection, visit.person, about), drafts.attached(connection, visit.person, about)

    def _files(self, visit: Visit, posted: Posted) -> tuple[File, ...]:
        """Those that the form names of its draft, and those that came with it. Raises Problem where one is gone."""
        about = posted.letter.about
        with self._database.reading() as connection:
            there = {each.id: each for each in drafts.attached(connection, visit.person, about)}
            octets = drafts.octets(connection, visit.person, about, posted.kept)
        if octets.keys() != set(posted.kept):
            detail = "a file of this letter is kept no longer: the letter was sent, or changed in another window"
            raise Problem(HTTPStatus.CONFLICT, detail)
        return tuple(File(there[id].name, there[id].type, octets[id]) for id in posted.kept) + posted.files

    async def _send(self, visit: Visit, posted: Posted) -> Document:
        letter = posted.letter
        files = await self._workers.run(self._files, visit, posted)
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

    def _form(
        self,
        request: Request,
        visit: Visit,
        letter: Letter,
        files: Sequence[Attached],
        problem: str = "",
        kept: bool = False,
    ) -> str:
        template = "letter.html" if argument(request, "part") == "form" else "compose.html"
        own = writing.authors(self._mine(visit))
        return self._render(visit, template, letter=letter, own=own, files=files, problem=problem, kept=kept)
