"""Asking for an account's earlier mail, and watching how it comes; for the daemon's own user alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from proxyd.journal.backfilling import Backfills
from proxyd.model import Backfill
from proxyd.web import documents
from proxyd.web.answers import DaemonState, Document
from proxyd.web.answers_earlier import backfill_document
from proxyd.web.problems import not_found, unacceptable
from proxyd.web.routes import route
from proxyd.web.viewer import May

LOOK = 1.0  # seconds that a question waits for news
UNKNOWN = (HTTPStatus.NOT_FOUND,)


class EarlierMail:
    def __init__(self, backfills: Backfills, state: Callable[[], DaemonState]) -> None:
        self._backfills = backfills
        self._state = state

    @route("POST", "backfills", answer=documents.Backfill, may=May.OWNER, problems=UNKNOWN)
    async def ask_backfill(self, body: documents.AskBackfill) -> Document:
        """Log earlier mail with known contacts; what was stopped goes on."""
        account = self._account(body.account)
        if body.since > datetime.now(UTC).date():
            raise unacceptable("since is a day that has begun")
        return backfill_document(await self._backfills.ask(account, body.since, body.dry_run))

    @route("GET", "backfills/{address}", answer=documents.Backfill, may=May.OWNER, problems=UNKNOWN)
    async def backfill(self, address: str, query: documents.LookAtBackfill) -> Document:
        """How going through an account's earlier mail is."""
        account = self._account(address)
        if query.wait:
            await self._backfills.moved(account, LOOK)
        return _asked_for(await self._backfills.get(account, query.dry_run))

    @route("DELETE", "backfills/{address}", answer=documents.Backfill, may=May.OWNER, problems=UNKNOWN)
    async def stop_backfill(self, address: str, query: documents.StopBackfill) -> Document:
        """Stop it; asked for again it goes on where it was."""
        account = self._account(address)
        return _asked_for(await self._backfills.stop(account, query.dry_run))

    def _account(self, address: str) -> str:
        served = [each.address for each in self._state().accounts]
        if address.lower() not in served:
            raise not_found(f"no account has the address {address}; there are: {', '.join(served) or 'none'}")
        return address.lower()


def _asked_for(going: Backfill | None) -> Document:
    if going is None:
        raise not_found("nobody has asked for this account's earlier mail")
    return backfill_document(going)
