"""What each CRM has of each logged message: (message, CRM) → remote id, and what it is still owed.

A row is *waiting* while the CRM lacks something: the message itself (no remote id), an attachment, or the newest state.
`trying` names the step whose outcome we have not recorded: after a crash or an unclear answer it says that nobody knows
whether the CRM has taken it, so that it is looked for before it is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from proxyd.store import mailboxes, prepared
from proxyd.store.prepared import Prepared
from proxyd.store.tables import crm_attachments, crm_entries, crm_erasures, messages

LOCAL = "local"  # the CRM that this store is

_THERE = Prepared(sa.select(crm_entries.c.crm).where(crm_entries.c.message == sa.bindparam("message")))
_INSERT = prepared.insert(crm_entries, "message", "crm", "state", "remote_id", "due")
_OF = sa.and_(crm_entries.c.message == sa.bindparam("of"), crm_entries.c.crm == sa.bindparam("by"))


@dataclass(frozen=True, slots=True)
class Owed:
    """An entry that is waiting. `attached` are the attachments that the CRM has: their number and remote id."""

    message: str
    crm: str
    account: str
    due: datetime
    attempts: int
    trying: str | None
    trying_since: datetime | None
    remote_id: str | None
    told: str | None  # the state that the CRM was told
    attached: dict[int, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one account's CRM stands: entries that wait, those given up, and why, in the words of the newest (given up
    before waiting); contacts that it is still to erase, and those of them that it will not; `refused`: it does not
    let us in."""

    account: str
    crm: str
    waiting: int
    failed: int
    because: str
    erasures: int = 0
    not_erased: int = 0
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Erasure:
    """A contact that a CRM is to erase, and what we had logged there with it."""

    id: int
    account: str
    crm: str
    address: str
    remote_ids: tuple[str, ...]
    due: datetime
    attempts: int


def owe(connection: sa.Connection, message: str, crms: Iterable[str], at: datetime) -> bool:
    """The message was logged: each of its account's CRMs is owed it. True where one outside waits for it.

    `local` is this store, and has it by the same commit. What is owed already is not owed twice.
    """
    there = set(_THERE.column(connection, {"message": message}))
    waits = False
    for crm in dict.fromkeys(crms):
        if crm in there:
            continue
        ours = crm == LOCAL
        waits = waits or not ours
        _INSERT.run(
            connection,
            {
                "message": message,
                "crm": crm,
                "state": "delivered" if ours else "waiting",
                "remote_id": message if ours else None,
                "due": None if ours else at,
            },
        )
    return waits


def owe_state(connection: sa.Connection, message: str, at: datetime) -> bool:
    """The message's state is another one than the CRMs were told. True where one of them is to hear of it."""
    changed = connection.execute(
        crm_entries.update()
        .where(
            crm_entries.c.message == message,
            crm_entries.c.crm != LOCAL,
            crm_entries.c.state == "delivered",
            crm_entries.c.remote_id.is_not(None),
        )
        .values(state="waiting", due=at, attempts=0)
    )
    return bool(changed.rowcount)


def owe_attachments(connection: sa.Connection, message: str, replaced: Iterable[int], at: datetime) -> bool:
    """The message has more attachments, and others under the numbers `replaced`. True where a CRM is to get them."""
    of = (crm_attachments.c.message == message, crm_attachments.c.n.in_(list(replaced)))
    connection.execute(crm_attachments.delete().where(*of))
    return owe_state(connection, message, at)


def due(connection: sa.Connection, account: str, crm: str, now: datetime, limit: int) -> list[Owed]:
    """What `crm` is owed of `account` by now, oldest first: what a message answers is logged before its answer."""
    rows = connection.execute(
        sa.select(crm_entries, messages.c.account)
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(
            crm_entries.c.crm == crm,
            crm_entries.c.state == "waiting",
            crm_entries.c.due <= now,
            messages.c.account == account,
        )
        .order_by(crm_entries.c.message)
        .limit(limit)
    ).all()
    attached: dict[str, dict[int, str]] = {}
    of = [row.message for row in rows]
    for each in connection.execute(
        sa.select(crm_attachments).where(crm_attachments.c.crm == crm, crm_attachments.c.message.in_(of))
    ):
        attached.setdefault(each.message, {})[each.n] = each.remote_id
    return [
        Owed(
            message=row.message,
            crm=row.crm,
            account=row.account,
            due=row.due,
            attempts=row.attempts,
            trying=row.trying,
            trying_since=row.trying_since,
            remote_id=row.remote_id,
            told=row.told,
            attached=attached.get(row.message, {}),
        )
        for row in rows
    ]


