"""What is asked of our records, answered as documents of CONTRACT section 3: JSON-able values, nothing of HTTP.

Every function blocks: the daemon calls it in a worker thread, a command without a daemon calls it as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from ulid import ULID

from proxyd.errors import ProxydError
from proxyd.formats.mime import attachment as decoded_attachment
from proxyd.formats.signature import signature
from proxyd.journal.bodies import read_body
from proxyd.journal.sending import KEPT_UNKNOWN
from proxyd.model import mailbox_key
from proxyd.provider.allowance import Connections
from proxyd.rules import crm_entry, record_troubles
from proxyd.rules.connection import Condition
from proxyd.store import companies, contacts, content, given_up, history, ledger, mailboxes, outbox, sent_copies, spool
from proxyd.store import timeline as log
from proxyd.store.database import Database
from proxyd.store.timeline import bracketed, timestamp
from proxyd.web.answers_earlier import earlier_document
from proxyd.web.viewer import OWNER, Viewer

Document = dict[str, Any]

MOST_MESSAGES = 10_000  # in one answer
LATELY = timedelta(days=7)  # copies that were given up before that are told of no more


class Unacceptable(ProxydError):
    """What was asked cannot be done as asked; the text says what is accepted."""


# --- what is logged ------------------------------------------------------------------------------------------


def timeline(
    database: Database,
    contact: str | None,
    account: str | None,
    limit: int,
    viewer: Viewer = OWNER,
    cursor: str | None = None,
    company: str | None = None,
) -> Document:
    """`{"messages": […], "next"}`, newest first; `contact` and `account` are addresses, `company` is a record's id;
    None = all. `next` is the `cursor` of the page that follows, None where none does. Raises Unacceptable for a cursor
    that is none of ours."""
    limit = max(0, min(limit, MOST_MESSAGES))
    behind = _place(cursor) if cursor else None
    with database.reading() as connection:
        ids = log.of_people(
            connection,
            _people(connection, contact, company),
            account.lower() if account else None,
            limit + 1,
            accounts=viewer.accounts,
            behind=behind,
        )
        more, ids = len(ids) > limit, ids[:limit]
        documents = told(connection, ids, viewer)
        unread = history.unread(connection, ids)
        next = _cursor(log.places(connection, ids[-1:])[ids[-1]]) if more and ids else None
    return {"messages": [complete(database, each, unread) for each in documents], "next": next}


def _people(connection: sa.Connection, contact: str | None, company: str | None) -> frozenset[str] | None:
    """The mailbox keys of whom is asked for, with whichever address they wrote; None where everybody is."""
    if company is not None:
        return companies.keys(connection, company)
    return contacts.same_person(connection, [mailbox_key(contact)]) if contact else None


def _cursor(place: log.Place) -> str:
    return f"{round(place.date.timestamp() * 1_000_000)}.{place.id}"


def _place(cursor: str) -> log.Place:
    micros, _, id = cursor.partition(".")
    try:
        return log.Place(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(micros)), id)
    except (ValueError, OverflowError):
        raise Unacceptable("the cursor is none that was handed out; accepted: `next` of the page before") from None


def told(connection: sa.Connection, ids: Sequence[str], viewer: Viewer) -> list[Document]:
    """The logged messages, each with all the accounts that have it as far as the viewer sees them."""
    documents = log.documents(connection, ids)
    having = log.accounts_of(connection, [each["mail"] for each in documents], viewer.accounts)
    return [each | {"accounts": having.get(each["mail"], [])} for each in documents]


def message(database: Database, id: str, viewer: Viewer = OWNER) -> Document | None:
    """One logged message by our record's id; None where the viewer sees none."""
    with database.reading() as connection:
        documents = [each for each in told(connection, [id], viewer) if viewer.sees(each["account"])]
        unread = history.unread(connection, [id])
    return complete(database, documents[0], unread) if documents else None


def complete(database: Database, document: Document, unread: Mapping[str, str]) -> Document:
    read = _with_body(database, document, unread)
    return read | {"signature": signature(read["new_text"])}


def _with_body(database: Database, document: Document, unread: Mapping[str, str]) -> Document:
    """Whoever asks sooner than the daemon read the message gets its text all the same."""
    owner = unread.get(document["id"])
    return document if owner is None else document | asdict(read_body(database, owner))


def raw(database: Database, id: str, viewer: Viewer = OWNER) -> Iterator[bytes] | None:
    """The octets of a logged message as it was filed, in chunks; None where there is none."""
    owner = owner_of(database, id, viewer)
    return None if owner is None else octets_of(database, owner)


