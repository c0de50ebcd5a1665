"""Which messages in the open folder are copies of what went through us: by their ids, else by their fingerprint.

Some clients and providers give a copy another Message-ID, some clients none, and some servers' search does not know the
field, or not yet. So ids are searched for first; where that finds nothing, the fields of what came lately are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proxyd.config import Account
from proxyd.formats.message import copy_fingerprint
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.journal.finding import DueCopy
from proxyd.model import FiledBy, Heading
from proxyd.provider.imap import Connection
from proxyd.rules import sent_copy as rules
from proxyd.watcher.session import Session

COPY_FIELDS = (
    "MESSAGE-ID", "X-MICROSOFT-ORIGINAL-MESSAGE-ID", "X-GOOGLE-ORIGINAL-MESSAGE-ID",
    "DATE", "FROM", "TO", "CC", "SUBJECT", "RECEIVED", "RETURN-PATH",
)  # fmt: skip
BATCH = 200  # UIDs whose fields are asked for in one command
NEWEST = 1000  # UIDs looked through where searching by Message-ID finds nothing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message in Sent that is a copy of ours, by its ids (`same_ids`) or by its fingerprint. `uploaded`: by the
    client, through us."""

    uid: int
    heading: Heading
    same_ids: bool
    uploaded: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(id for id in (self.heading.message_id, *self.heading.original_ids) if id)

    @property
    def filed_by(self) -> FiledBy:
        return FiledBy.CLIENT if self.uploaded else rules.who_filed(self.heading, self.same_ids)


class Looking:
    """One account's. Every method works on a session that has the folder open."""

    def __init__(self, account: Account, journal: Journal) -> None:
        self._address = account.address
        self._journal = journal
        self._hidden = [account.dropbox] if account.dropbox else []

    async def arrived(
        self, session: Session, headings: Mapping[int, Heading]
    ) -> dict[int, tuple[DueCopy, Candidate | None]]:
        """Those of these messages that are copies; None where the server gave no more of one that is."""
        ids = {uid: tuple(id for id in (each.message_id, *each.original_ids) if id) for uid, each in headings.items()}
        owned = await self._journal.copies.owned(self._address, {id for each in ids.values() for id in each})
        by_id = {uid: owned[id] for uid, each in ids.items() for id in each if id in owned}
        waiting = [copy for copy in await self._journal.copies.due(self._address) if copy.fingerprint]
        look = [uid for uid in headings if uid in by_id or waiting or not ids[uid]]
        found: dict[int, tuple[DueCopy, Candidate | None]] = {uid: (copy, None) for uid, copy in by_id.items()}
        for uid, octets in (await self.fields(session, look)).items():
            if uid in by_id:
                found[uid] = (by_id[uid], Candidate(uid, read_heading(octets), True))
            elif (copy := await self._alike(octets, waiting)) is not None:
                found[uid] = (copy, Candidate(uid, read_heading(octets), False))
        return found

    async def _alike(self, octets: bytes, waiting: Iterable[DueCopy]) -> DueCopy | None:
        """By what it says. Of a message that has no id this is all there is, so settled copies count too."""
        seen = copy_fingerprint(octets, hidden=self._hidden)
        found = next((copy for copy in waiting if copy.fingerprint == seen), None)
        if found is None and not read_heading(octets).message_id:
            return await self._journal.copies.alike(self._address, seen)
        return found

    async def of(self, session: Session, copy: DueCopy, *, every_way: bool = False) -> list[Candidate]:
        """Every copy of this message in the open folder. `every_way`: one may have no id, beside one that has."""
        await session.do(Connection.noop)  # or the server may not show what has just arrived
        return await self.find(session, copy.id, copy.ids, copy.fingerprint, copy.accepted_at, every_way=every_way)

    async def find(
        self,
        session: Session,
        id: str,
        ids: Sequence[str],
        fingerprint: str,
        since: datetime,
        *,
        every_way: bool = False,
    ) -> list[Candidate]:
        uids: set[int] = set()
        for each in ids:
            uids.update(await session.do(Connection.uids_of_id, each))
        found = await self._matching(session, sorted(uids), id, ids, fingerprint)
        if not found or every_way:
            day = since.astimezone(UTC).date() - timedelta(days=1)
            newest = (await session.do(Connection.uids_since, day))[-NEWEST:]
            others = [uid for uid in newest if uid not in {each.uid for each in found}]
            found += await self._matching(session, others, id, ids, fingerprint)
        return found

    async def _matching(
        self, session: Session, uids: Sequence[int], id: str, ids: Sequence[str], fingerprint: str
    ) -> list[Candidate]:
        fields = await self.fields(session, uids)
        headings = {uid: read_heading(octets) for uid, octets in sorted(fields.items())}
        named = {uid: (each.message_id, *each.original_ids) for uid, each in headings.items()}
        # Once the message is gone only hashes of its ids are left, which the journal compares.
        owned = await self._journal.copies.owned(self._address, {one for each in named.values() for one in each if one})
        found = []
        for uid, each in headings.items():
            owners = {owned[one].id for one in named[uid] if one in owned}
            if id in owners or any(one in ids for one in named[uid]):
                found.append(Candidate(uid, each, True))
            elif not owners and await self._says_the_same(fields[uid], each, id, fingerprint):
                found.append(Candidate(uid, each, False))
        return found

    async def _says_the_same(self, octets: bytes, heading: Heading, id: str, fingerprint: str) -> bool:
        seen = copy_fingerprint(octets, hidden=self._hidden)
        if fingerprint or heading.message_id:
            return seen == fingerprint
        alike = await self._journal.copies.alike(self._address, seen)
        return alike is not None and alike.id == id

    async def fields(self, session: Session, uids: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for start in range(0, len(uids), BATCH):
            found |= await session.do(Connection.fields, uids[start : start + BATCH], COPY_FIELDS)
        return found
