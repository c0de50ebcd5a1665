"""Copies that were given up, listed and decided on: tried again once what hindered them was mended, or left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.store import given_up as rows
from proxyd.store.database import Database
from proxyd.store.given_up import Chosen, GivenUp
from proxyd.store.timeline import bracketed, timestamp
from proxyd.web.answers import Document, Unacceptable, lately
from proxyd.web.viewer import OWNER, Viewer, narrowed


def listed(
    database: Database,
    account: str | None,
    what: str | None,
    limit: int,
    now: datetime,
    viewer: Viewer = OWNER,
) -> Document:
    """`{"copies": […]}`, the newest first. A colleague's are nobody else's business: where they went wrong is in the
    mailbox of one."""
    chosen = Chosen(narrowed(viewer.own, account), what, since=lately(now))
    with database.reading() as connection:
        return {"copies": [_document(each) for each in rows.listed(connection, chosen, limit)]}


def retry(
    database: Database,
    ids: list[str] | None,
    account: str | None,
    what: str | None,
    now: datetime,
    viewer: Viewer = OWNER,
    configured: Mapping[str, Account] = MappingProxyType({}),
) -> tuple[Document, list[str]]:
    """They are due now, at the CRM's addresses as the accounts are `configured` by now; also the accounts whose
    mailboxes are to be looked into. Raises Unacceptable for an id that is none of them."""
    dropboxes = {address: each.dropbox for address, each in configured.items() if each.dropbox}
    with database.writing() as connection:
        chosen = _chosen(connection, ids, account, what, now, viewer)
        return rows.again(connection, chosen, now, dropboxes)


def skip(
    database: Database,
    ids: list[str] | None,
    account: str | None,
    what: str | None,
    now: datetime,
    viewer: Viewer = OWNER,
) -> Document:
    """They are left out. Raises Unacceptable where nothing is named, and for an id that is none of them."""
    if ids is None and what is None:
        raise Unacceptable("which are to be skipped? accepted: copies, or what: sent_copies or dropbox")
    with database.writing() as connection:
        return dict(rows.leave_out(connection, _chosen(connection, ids, account, what, now, viewer), now))


def _chosen(
    connection: sa.Connection,
    ids: list[str] | None,
    account: str | None,
    what: str | None,
    now: datetime,
    viewer: Viewer,
) -> Chosen:
    accounts = narrowed(viewer.own, account)
    if ids is None:
        return Chosen(accounts, what, since=lately(now))
    found = []
    for said in ids:
        meant = rows.named(connection, said, accounts)
        if len(meant) != 1:
            kind = "no copy" if not meant else "more than one copy"
            raise Unacceptable(f"{kind} that was given up has the id {said!r}; accepted: an id of the list, or its end")
        found += meant
    return Chosen(accounts, what, found)


def _document(each: GivenUp) -> Document:
    return {
        "id": each.id,
        "what": each.what,
        "account": each.account,
        "message_id": bracketed(each.message_id) if each.message_id else None,
        "at": timestamp(each.at) if each.at else None,
        "error": each.error,
        "subject": each.subject,
    }