def attachment(database: Database, id: str, n: int, viewer: Viewer = OWNER) -> tuple[Document, Iterator[bytes]] | None:
    """The nth attachment (from 0) as `messages/ID` lists them: what is said of it there, and its decoded octets."""
    found = message(database, id, viewer)
    owner = owner_of(database, id, viewer)
    if found is None or owner is None or not 0 <= n < len(found["attachments"]):
        return None
    return found["attachments"][n], decoded_attachment(octets_of(database, owner), n)


def owner_of(database: Database, id: str, viewer: Viewer, whole: bool = True) -> str | None:
    """Who owns the octets of a message that the viewer sees; with `whole` None where not all of them are kept."""
    with database.reading() as connection:
        owner, account, complete = history.contents(connection, [id]).get(id, (None, "", False))
    return owner if viewer.sees(account) and (complete or not whole) else None


def octets_of(database: Database, owner: str) -> Iterator[bytes]:
    """No connection is held between two chunks: whoever reads them may be slow."""
    seq = 0
    while (data := _chunk(database, owner, seq)) is not None:
        yield data
        seq += 1


def _chunk(database: Database, owner: str, seq: int) -> bytes | None:
    with database.reading() as connection:
        return content.chunk(connection, owner, seq)


# --- why ---------------------------------------------------------------------------------------------------


def explain(database: Database, message_id: str, now: datetime, viewer: Viewer = OWNER) -> Document | None:
    """Why a message was or was not logged and what became of it; None where nothing is known under this Message-ID.

    The steps end with what is true `now` of its copies and entries, and since when.
    """
    bare = message_id.strip().removeprefix("<").removesuffix(">").strip()
    with database.reading() as connection:
        known = history.of_hash(connection, database.hash_id(bare), viewer.accounts)
        if known is None:
            return None
        delivery = log.delivery_documents(connection, known.message.id) if known.message is not None else []
    first = known.steps[0].at if known.steps else None
    logged, submitted = known.message, known.submitted
    at = submitted.begun_at if submitted else logged.at if logged is not None else first
    return {
        "message_id": bracketed(bare),
        "logged": logged is not None,
        "because": logged.because if logged is not None else submitted.because if submitted else "",
        "at": timestamp(at) if at else None,
        "account": submitted.account if submitted else logged.account if logged is not None else None,
        "state": logged.state if logged is not None else submitted.state if submitted else None,
        "delivery": delivery,
        "sent_copy": log.sent_copy_document(known.sent_copy),
        "steps": [
            *({"at": timestamp(each.at), "what": each.what, "detail": each.detail} for each in known.steps),
            *({"at": timestamp(at or now)} | each for at, each in _where_it_stands(known)),
        ],
    }


def _where_it_stands(known: history.History) -> Iterator[tuple[datetime | None, Document]]:
    """Each with the time since which it is so: of the newest step that tells of it; of a copy that is only owed, when
    it came to be."""
    if (row := known.spooled) is not None:
        yield row.since, _step(f"in the spool since {timestamp(row.since)}: {row.state}", row.error)
    elif (copy := known.sent_copy) is not None:
        detail = {
            "waiting": f"looked for at {timestamp(copy.due)} the next time",
            "present": f"{copy.copies} in {copy.folder}, filed by {copy.by}",
        }.get(copy.state, "")
        yield _newest(known, "Sent cop"), _step(f"Sent copy: {copy.state.replace('_', ' ')}", copy.error or detail)
    if (dropbox := known.dropbox) is not None:
        detail = dropbox.error or f"to {dropbox.address}"
        yield _newest(known, "dropbox copy"), _step(f"dropbox copy: {dropbox.state}", detail)
    for entry in known.crm:
        yield _newest(known, f"CRM {entry.crm}"), _step(f"CRM {entry.crm}: {entry.state}", entry.error or "")


def _newest(known: history.History, words: str) -> datetime | None:
    """When the newest step was that has these words; else when the message was taken, or found."""
    told = [each.at for each in known.steps if words in each.what]
    owed = [each.at for each in known.steps if each.what in ("taken by the provider", "found in the mailbox")]
    return max(told or owed, default=None)


def _step(what: str, detail: str) -> Document:
    return {"what": what, "detail": detail}


