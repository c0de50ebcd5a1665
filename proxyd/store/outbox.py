"""What the CRMs' dropboxes are owed: a BCC copy of each sent message. `ledger` has what goes there by an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.store.tables import dropbox_copies, submissions

SKIPPED = "skipped"  # a state: somebody does not want it any more


@dataclass(frozen=True, slots=True)
class DropboxCopy:
    id: str  # the submission
    account: str
    address: str
    due: datetime
    attempts: int
    sender: str  # the reverse-path of the message itself
    parameters: tuple[str, ...]  # its MAIL parameters that say what its octets are


def add_dropbox(connection: sa.Connection, id: str, account: str, address: str, due: datetime) -> None:
    connection.execute(
        dropbox_copies.insert(), {"id": id, "account": account, "address": address, "state": "waiting", "due": due}
    )


def waiting_dropboxes(connection: sa.Connection) -> list[DropboxCopy]:
    rows = connection.execute(
        sa.select(dropbox_copies, submissions.c.envelope)
        .join(submissions, submissions.c.id == dropbox_copies.c.id)
        .where(dropbox_copies.c.state == "waiting")
        .order_by(dropbox_copies.c.due)
    )
    return [
        DropboxCopy(
            row.id,
            row.account,
            row.address,
            row.due,
            row.attempts,
            row.envelope["sender"],
            tuple(each for each in row.envelope["parameters"] if each.upper().startswith(("BODY=", "SMTPUTF8"))),
        )
        for row in rows
    ]


def dropbox_trying(connection: sa.Connection, id: str, at: datetime | None) -> None:
    """A copy is about to be handed over; after a crash such a row tells that nobody knows whether it was taken."""
    connection.execute(dropbox_copies.update().where(dropbox_copies.c.id == id).values(trying_since=at))


def interrupted_dropboxes(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(dropbox_copies.c.id).where(dropbox_copies.c.trying_since.is_not(None))))


def dropbox_settled(connection: sa.Connection, id: str, error: str | None = None, due: datetime | None = None) -> None:
    """Sent (no error), to be tried again at `due`, or given up (error and no due)."""
    state = "sent" if error is None else "failed" if due is None else "waiting"
    connection.execute(
        dropbox_copies.update()
        .where(dropbox_copies.c.id == id)
        .values(state=state, error=error, due=due, trying_since=None, attempts=dropbox_copies.c.attempts + 1)
    )


def waiting_by_account(connection: sa.Connection) -> dict[str, int]:
    """How many dropbox copies wait, or were given up, for each account."""
    rows: Any = connection.execute(
        sa.select(dropbox_copies.c.account, sa.func.count())
        .where(dropbox_copies.c.state.in_(["waiting", "failed"]))
        .group_by(dropbox_copies.c.account)
    )
    return {row[0]: row[1] for row in rows}  # dict(rows) would ask the result for keys()
