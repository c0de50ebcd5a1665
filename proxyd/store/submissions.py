"""What the person's client handed to us, from "about to submit" until nothing of it is owed any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.model import CopyState, Envelope, Recipient, SmtpReply, State
from proxyd.store import content, prepared, spool
from proxyd.store.prepared import Prepared
from proxyd.store.tables import hashed_ids, sent_copies, steps, submissions


@dataclass(frozen=True, slots=True)
class Submitted:
    """A row of `submissions`."""

    id: str
    account: str
    state: State
    fingerprint: str | None
    message_id: str
    copy_fingerprint: str
    envelope: Envelope
    tracked: bool
    because: str
    begun_at: datetime
    reply: SmtpReply | None
    told_code: int | None
    looked_at: datetime | None


_ROW = (
    *("id", "account", "state", "fingerprint", "message_id", "copy_fingerprint", "envelope", "tracked", "because"),
    "begun_at",
)
_INSERT = prepared.insert(submissions, *_ROW)
_BY_ID = Prepared(sa.select(submissions).where(submissions.c.id == sa.bindparam("of")))
_OPEN = (State.SUBMITTING, State.SENT, State.UNKNOWN)
_SAME_AGAIN = Prepared(  # not sorted: SQLite would set up a sorter, each time for no row at all
    sa.select(submissions).where(
        submissions.c.account == sa.bindparam("account"),
        submissions.c.fingerprint == sa.bindparam("fingerprint"),
        submissions.c.begun_at >= sa.bindparam("since"),
        sa.or_(*(submissions.c.state == state for state in _OPEN)),
    )
)
_ENDED = Prepared(
    submissions.update()
    .where(submissions.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in ("state", "ended_at", "reply_code", "reply_text", "why")})
)
_TELL = submissions.update().where(submissions.c.id == sa.bindparam("of")).values(told_code=sa.bindparam("told_code"))
_TOLD = Prepared(_TELL)
# Heard: the same mail again is a new mail, there is nothing left to recognise.
_HEARD = Prepared(_TELL.values(fingerprint=None))
_INSERT_HASH = prepared.insert(hashed_ids, "account", "id_hash", "owner", where_missing=True)
_HASHES_OF = Prepared(sa.select(hashed_ids.c.id_hash).where(hashed_ids.c.owner == sa.bindparam("owner")))
_INSERT_STEP = prepared.insert(steps, "owner", "at", "what", "detail")
_EMPTIED = Prepared(
    submissions.update()
    .where(submissions.c.id == sa.bindparam("of"))
    .values(emptied=True, message_id=None, copy_fingerprint=None, envelope=None, reply_text=None, why=None)
)
_BARE_STEPS = Prepared(steps.update().where(steps.c.owner == sa.bindparam("of")).values(detail=""))
_NO_ERROR = Prepared(
    sent_copies.update()
    .where(sent_copies.c.id == sa.bindparam("of"), sent_copies.c.error.is_not(None))  # else a page for nothing
    .values(error=None)
)


def envelope_document(envelope: Envelope) -> dict[str, Any]:
    return {
        "sender": envelope.sender,
        "parameters": list(envelope.parameters),
        "recipients": [[each.address, list(each.parameters), each.optional] for each in envelope.recipients],
    }


def _envelope(document: dict[str, Any] | None) -> Envelope:
    if document is None:
        return Envelope("", ())
    recipients = tuple(
        Recipient(address, tuple(parameters), *optional) for address, parameters, *optional in document["recipients"]
    )
    return Envelope(document["sender"], recipients, tuple(document["parameters"]))


def _submitted(row: Any) -> Submitted:
    reply = None if row.reply_code is None else SmtpReply(row.reply_code, tuple((row.reply_text or "").split("\n")))
    return Submitted(
        id=row.id,
        account=row.account,
        state=State(row.state),
        fingerprint=row.fingerprint,
        message_id=row.message_id or "",
        copy_fingerprint=row.copy_fingerprint or "",
        envelope=_envelope(row.envelope),
        tracked=row.tracked,
        because=row.because,
        begun_at=row.begun_at,
        reply=reply,
        told_code=row.told_code,
        looked_at=row.looked_at,
    )


def insert(connection: sa.Connection, row: Submitted) -> None:
    _INSERT.run(
        connection,
        {
            "id": row.id,
            "account": row.account,
            "state": row.state,
            "fingerprint": row.fingerprint,
            "message_id": row.message_id,
            "copy_fingerprint": row.copy_fingerprint,
            "envelope": envelope_document(row.envelope),
            "tracked": row.tracked,
            "because": row.because,
            "begun_at": row.begun_at,
        },
    )


def get(connection: sa.Connection, id: str) -> Submitted | None:
    row = _BY_ID.one(connection, {"of": id})
    return None if row is None else _submitted(row)


def same_again(connection: sa.Connection, account: str, fingerprint: str, since: datetime) -> Submitted | None:
    """The newest submission of these octets and envelope that the client heard no 250 of."""
    wanted = {"account": account, "fingerprint": fingerprint, "since": since}
    rows = _SAME_AGAIN.all(connection, wanted)
    return _submitted(max(rows, key=lambda row: row.begun_at)) if rows else None


def ended(
    connection: sa.Connection, id: str, state: State, at: datetime, reply: SmtpReply | None, why: str = ""
) -> None:
    values = {
        "of": id,
        "state": state,
        "ended_at": at,
        "reply_code": None if reply is None else reply.code,
        "reply_text": None if reply is None else "\n".join(reply.lines),
        "why": why or None,
    }
    _ENDED.run(connection, values)


def told(connection: sa.Connection, id: str, code: int) -> None:
    """The client heard `code`. Until it has heard 250, the same mail again must find its first outcome."""
    (_HEARD if code < 300 else _TOLD).run(connection, {"of": id, "told_code": code})


def looked(connection: sa.Connection, id: str, at: datetime | None) -> None:
    """None: what was found out before says nothing of the next try."""
    connection.execute(submissions.update().where(submissions.c.id == id).values(looked_at=at))


def in_state(connection: sa.Connection, state: State, account: str | None = None) -> list[Submitted]:
    query = sa.select(submissions).where(submissions.c.state == state, sa.not_(submissions.c.emptied))
    if account is not None:
        query = query.where(submissions.c.account == account)
    return [_submitted(row) for row in connection.execute(query.order_by(submissions.c.begun_at))]


def never_settled(connection: sa.Connection, begun_before: datetime, sent_before: datetime) -> list[str]:
    """Untracked ones that still hold their message, and nothing is owed: of unknown outcome, or their Sent copy was
    given up, not wanted, or is there and a kill came between that and the emptying."""
    given_up = sa.select(sent_copies.c.id).where(sent_copies.c.state == CopyState.FAILED)
    settled = sa.select(sent_copies.c.id).where(sent_copies.c.state.in_([CopyState.PRESENT, CopyState.NOT_WANTED]))
    old = sa.or_(
        sa.and_(submissions.c.state == State.UNKNOWN, submissions.c.begun_at < begun_before),
        sa.and_(submissions.c.id.in_(given_up), submissions.c.begun_at < sent_before),
        submissions.c.id.in_(settled),
    )
    where = (old, sa.not_(submissions.c.tracked), sa.not_(submissions.c.emptied))
    return list(connection.scalars(sa.select(submissions.c.id).where(*where)))


def add_hashes(connection: sa.Connection, account: str, hashes: Iterable[str], owner: str) -> None:
    """Remember that `owner` answers to these keyed hashes of Message-IDs."""
    rows = ({"account": account, "id_hash": each, "owner": owner} for each in sorted(set(hashes)))
    _INSERT_HASH.run_each(connection, rows)


def owners(connection: sa.Connection, hashes: Sequence[str], account: str | None = None) -> dict[str, str]:
    """Which submission or message answers to each hash; the newest where several do."""
    query = sa.select(hashed_ids.c.id_hash, hashed_ids.c.owner).where(hashed_ids.c.id_hash.in_(hashes))
    if account is not None:
        query = query.where(hashed_ids.c.account == account)
    return {row.id_hash: row.owner for row in connection.execute(query.order_by(hashed_ids.c.owner))}


def hashes_of(connection: sa.Connection, owner: str) -> tuple[str, ...]:
    return tuple(_HASHES_OF.column(connection, {"owner": owner}))


def step(connection: sa.Connection, owner: str, at: datetime, what: str, detail: str = "") -> None:
    """One line of what `proxyd explain` tells."""
    _INSERT_STEP.run(connection, {"owner": owner, "at": at, "what": what, "detail": detail})


def empty(connection: sa.Connection, id: str) -> None:
    """Nothing is owed of this untracked message any more: what stays is its hashed id, the reason and bare steps. One
    that waits in the spool, or could not be delivered from there, stays as it is."""
    if spool.holds(connection, id):
        return
    content.drop(connection, id)
    for statement in (_EMPTIED, _BARE_STEPS, _NO_ERROR):
        statement.run(connection, {"of": id})
