"""Sending by the HTTP API: `POST messages`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from proxyd.config import Account
from proxyd.formats.compose import Draft, NotComposable
from proxyd.formats.message import heading, split_header
from proxyd.journal import Journal
from proxyd.model import NotSent, Sent, SmtpReply, State
from proxyd.store.database import Database
from proxyd.web import answers_sending, documents
from proxyd.web.answers import Document
from proxyd.web.problems import Problem, Request, unacceptable
from proxyd.web.routes import json_model, media_type, posted, route
from proxyd.web.viewer import May, Viewer
from proxyd.workers import Workers

LONGEST_KEY = 255  # characters of an Idempotency-Key
SAID_SENT = SmtpReply(250, ("2.0.0 somebody who knows says so",))
SAID_NOT_SENT = SmtpReply(451, ("4.4.2 It was not sent, as somebody found out; please send it again",))
WHOLE = "message/rfc822"


class Handed(Protocol):
    """What came of a message: see proxyd.crm.sending."""

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> State: ...

    @property
    def reply(self) -> SmtpReply | None: ...


class Sender(Protocol):
    """Takes a message for an account; `key` is (who asks, their Idempotency-Key)."""

    async def send(self, address: str, mail: Draft | bytes, key: tuple[str, str] | None = None) -> Handed: ...


class SendingRoutes:
    """What sends. `sender` is the CRM's side, `accounts` those that are configured now."""

    _journal: Journal
    _database: Database
    _workers: Workers
    _sender: Sender
    _accounts: Callable[[], Mapping[str, Account]]

    @route(
        "POST",
        "messages",
        answer=documents.Sent,
        may=May.SEND,
        status=(HTTPStatus.CREATED, HTTPStatus.ACCEPTED),
        problems=(HTTPStatus.CONFLICT,),
        takes=(WHOLE,),
        takes_model=documents.SendMessage,
        headers=("Idempotency-Key",),
    )
    async def send(self, request: Request, viewer: Viewer, query: documents.SendAs) -> Document:
        """Send a message through its account's own provider: composed of a JSON document, or whole (message/rfc822).

        201: the provider took it. 202: it waits here (`spooled`), or it is not known yet whether the provider took it,
        and is being found out; the message is not to be sent again. A problem: nobody got it."""
        key = _key(request, viewer)
        if media_type(request) == WHOLE:
            octets = posted(request)
            said = heading(octets[: split_header(octets) or len(octets)])
            author = said.from_[0].address if said.from_ else None
            account = answers_sending.sender(query.account, author, viewer, self._accounts())
            return await self._sent(request, account.address, octets, key)
        asked = json_model(request, documents.SendMessage)
        named = asked.account or query.account
        account = answers_sending.sender(named, asked.from_, viewer, self._accounts())
        draft = await self._workers.run(answers_sending.draft, self._database, asked, account, viewer)
        return await self._sent(request, account.address, draft, key)

    @route("POST", "outcomes", answer=documents.Sent, may=May.SEND)
    async def settle(self, viewer: Viewer, body: documents.SettleOutcome) -> Document:
        """Say of a mail whose outcome nobody knows whether it was sent: its recipient has told. Nothing is sent for
        that; what follows of a mail that was sent follows: its Sent copy, the CRMs' entries."""
        now = datetime.now(UTC)
        found = await self._workers.run(answers_sending.unknown_one, self._database, body.message_id, viewer, now)
        event: Sent | NotSent = Sent(found.id, SAID_SENT, now)
        if not body.sent:
            event = NotSent(found.id, SAID_NOT_SENT, now, "somebody who knows says so")
        await self._journal.record(event)
        state, reply = await self._journal.wait_settled(found.id, 0.0)
        return await self._workers.run(answers_sending.outcome, self._database, found.id, str(state), reply)

    async def _sent(self, request: Request, address: str, mail: Draft | bytes, key: tuple[str, str] | None) -> Document:
        try:
            handed = await self._sender.send(address, mail, key)
        except NotComposable as error:
            raise unacceptable(str(error)) from None
        document = await self._workers.run(
            answers_sending.outcome, self._database, handed.id, str(handed.state), handed.reply
        )
        if handed.state is State.REFUSED:
            raise _refusal(handed.reply, document)
        done = handed.state in (State.SENT, State.BOUNCED)
        request.setResponseCode(HTTPStatus.CREATED if done else HTTPStatus.ACCEPTED)
        return document


def _key(request: Request, viewer: Viewer) -> tuple[str, str] | None:
    said = (request.getHeader(b"idempotency-key") or b"").decode("latin-1").strip().strip('"')
    if len(said) > LONGEST_KEY or not said.isprintable():
        raise unacceptable(f"an Idempotency-Key is at most {LONGEST_KEY} printable characters")
    return (viewer.person or "*", said) if said else None


def _refusal(reply: SmtpReply | None, document: dict[str, Any]) -> Problem:
    """Nobody got it: for good where the provider's code says so, else it may be asked again."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY if reply is None or reply.permanent else HTTPStatus.SERVICE_UNAVAILABLE
    return Problem(status, f"not sent: {reply.text if reply else 'refused'}", **document | {"sending": "refused"})
