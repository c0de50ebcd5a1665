"""Messages' octets, in chunks: chunk 0 is the header section with its blank line, the body follows.

Kept in the store's own file, not beside it: what a submission needs to survive a crash is then one commit, and there
is no second thing to encrypt, to sync or to leave behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from proxyd.store import prepared
from proxyd.store.prepared import Prepared
from proxyd.store.tables import chunks, messages, submissions

CHUNK = 256 * 1024  # octets

_INSERT = prepared.insert(chunks, "owner", "seq", "data")
_CHUNK = Prepared(
    sa.select(chunks.c.data).where(chunks.c.owner == sa.bindparam("owner"), chunks.c.seq == sa.bindparam("seq"))
)
_DROP = Prepared(chunks.delete().where(chunks.c.owner == sa.bindparam("of")))


def put(connection: sa.Connection, owner: str, first: int, parts: Sequence[bytes]) -> None:
    """Keep `parts` as the chunks `first`, `first` + 1, … of `owner`."""
    _INSERT.run_each(connection, ({"owner": owner, "seq": first + n, "data": part} for n, part in enumerate(parts)))


def replace(connection: sa.Connection, owner: str, seq: int, data: bytes) -> None:
    connection.execute(chunks.update().where(chunks.c.owner == owner, chunks.c.seq == seq).values(data=data))


def count(connection: sa.Connection, owner: str) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(chunks).where(chunks.c.owner == owner)) or 0


def chunk(connection: sa.Connection, owner: str, seq: int) -> bytes | None:
    value: bytes | None = _CHUNK.value(connection, {"owner": owner, "seq": seq})
    return value


def octets(connection: sa.Connection, owner: str) -> Iterator[bytes]:
    """All chunks in order, one in memory at a time."""
    seq = 0
    while (data := chunk(connection, owner, seq)) is not None:
        yield data
        seq += 1


def size(connection: sa.Connection, owner: str) -> int:
    return connection.scalar(sa.select(sa.func.sum(sa.func.length(chunks.c.data))).where(chunks.c.owner == owner)) or 0


def drop(connection: sa.Connection, owner: str) -> None:
    _DROP.run(connection, {"of": owner})


def drop_orphans(connection: sa.Connection) -> int:
    """What was arriving when the daemon was killed belongs to no submission: its client never got an answer."""
    owned = sa.union_all(
        sa.select(submissions.c.id).where(sa.not_(submissions.c.emptied)), sa.select(messages.c.content)
    )
    return connection.execute(chunks.delete().where(chunks.c.owner.not_in(owned))).rowcount
