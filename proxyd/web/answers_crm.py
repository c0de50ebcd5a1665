"""What CRMs lack, listed and decided on: tried again once somebody mended it, or left out."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from proxyd.store import ledger, undelivered
from proxyd.store.database import Database
from proxyd.store.ledger import Erasure
from proxyd.store.timeline import bracketed, timestamp
from proxyd.store.undelivered import Chosen, Undelivered
from proxyd.web.answers import Document, Unacceptable, crm_document
from proxyd.web.viewer import OWNER, May, Viewer, narrowed


def listed(
    database: Database, account: str | None = None, crm: str | None = None, limit: int = 50, viewer: Viewer = OWNER
) -> Document:
    """`{"entries", "erasures", "crm"}`: the refused messages first; contacts to be erased for the owner alone, for they
    name people who are forgotten here."""
    chosen = Chosen(narrowed(viewer.accounts, account), crm)
    with database.reading() as connection:
        rows = undelivered.listed(connection, chosen, limit)
        erasing = undelivered.erasures(connection, chosen) if viewer.may is May.OWNER else []
        standings = [
            each
            for each in ledger.standings(connection)
            if each.crm == (crm or each.crm) and (chosen.accounts is None or each.account in chosen.accounts)
        ]
    return {
        "entries": [_document(each) for each in rows],
        "erasures": [_erasure(each, error) for each, error in erasing],
        "crm": [{"account": each.account} | crm_document(each) for each in standings],
    }


def retry(
    database: Database,
    messages: list[str] | None,
    account: str | None,
    crm: str | None,
    now: datetime,
    viewer: Viewer = OWNER,
) -> Document:
    """They are due now. Raises Unacceptable for a message that is none of them."""
    with database.writing() as connection:
        chosen = _chosen(connection, messages, account, crm, viewer)
        entries, erasures = undelivered.again(connection, chosen, now)
    return {"entries": entries, "erasures": erasures}


def skip(
    database: Database,
    messages: list[str] | None,
    account: str | None,
    crm: str | None,
    waiting: bool,
    viewer: Viewer = OWNER,
) -> Document:
    """They are left out. Raises Unacceptable where nothing is named, and for a message that is none of them."""
    if messages is None and crm is None:
        raise Unacceptable("which are to be skipped? accepted: messages, or a CRM's name as crm")
    with database.writing() as connection:
        chosen = _chosen(connection, messages, account, crm, viewer)
        entries, erasures = undelivered.skip(connection, chosen, waiting or messages is not None)
    return {"entries": entries, "erasures": erasures}


def _chosen(
    connection: sa.Connection, messages: list[str] | None, account: str | None, crm: str | None, viewer: Viewer
) -> Chosen:
    accounts = narrowed(viewer.own, account)
    if messages is None:
        return Chosen(accounts, crm)
    found = []
    for said in messages:
        meant = undelivered.named(connection, said, accounts)
        if len(meant) != 1:
            kind = "no message" if not meant else "more than one message"
            raise Unacceptable(f"{kind} that a CRM lacks has the id {said!r}; accepted: an id of the list, or its end")
        found += meant
    return Chosen(accounts, crm, found)


def _document(row: Undelivered) -> Document:
    return {
        "id": row.message,
        "message_id": bracketed(row.message_id),
        "account": row.account,
        "crm": row.crm,
        "state": row.state,
        "error": row.error,
        "due": timestamp(row.due) if row.due else None,
        "attempts": row.attempts,
        "direction": row.direction,
        "date": timestamp(row.date),
        "subject": row.subject,
        "contacts": row.contacts,
    }


def _erasure(erasure: Erasure, error: str | None) -> Document:
    return {
        "account": erasure.account,
        "crm": erasure.crm,
        "address": erasure.address,
        "messages": len(erasure.remote_ids),
        "error": error,
        "due": timestamp(erasure.due) if erasure.due else None,
    }
