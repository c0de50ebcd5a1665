"""What only the records know of trouble: what was given up, what nobody knows the outcome of, what is new to us.

For `proxyd doctor` and the alerts; it blocks, as `answers` does.
"""

from __future__ import annotations

from datetime import datetime

from proxyd.journal import UNKNOWN_CAPABILITIES
from proxyd.journal.sending import KEPT_UNKNOWN
from proxyd.store import history, ledger, mailboxes, spool
from proxyd.store.database import Database
from proxyd.store.timeline import bracketed, timestamp
from proxyd.web.answers import Document, crm_document, given_up_documents, spool_document


def troubles(database: Database, now: datetime) -> Document:
    """`{"failed": […], "crm": […], "unknown": […], "spool": […], "capabilities": […]}`."""
    with database.reading() as connection:
        failed = given_up_documents(connection, now)
        unknown = history.unsettled(connection, now - KEPT_UNKNOWN)
        facts = mailboxes.every_fact(connection)
        standings = ledger.standings(connection)
        spooled = spool.every(connection)
    return {
        "failed": failed,
        "crm": [{"account": each.account} | crm_document(each) for each in standings],
        "unknown": [
            {
                "account": each.account,
                "message_id": bracketed(each.message_id) if each.message_id else each.id,
                "since": timestamp(each.begun_at),
                "why": each.why,
            }
            for each in unknown
        ],
        "spool": [spool_document(each) for each in spooled],
        "capabilities": [
            {"account": account, "words": value.split()}
            for (account, key), value in sorted(facts.items())
            if key == UNKNOWN_CAPABILITIES and value
        ],
    }
