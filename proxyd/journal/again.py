"""A message comes again that is logged already: what is known of it, and how its record is completed.

Bounded: looked at are incoming messages of the last month, each of them five times at most; each time leaves a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from proxyd.formats.message import heading as read_heading
from proxyd.journal.bodies import read_body
from proxyd.journal.finding import Arrived
from proxyd.model import Body, Heading
from proxyd.rules.again import Completes, LeftAlone, completes
from proxyd.store import content, ledger, sightings, submissions
from proxyd.store.database import Database

WITHIN = timedelta(days=30)
MOST = 5
COMPLETED = "came again, and completes it"
LEFT = "came again, and is left alone"


@dataclass(frozen=True, slots=True)
class LoggedBefore:
    """A record that a second sighting may complete; `size` is that of the octets it has now."""

    message: str
    heading: Heading
    size: int


@dataclass(frozen=True, slots=True)
class Judged:
    """`content` is what the record had when it was compared."""

    message: str
    content: str
    verdict: Completes | LeftAlone
    replaced: tuple[int, ...] = ()  # the numbers of attachments that are others now


def logged_before(
    connection: sa.Connection, account: str, ids: Sequence[str], now: datetime
) -> dict[str, LoggedBefore]:
    """By Message-ID."""
    found = {}
    for id, row in sightings.incoming(connection, account, ids, now - WITHIN).items():
        header = content.chunk(connection, row.content, 0)
        if header is not None and sightings.count(connection, row.message, (COMPLETED, LEFT)) < MOST:
            size = content.size(connection, row.content)
            found[id] = LoggedBefore(row.message, read_heading(header), size)
    return found


def judge(database: Database, message: str, comes: Body) -> Judged | None:
    """Blocking; None where there is no such record any more."""
    with database.reading() as connection:
        row = sightings.one(connection, message)
    if row is None:
        return None
    logged = row.body or read_body(database, row.content)
    after = [each.sha256 for each in comes.attachments]
    replaced = tuple(n for n, each in enumerate(logged.attachments) if after[n : n + 1] != [each.sha256])
    return Judged(message, row.content, completes(logged, comes), replaced)


def settle(connection: sa.Connection, arrived: Arrived, judged: Judged | None) -> str | None:
    """Complete the record, or leave it alone; its id where its octets are others now."""
    seen = arrived.seen
    if judged is None:
        content.drop(connection, arrived.id)
        return None
    if isinstance(judged.verdict, Completes):
        arrived.intake.finish(connection)
        if sightings.replace(connection, judged.message, judged.content, arrived.id):
            content.drop(connection, judged.content)
            submissions.step(connection, judged.message, seen.at, COMPLETED, judged.verdict.because)
            ledger.owe_attachments(connection, judged.message, judged.replaced, seen.at)
            return judged.message
    content.drop(connection, arrived.id)
    submissions.step(connection, judged.message, seen.at, LEFT, judged.verdict.because)
    return None


def leave_alone(connection: sa.Connection, message: str, at: datetime, because: str) -> None:
    submissions.step(connection, message, at, LEFT, because)
