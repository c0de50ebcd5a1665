"""New messages by the batch: their few fields as the server gave them, read only as far as somebody asks.

Nearly every message in a mailbox names nothing that is in the log, and of a hundred thousand that is found out from
the ids alone. They are picked out where the fields are fetched, in a worker, for the loop has others to serve; and
while one batch is looked at, the next is on its way.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence

from proxyd.formats.message import heading as read_heading
from proxyd.formats.message import plain_ids
from proxyd.model import Heading
from proxyd.provider.imap import Connection
from proxyd.watcher.session import Session

SIZE = 2000  # UIDs whose fields are asked for in one command, and that one commit covers
RUNS = 300  # of UIDs that follow on each other, in one command: RFC 7162 section 4 thinks of 8192 octets for a line


class Batch:
    """What was given of some messages, in order of UID. `ids` are all that each of them names, its own among them."""

    def __init__(self, fields: Mapping[int, bytes]) -> None:
        self._fields = dict(sorted(fields.items()))
        self._headings: dict[int, Heading] = {}
        self.ids: dict[int, Sequence[str]] = {}
        for uid, octets in self._fields.items():
            plain = plain_ids(octets)
            self.ids[uid] = plain if plain is not None else ids_of(self.heading(uid))

    @property
    def uids(self) -> list[int]:
        return list(self._fields)

    def heading(self, uid: int) -> Heading:
        if (there := self._headings.get(uid)) is None:
            there = self._headings[uid] = read_heading(self._fields[uid])
        return there

    def headings(self, uids: Iterable[int]) -> dict[int, Heading]:
        return {uid: self.heading(uid) for uid in uids}

    def named(self, uids: Iterable[int]) -> set[str]:
        """Every id that these name."""
        return set(itertools.chain.from_iterable(self.ids[uid] for uid in uids))

    def newest(self, end: int, count: int) -> dict[int, Heading]:
        """The `count` newest below the UID `end` that have a Message-ID."""
        below = ((uid, self.heading(uid)) for uid in reversed(self._fields) if uid < end)
        return dict(itertools.islice(((uid, each) for uid, each in below if each.message_id), count))

    def joined(self, fields: Mapping[int, bytes]) -> Batch:
        """With what was given later."""
        return Batch({**self._fields, **fields}) if fields else self


def ids_of(heading: Heading) -> list[str]:
    ids = (heading.message_id, *heading.original_ids, *heading.in_reply_to, *heading.references)
    return [id for id in ids if id]


def _read(connection: Connection, uids: Sequence[int], names: Sequence[str]) -> Batch:
    return Batch(connection.fields(uids, names))


async def batches(
    session: Session, uids: Sequence[int], names: Sequence[str]
) -> AsyncGenerator[tuple[Sequence[int], Batch], None]:
    """Which were asked for, and what the server gave of them."""
    asked = list(portions(uids))
    coming = session.begin(_read, asked[0], names) if asked else None
    try:
        for portion, following in itertools.zip_longest(asked, asked[1:]):
            assert coming is not None
            batch = await coming
            if following is not None:
                coming = session.begin(_read, following, names)
            yield portion, batch
    finally:
        if coming is not None:
            coming.cancel()


def portions(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    """At most SIZE of these ascending UIDs, and no more than fit into a command line that every server takes."""
    start = runs = 0
    for at, uid in enumerate(uids):
        runs += not (at > start and uid == uids[at - 1] + 1)
        if at - start == SIZE or runs > RUNS:
            yield uids[start:at]
            start, runs = at, 1
    if start < len(uids):
        yield uids[start:]
