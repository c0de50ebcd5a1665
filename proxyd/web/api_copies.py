"""Copies that were given up, by the HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.store.database import Database
from proxyd.web import answers_copies, documents
from proxyd.web.answers import Document
from proxyd.web.routes import route
from proxyd.web.viewer import May, Viewer
from proxyd.workers import Workers


class CopiesRoutes:
    """What was given up of Sent copies and of copies to the CRM's address."""

    _journal: Journal
    _database: Database
    _workers: Workers
    _accounts: Callable[[], Mapping[str, Account]]

    @route("GET", "copies", answer=documents.CopiesGivenUp)
    async def copies(self, viewer: Viewer, query: documents.ListCopies) -> Document:
        """Copies in Sent, and to the CRM's address, that were given up in the last 7 days."""
        now = datetime.now(UTC)
        return await self._workers.run(
            answers_copies.listed, self._database, query.account, query.what, query.limit, now, viewer
        )

    @route("POST", "copies/retry", answer=documents.CopiesTried, may=May.SEND)
    async def retry_copies(self, viewer: Viewer, body: documents.ChooseCopies) -> Document:
        """Try them again now; a Sent copy is looked for before it is filed."""
        now = datetime.now(UTC)
        given = (body.copies, body.account, body.what, now, viewer, self._accounts())
        done, accounts = await self._workers.run(answers_copies.retry, self._database, *given)
        self._journal.wakes.copies_again(accounts)
        return done

    @route("POST", "copies/skip", answer=documents.CopiesSkipped, may=May.SEND)
    async def skip_copies(self, viewer: Viewer, body: documents.ChooseCopies) -> Document:
        """Leave them out: they are neither tried nor told of any more."""
        now = datetime.now(UTC)
        return await self._workers.run(
            answers_copies.skip, self._database, body.copies, body.account, body.what, now, viewer
        )
