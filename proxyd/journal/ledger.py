"""`Ledger`: what the deliveries to CRMs see of our records, and where they write what the CRMs have."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from proxyd.formats.message_html import message_html
from proxyd.formats.mime import attachment as decoded
from proxyd.formats.safe_html import safe_html
from proxyd.journal.bodies import read_body
from proxyd.model import Attachment, Body, mailbox_key
from proxyd.store import contacts, content, history, ledger, submissions, timeline
from proxyd.store.contacts import Known
from proxyd.store.database import Database
from proxyd.store.ledger import Erasure, Owed, Standing, Twin, refused_key
from proxyd.workers import Workers

T = TypeVar("T")

__all__ = ["Erasure", "Known", "Ledger", "LoggedMessage", "Owed", "Standing", "Twin", "refused_key"]


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A logged message as the tables have it. `document` is CONTRACT section 3's; `parent` the remote id of what it
    answers; `owner` has its octets, `size` of them, "" where nothing of them is kept; `people` are our contacts in it,
    by the mailbox key of each address under which they are in it."""

    document: dict[str, Any]
    body: Body
    parent: str | None
    owner: str
    size: int
    people: dict[str, Known]


class Ledger:
    """Called on the event loop; what is awaited of the writing methods is durable when it returns."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers

    # --- what is owed ------------------------------------------------------------------------------------------

    async def due(self, account: str, crm: str, now: datetime, limit: int) -> list[Owed]:
        return await self._read(lambda c: ledger.due(c, account, crm, now, limit))

    async def next_due(self, account: str, crm: str) -> datetime | None:
        return await self._read(lambda c: ledger.next_due(c, account, crm))

    async def standings(self) -> list[Standing]:
        return await self._read(ledger.standings)

    async def erasures(self, account: str, crm: str, now: datetime) -> list[Erasure]:
        return await self._read(lambda c: ledger.due_erasures(c, account, crm, now))

    async def twins(self, owed: Owed) -> list[Twin]:
        return await self._read(lambda c: ledger.twins(c, owed.message))

    # --- the message -------------------------------------------------------------------------------------------

    async def message(self, owed: Owed) -> LoggedMessage | None:
        """None where it was erased meanwhile."""
        return await self._workers.run(self._message, owed)

    def _message(self, owed: Owed) -> LoggedMessage | None:
        with self._database.reading() as connection:
            found = timeline.documents(connection, [owed.message])
            if not found:
                return None
            document = found[0]
            unread = history.unread(connection, [owed.message]).get(owed.message)
            owner = history.contents(connection, [owed.message]).get(owed.message, ("", ""))[0]
            size = content.size(connection, owner)
            answered = (document["in_reply_to"] or "").strip("<>")
            known = timeline.known(connection, owed.account, [answered] if answered else [])
            parent = next((ledger.remote_of(connection, each.message, owed.crm) for each in known.values()), None)
            everybody = (document["from"], *document["to"], *document["cc"], *document["bcc"])
            people = contacts.of_addresses(connection, (mailbox_key(each["address"]) for each in everybody))
        if unread is not None:
            body = read_body(self._database, unread)
        else:
            attachments = tuple(Attachment(**each) for each in document["attachments"])
            body = Body(document["text"], document["new_text"], document["has_html"], attachments)
        return LoggedMessage(document, body, parent, owner, size, people)

    async def octets(self, owner: str) -> AsyncIterator[bytes]:
        """The message as it was filed, a chunk at a time."""
        seq = 0
        while (data := await self._read(functools.partial(content.chunk, owner=owner, seq=seq))) is not None:
            yield data
            seq += 1

    async def attachment(self, owner: str, n: int) -> AsyncIterator[bytes]:
        """Attachment `n`, decoded, a piece at a time."""
        pieces = decoded(self._chunks(owner), n)
        while (piece := await self._workers.run(next, pieces, None)) is not None:
            yield piece

    async def html(self, owner: str) -> str:
        """The message's HTML, made safe to show; no picture is in it. "" where it has none."""
        return await self._workers.run(self._html, owner)

    def _html(self, owner: str) -> str:
        return safe_html(message_html(self._chunks(owner)).source, {}).html

    def _chunks(self, owner: str) -> Iterator[bytes]:
        """No connection is held between two of them: whoever takes them may be slow."""
        seq = 0
        while True:
            with self._database.reading() as connection:
                data = content.chunk(connection, owner, seq)
            if data is None:
                return
            yield data
            seq += 1

    # --- what the CRM has ----------------------------------------------------------------------------------------

    async def trying(self, owed: Owed, what: str | None, at: datetime | None) -> None:
        """Before the call: after a crash it is known which step's outcome is not."""
        await self._database.write(lambda c: ledger.trying(c, owed.message, owed.crm, what, at))

    async def logged(self, owed: Owed, remote_id: str, state: str, at: datetime) -> None:
        def job(connection: sa.Connection) -> None:
            ledger.logged(connection, owed.message, owed.crm, remote_id, state)
            ledger.trying(connection, owed.message, owed.crm, None, None)
            submissions.step(connection, owed.message, at, f"logged in the CRM {owed.crm}", remote_id)

        await self._database.write(job)

    async def adopted(
        self, owed: Owed, remote_id: str, state: str, attachments: Iterable[int], what: str, at: datetime
    ) -> None:
        """The CRM has all of it under `remote_id`, and not by this entry."""

        def job(connection: sa.Connection) -> None:
            ledger.logged(connection, owed.message, owed.crm, remote_id, state)
            for n in attachments:
                ledger.attached(connection, owed.message, owed.crm, n, remote_id)
            ledger.trying(connection, owed.message, owed.crm, None, None)
            ledger.delivered(connection, owed.message, owed.crm)
            submissions.step(connection, owed.message, at, f"{what}: {owed.crm}", remote_id)

        await self._database.write(job)

    async def attached(self, owed: Owed, n: int, remote_id: str) -> None:
        def job(connection: sa.Connection) -> None:
            ledger.attached(connection, owed.message, owed.crm, n, remote_id)
            ledger.trying(connection, owed.message, owed.crm, None, None)

        await self._database.write(job)

    async def told(self, owed: Owed, state: str, at: datetime) -> None:
        def job(connection: sa.Connection) -> None:
            ledger.told(connection, owed.message, owed.crm, state)
            submissions.step(connection, owed.message, at, f"the CRM {owed.crm} was told: {state}")

        await self._database.write(job)

    async def delivered(self, owed: Owed) -> None:
        await self._database.write(lambda c: ledger.delivered(c, owed.message, owed.crm))

    async def postponed(self, owed: Owed, error: str, due: datetime | None, at: datetime) -> None:
        """`due` is the next try, None = given up."""

        def job(connection: sa.Connection) -> None:
            ledger.postponed(connection, owed.message, owed.crm, error, due)
            if due is None:
                ledger.trying(connection, owed.message, owed.crm, None, None)
                submissions.step(connection, owed.message, at, f"not taken by the CRM {owed.crm}", error)

        await self._database.write(job)

    async def waits_because(self, account: str, crm: str, error: str) -> None:
        """Nothing is tried at the moment, and why, for `status` to say."""
        await self._database.write(lambda c: ledger.waits_because(c, account, crm, error))

    async def deferred(self, owed: Owed, due: datetime) -> None:
        await self._database.write(lambda c: ledger.deferred(c, owed.message, owed.crm, due))

    async def retry_all(self, account: str, crm: str, at: datetime, *, given_up: bool) -> None:
        await self._database.write(lambda c: ledger.retry_all(c, account, crm, at, given_up))

    async def erased(self, erasure: Erasure) -> None:
        await self._database.write(lambda c: ledger.erased(c, erasure.id))

    async def erasure_postponed(self, erasure: Erasure, error: str, due: datetime | None) -> None:
        await self._database.write(lambda c: ledger.erasure_postponed(c, erasure.id, error, due))

    async def _read(self, job: Callable[[sa.Connection], T]) -> T:
        return await self._workers.run(self._database.read, job)
