"""What waits here for the provider, by the HTTP API."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from proxyd.journal import Journal
from proxyd.store.database import Database
from proxyd.web import answers_spool, documents
from proxyd.web.answers import Document
from proxyd.web.problems import Request, not_found
from proxyd.web.routes import route
from proxyd.web.streaming import write_chunks
from proxyd.web.viewer import May, Viewer
from proxyd.workers import Workers


class SpoolRoutes:
    """Mail that its client believes sent, and that is not settled."""

    _database: Database
    _workers: Workers
    _journal: Journal

    @route("GET", "spool", answer=documents.SpooledMails, may=May.SEND)
    async def spool(self, viewer: Viewer, query: documents.ListSpool) -> Document:
        """What waits here for the provider, and what could not be delivered."""
        return await self._workers.run(answers_spool.listed, self._database, query.account, viewer)

    @route("GET", "spool/{id}/raw", answer="message/rfc822", may=May.SEND, problems=(HTTPStatus.NOT_FOUND,))
    async def spooled_raw(self, request: Request, viewer: Viewer, id: str) -> bytes:
        """One of them, as it was sent."""
        chunks = await self._workers.run(answers_spool.written, self._database, id, viewer)
        if chunks is None:
            raise not_found("no mail in the spool has this id")
        request.setHeader("content-type", "message/rfc822")
        request.setHeader("x-content-type-options", "nosniff")
        return await write_chunks(request, chunks, self._workers)

    @route("POST", "spool/retry", answer=documents.SpoolChanged, may=May.SEND)
    async def retry_spooled(self, viewer: Viewer, body: documents.RetrySpooled) -> Document:
        """Try them again, now."""
        now = datetime.now(UTC)
        done = await self._workers.run(answers_spool.retry, self._database, body.mails, body.account, now, viewer)
        self._journal.spool.asked_again()
        return done

    @route("POST", "spool/drop", answer=documents.SpoolChanged, may=May.SEND)
    async def drop_spooled(self, viewer: Viewer, body: documents.DropSpooled) -> Document:
        """Never send them, and do not keep them."""
        return await self._workers.run(answers_spool.drop, self._database, body.mails, datetime.now(UTC), viewer)
