"""What came of a request that may come twice: its Idempotency-Key, and the submission that it began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from proxyd.store.tables import idempotency_keys


@dataclass(frozen=True, slots=True)
class Remembered:
    """`fingerprint` is a keyed hash of what was asked; `submission` the newest that came of it."""

    fingerprint: str
    submission: str


def get(connection: sa.Connection, asker: str, key: str) -> Remembered | None:
    where = (idempotency_keys.c.asker == asker, idempotency_keys.c.key == key)
    row = connection.execute(sa.select(idempotency_keys).where(*where)).one_or_none()
    return None if row is None else Remembered(row.fingerprint, row.submission)


def put(connection: sa.Connection, asker: str, key: str, what: Remembered, at: datetime) -> None:
    """Remember it, in place of what was remembered before."""
    where = (idempotency_keys.c.asker == asker, idempotency_keys.c.key == key)
    values = {"fingerprint": what.fingerprint, "submission": what.submission, "at": at}
    if not connection.execute(idempotency_keys.update().where(*where).values(values)).rowcount:
        connection.execute(idempotency_keys.insert(), {"asker": asker, "key": key} | values)


def forget(connection: sa.Connection, before: datetime) -> None:
    connection.execute(idempotency_keys.delete().where(idempotency_keys.c.at < before))