# --- the daemon ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account's connection as the journal knows it; `last_seen` is when the mailbox last answered; `connections`
    are those to its IMAP server."""

    address: str
    condition: Condition
    last_seen: datetime | None = None
    connections: Connections | None = None


@dataclass(frozen=True, slots=True)
class DaemonState:
    """What only the running daemon knows. `listening` maps a listener's name to host:port; `config_problem` is why
    the newest configuration was not taken, None where it was; `not_listening` says of each listener that is wanted and
    not open why, `no_room` how little is free where the records lie, None where it is enough."""

    version: str
    started_at: datetime
    listening: Mapping[str, str]
    accounts: Sequence[AccountState]
    config_problem: str | None = None
    not_listening: Mapping[str, str] = field(default_factory=dict)
    no_room: str | None = None


def status(database: Database, state: DaemonState, now: datetime) -> Document:
    with database.reading() as connection:
        copies = sent_copies.waiting_by_account(connection)
        crm = outbox.waiting_by_account(connection)
        spooled: dict[str, list[Document]] = defaultdict(list)
        for mail in spool.every(connection):
            spooled[mail.account].append(spool_document(mail))
        owed: dict[str, list[Document]] = defaultdict(list)
        for standing in ledger.standings(connection):
            crm[standing.account] = crm.get(standing.account, 0) + standing.waiting + standing.failed
            owed[standing.account].append(crm_document(standing))
        unknown: dict[str, list[Document]] = defaultdict(list)
        for row in history.unsettled(connection, now - KEPT_UNKNOWN):
            unknown[row.account].append(_unknown_document(row))
        failed: dict[str, list[Document]] = defaultdict(list)
        for each in given_up_documents(connection, now):
            failed[each.pop("account")].append(each)
        sent = {each.address: mailboxes.fact(connection, each.address, "sent_folder") for each in state.accounts}
        earlier = {each.address: earlier_document(connection, each.address) for each in state.accounts}
    return {
        "daemon": {
            "version": state.version,
            "started_at": timestamp(state.started_at),
            "uptime": round((now - state.started_at).total_seconds()),
            "listening": dict(state.listening),
            "not_listening": dict(state.not_listening),
            "no_room": state.no_room,
            "config_problem": state.config_problem,
        },
        "accounts": [
            _account_document(each)
            | {
                "waiting": {
                    "sent_copies": copies.get(each.address, 0),
                    "crm": crm.get(each.address, 0),
                    "spool": sum(one["state"] != spool.SpoolState.FAILED for one in spooled[each.address]),
                },
                "crm": owed.get(each.address, []),
                "unknown": unknown.get(each.address, []),
                "given_up": failed.get(each.address, []),
                "spool": spooled[each.address],
                "sent_folder": sent[each.address],  # None until the mailbox was looked at
            }
            | earlier[each.address]
            for each in state.accounts
        ],
    }


def accounts(state: DaemonState, viewer: Viewer = OWNER) -> Document:
    return {"accounts": [_account_document(each) for each in state.accounts if viewer.sees(each.address)]}


def _account_document(account: AccountState) -> Document:
    condition = account.condition
    return {
        "address": account.address,
        "state": str(condition.state),
        "since": timestamp(condition.since),
        "because": condition.because,
        "evidence": condition.evidence,
        "sentence": condition.sentence,
        "cure": condition.cure or None,  # the one command; None where nothing is to be done, or only time heals
        "last_seen": timestamp(account.last_seen) if account.last_seen else None,
    } | ({} if account.connections is None else _connections_document(account.connections))


def _connections_document(standing: Connections) -> Document:
    return {
        "connections": {"clients": standing.clients, "watcher": standing.watcher, "cap": standing.cap},
        "watching": standing.told,
    }


def crm_document(standing: ledger.Standing) -> Document:
    return {
        "name": standing.crm,
        "waiting": standing.waiting,
        "failed": standing.failed,
        "because": standing.because,
        "erasures": standing.erasures,
        "not_erased": standing.not_erased,
        "refused": standing.refused,  # it does not let us in
        "sentence": crm_entry.sentence(
            standing.crm, standing.failed, standing.waiting, standing.erasures, standing.because
        ),
        "cure": crm_entry.cure(standing.account, standing.crm, standing.failed, standing.not_erased, standing.refused)
        or None,
    }


def lately(now: datetime) -> str:
    """The first id that counts as given up lately."""
    return str(ULID.from_datetime(now - LATELY))


def given_up_documents(connection: sa.Connection, now: datetime) -> list[Document]:
    """Of each account its copies of each kind that were given up: how many, why, in one sentence, and the command that
    cures it."""
    found = []
    for each in given_up.failures(connection, lately(now)):
        trouble = record_troubles.given_up(each.what, each.account, each.count, each.error)
        told = {"what": each.what, "account": each.account, "count": each.count, "error": each.error}
        found.append(told | {"sentence": trouble.sentence, "cure": trouble.cure})
    return found


def spool_document(row: spool.Waiting) -> Document:
    return {
        "id": row.id,
        "account": row.account,
        "state": row.state,
        "since": timestamp(row.since),
    }


def _unknown_document(row: history.Unsettled) -> Document:
    return {
        "id": row.id,
        "message_id": bracketed(row.message_id) if row.message_id else None,
        "since": timestamp(row.begun_at),
        "why": row.why,
        "looked_at": timestamp(row.looked_at) if row.looked_at else None,
    }
