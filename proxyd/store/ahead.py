"""Times that lie ahead of the clock: it was wrong when they were written, and is right again.

What is to be done at such a time would be done in an hour, where a machine took local time for UTC, or in years. So it
is due now.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from proxyd.model import CopyState, State
from proxyd.store.tables import crm_entries, crm_erasures, dropbox_copies, messages, sent_copies, spool, submissions

LONGEST = timedelta(hours=1)  # that one of our own waits lasts
LONGEST_ASKED = timedelta(days=1)  # that a CRM may ask to be left alone


def bring_back(connection: sa.Connection, now: datetime) -> set[str]:
    """Returns the accounts whose mailboxes are to be looked into for that."""
    waits = sent_copies.c.state == CopyState.WAITING
    taken, due = sent_copies.c.accepted_at > now, sent_copies.c.due > now + LONGEST
    unknown = sa.and_(submissions.c.state == State.UNKNOWN, submissions.c.begun_at > now)
    accounts = {
        *connection.scalars(sa.select(sent_copies.c.account).where(waits, sa.or_(taken, due)).distinct()),
        *connection.scalars(sa.select(submissions.c.account).where(unknown).distinct()),
    }
    connection.execute(sent_copies.update().where(waits, sa.or_(taken, due)).values(due=now))
    connection.execute(sent_copies.update().where(waits, taken).values(accepted_at=now))
    connection.execute(
        sent_copies.update().where(waits, sent_copies.c.appending_since > now).values(appending_since=now)
    )
    connection.execute(submissions.update().where(unknown).values(begun_at=now))
    connection.execute(spool.update().where(spool.c.due > now + LONGEST).values(due=now))
    connection.execute(spool.update().where(spool.c.since > now).values(since=now))
    connection.execute(spool.update().where(spool.c.trying_since > now).values(trying_since=now))
    copies = (dropbox_copies.c.state == "waiting", dropbox_copies.c.due > now + LONGEST)
    connection.execute(dropbox_copies.update().where(*copies).values(due=now))
    of_then = crm_entries.c.message.in_(sa.select(messages.c.id).where(messages.c.at > now))
    late = sa.and_(crm_entries.c.due > now, sa.or_(crm_entries.c.due > now + LONGEST_ASKED, of_then))
    connection.execute(crm_entries.update().where(crm_entries.c.state == "waiting", late).values(due=now))
    connection.execute(crm_erasures.update().where(crm_erasures.c.due > now + LONGEST_ASKED).values(due=now))
    return accounts