def next_due(connection: sa.Connection, account: str, crm: str) -> datetime | None:
    """When `crm` is owed something of `account` next, be it past; None: nothing waits."""
    rows = connection.execute(
        sa.select(crm_entries.c.due)
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(crm_entries.c.crm == crm, crm_entries.c.state == "waiting", messages.c.account == account)
        .order_by(crm_entries.c.due)
        .limit(1)
    )
    row = rows.one_or_none()
    erasure: datetime | None = connection.scalar(
        sa.select(sa.func.min(crm_erasures.c.due)).where(crm_erasures.c.account == account, crm_erasures.c.crm == crm)
    )
    nearest = [each for each in (row.due if row is not None else None, erasure) if each is not None]
    return min(nearest, default=None)


def remote_of(connection: sa.Connection, message: str, crm: str) -> str | None:
    """Under which id `crm` has a logged message."""
    value: str | None = connection.scalar(
        sa.select(crm_entries.c.remote_id).where(crm_entries.c.message == message, crm_entries.c.crm == crm)
    )
    return value


@dataclass(frozen=True, slots=True)
class Twin:
    """The same mail in a colleague's log, as it stands in a CRM; `remote_id` None: whether it is there is not known."""

    account: str
    crm: str
    remote_id: str | None


def twins(connection: sa.Connection, message: str) -> list[Twin]:
    """The entries of the same mail in other accounts that are in a CRM, or may be."""
    mail = sa.select(messages.c.mail).where(messages.c.id == message).scalar_subquery()
    rows = connection.execute(
        sa.select(messages.c.account, crm_entries.c.crm, crm_entries.c.remote_id)
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(
            messages.c.mail == mail,
            messages.c.id != message,
            crm_entries.c.crm != LOCAL,
            sa.or_(crm_entries.c.remote_id.is_not(None), crm_entries.c.trying.is_not(None)),
        )
        .order_by(messages.c.id)
    )
    return [Twin(*row) for row in rows]


# --- what is written of one entry ----------------------------------------------------------------------------


def _update(connection: sa.Connection, message: str, crm: str, **values: Any) -> None:
    connection.execute(crm_entries.update().where(_OF).values(**values), {"of": message, "by": crm})


def trying(connection: sa.Connection, message: str, crm: str, what: str | None, at: datetime | None) -> None:
    """The step `what` is about to be asked of the CRM; None: no step's outcome is unknown any more."""
    _update(connection, message, crm, trying=what, trying_since=at)


def logged(connection: sa.Connection, message: str, crm: str, remote_id: str, told: str) -> None:
    _update(connection, message, crm, remote_id=remote_id, told=told)


def attached(connection: sa.Connection, message: str, crm: str, n: int, remote_id: str) -> None:
    connection.execute(crm_attachments.insert(), {"message": message, "crm": crm, "n": n, "remote_id": remote_id})


def told(connection: sa.Connection, message: str, crm: str, state: str) -> None:
    _update(connection, message, crm, told=state)


def delivered(connection: sa.Connection, message: str, crm: str) -> None:
    """The CRM has everything; where the state has changed meanwhile, it is still owed that."""
    _update(connection, message, crm, state="delivered", error=None, due=None, attempts=0)
    connection.execute(
        crm_entries.update()
        .where(
            _OF,
            crm_entries.c.told
            != sa.select(messages.c.state).where(messages.c.id == crm_entries.c.message).scalar_subquery(),
        )
        .values(state="waiting", due=sa.select(messages.c.at).where(messages.c.id == message).scalar_subquery()),
        {"of": message, "by": crm},
    )


def postponed(connection: sa.Connection, message: str, crm: str, error: str, due: datetime | None) -> None:
    """Not taken: to be tried again at `due`; None: given up, a person must look."""
    state = "failed" if due is None else "waiting"
    _update(connection, message, crm, state=state, error=error, due=due, attempts=crm_entries.c.attempts + 1)


def waits_because(connection: sa.Connection, account: str, crm: str, error: str) -> None:
    """Why nothing is tried, kept at the newest entry that waits: that is what `standings` tells."""
    newest = (
        sa.select(sa.func.max(crm_entries.c.message))
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(messages.c.account == account, crm_entries.c.crm == crm, crm_entries.c.state == "waiting")
        .scalar_subquery()
    )
    connection.execute(
        crm_entries.update().where(crm_entries.c.crm == crm, crm_entries.c.message == newest).values(error=error)
    )


def deferred(connection: sa.Connection, message: str, crm: str, due: datetime) -> None:
    """Not tried before `due`; that is nobody's failure."""
    _update(connection, message, crm, due=due)


def retry_all(connection: sa.Connection, account: str, crm: str, at: datetime, given_up: bool) -> int:
    """What waits is due now, with `given_up` what is not tried any more too: the cause may be gone."""
    states = ("waiting", "failed") if given_up else ("waiting",)
    erasure = crm_erasures.update().where(crm_erasures.c.account == account, crm_erasures.c.crm == crm)
    connection.execute((erasure if given_up else erasure.where(crm_erasures.c.due.is_not(None))).values(due=at))
    of = sa.select(messages.c.id).where(messages.c.account == account)
    return connection.execute(
        crm_entries.update()
        .where(crm_entries.c.crm == crm, crm_entries.c.state.in_(states), crm_entries.c.message.in_(of))
        .values(state="waiting", due=at, attempts=0)
    ).rowcount


# --- how they stand --------------------------------------------------------------------------------------------


def standings(connection: sa.Connection) -> list[Standing]:
    """Of every account's CRM that is owed something."""
    newest: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in connection.execute(
        sa.select(
            messages.c.account,
            crm_entries.c.crm,
            crm_entries.c.state,
            sa.func.count(),
            sa.func.max(crm_entries.c.message),
        )
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(crm_entries.c.state.in_(["waiting", "failed"]))
        .group_by(messages.c.account, crm_entries.c.crm, crm_entries.c.state)
    ):
        counts.setdefault((row[0], row[1]), {})[row[2]] = row[3]
    for account, crm in counts:
        error = connection.scalar(
            sa.select(crm_entries.c.error)
            .join(messages, messages.c.id == crm_entries.c.message)
            .where(
                messages.c.account == account,
                crm_entries.c.crm == crm,
                crm_entries.c.state.in_(["waiting", "failed"]),
                crm_entries.c.error.is_not(None),
            )
            .order_by(crm_entries.c.state, crm_entries.c.message.desc())  # what failed needs somebody, what waits not
            .limit(1)
        )
        newest[account, crm] = error or ""
    for row in connection.execute(
        sa.select(
            crm_erasures.c.account,
            crm_erasures.c.crm,
            sa.func.count(),
            sa.func.max(crm_erasures.c.error),
            sa.func.count(crm_erasures.c.due),
        ).group_by(crm_erasures.c.account, crm_erasures.c.crm)
    ):
        counts.setdefault((row[0], row[1]), {}).update(erasures=row[2], not_erased=row[2] - row[4])
        newest[row[0], row[1]] = newest.get((row[0], row[1])) or row[3] or ""
    return [
        Standing(
            account,
            crm,
            of.get("waiting", 0),
            of.get("failed", 0),
            newest[account, crm],
            of.get("erasures", 0),
            of.get("not_erased", 0),
            bool(mailboxes.fact(connection, account, refused_key(crm))),
        )
        for (account, crm), of in sorted(counts.items())
    ]


def refused_key(crm: str) -> str:
    """The fact of an account that this CRM of its does not take our credentials; "" once it does."""
    return f"crm_refused {crm}"


# --- erasing ---------------------------------------------------------------------------------------------------


def owe_erasure(
    connection: sa.Connection, account: str, crm: str, address: str, remote_ids: Iterable[str], at: datetime
) -> None:
    """`crm` is to erase the contact `address` and what we logged there with it: called before our records of it go."""
    connection.execute(
        crm_erasures.insert(),
        {"account": account, "crm": crm, "address": address, "remote_ids": list(remote_ids), "due": at},
    )


def remote_ids(connection: sa.Connection, messages_: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """(account, CRM) → the remote ids of these logged messages, `local` apart."""
    found: dict[tuple[str, str], list[str]] = {}
    rows = connection.execute(
        sa.select(messages.c.account, crm_entries.c.crm, crm_entries.c.remote_id)
        .join(messages, messages.c.id == crm_entries.c.message)
        .where(
            crm_entries.c.message.in_(list(messages_)),
            crm_entries.c.crm != LOCAL,
            crm_entries.c.remote_id.is_not(None),
        )
    )
    for row in rows:
        found.setdefault((row[0], row[1]), []).append(row[2])
    return found


def due_erasures(connection: sa.Connection, account: str, crm: str, now: datetime) -> list[Erasure]:
    rows = connection.execute(
        sa.select(crm_erasures)
        .where(crm_erasures.c.account == account, crm_erasures.c.crm == crm, crm_erasures.c.due <= now)
        .order_by(crm_erasures.c.id)
    )
    return [
        Erasure(row.id, row.account, row.crm, row.address, tuple(row.remote_ids), row.due, row.attempts) for row in rows
    ]


def erased(connection: sa.Connection, id: int) -> None:
    """Nothing of it is kept, not even that it was asked for."""
    connection.execute(crm_erasures.delete().where(crm_erasures.c.id == id))


def erasure_postponed(connection: sa.Connection, id: int, error: str, due: datetime | None) -> None:
    """None as `due`: the CRM will not, a person must do it there."""
    connection.execute(
        crm_erasures.update()
        .where(crm_erasures.c.id == id)
        .values(error=error, due=due, attempts=crm_erasures.c.attempts + 1)
    )
