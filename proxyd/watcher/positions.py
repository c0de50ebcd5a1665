"""Where reading a folder goes on, whatever the server did to its UIDs meanwhile.

A position counts as long as the folder's UIDVALIDITY is the same and its UIDs mean the same messages. They do not any
more where a server is restored from a backup: it gives the same UIDs anew, to other messages. That is seen by UIDNEXT,
or, where it has passed our position by then, by the newest messages that were read: their UIDs now have other
Message-IDs (of which we keep keyed hashes). Then the UIDs say nothing, so reading goes on by time: two days before the
last look that saw everything. What was read before is read a second time, its few fields only, and the log takes
nothing twice. Where none of the newest messages is there any more nobody can tell, and reading goes on by time too.

A folder that is seen for the first time in an account that is read already may have been made while nobody looked, by
a rule that files answers into it: it is read from the last look on as well. The very first look at an account begins
at the end of every folder, and so does the first one after the positions were lost; that is remembered, for `status`
to say, because what lies before it is for `proxyd backfill`.

Some servers change UIDVALIDITY all the time. Such a folder is read again at once twice; from then on with growing
pauses, up to an hour, and never not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.model import Heading, MailboxPosition
from proxyd.provider.imap import Connection, Opened, Status
from proxyd.watcher.session import Session
from proxyd.workers import Clock

log = structlog.get_logger()

BACK = timedelta(days=2)  # how far before the last look reading begins where the UIDs say nothing
BEGINNING = timedelta(minutes=10)  # in which every folder of a new account is seen for the first time
AT_ONCE = 2  # times that a folder may lose its UIDs within a day before reading it again has to wait
PAUSE, LONGEST = 60.0, 3600.0  # seconds
DAY = 86400.0
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # when a folder was read whose reading begins

NAMES = ("MESSAGE-ID", "IN-REPLY-TO", "REFERENCES")  # the fields that are read of every message
ANCHORS = 5  # of the newest messages that were read the ids are known
GONE = "none of the newest messages is there"

READ_FROM = "read_from"  # under these names the journal remembers since when an account's mail is read without a gap,
LOST = "positions_lost"  # and that there was something before, which was lost


class Positions:
    """One account's."""

    def __init__(self, address: str, journal: Journal, clock: Clock) -> None:
        self._address = address
        self._journal = journal
        self._clock = clock
        self._one_first = asyncio.Lock()  # two connections look at a new account at once: to the second it is known
        self._opened: dict[str, Opened] = {}  # the answer to the newest EXAMINE of each folder that was looked at
        self._lost: dict[str, tuple[int, float]] = {}  # folder → how often its UIDs were lost, when last

    async def of(self, session: Session, opened: Opened) -> MailboxPosition | None:
        """Where to read on in the open folder; None = not now, it has lost its UIDs too often."""
        position = await self._journal.position(self._address, opened.name)
        if position is None:
            async with self._one_first:
                return await self._first(session, opened)
        # UIDNEXT is of the moment in which the folder was opened: while it stays open, we read on past it.
        fresh = self._opened.get(opened.name) is not opened
        back = fresh and 0 < opened.uidnext < position.uidnext
        if position.uidvalidity != opened.uidvalidity:
            why = "UIDVALIDITY changed"
        elif back:
            why = "UIDs went back"
        else:
            why = await self._moved_on(session, position) if fresh else ""
        if why and why != GONE:
            if not self._may_read_again(opened.name):
                return None
            log.warning("folder is read again", account=self._address, why=why, uidvalidity=opened.uidvalidity)
            position = replace(position, anchors=())
        if why:
            uid = await self._since(session, opened, position.seen_at or self._clock.now())
            position = await self._keep(opened, replace(position, uidvalidity=opened.uidvalidity, uidnext=uid))
        self._opened[opened.name] = opened
        return position

    async def _moved_on(self, session: Session, position: MailboxPosition) -> str:
        """Why the UIDs of a folder that was opened anew say nothing; "" where the newest that we read is there."""
        if not position.anchors:
            return ""
        fields = await session.do(Connection.fields, [uid for uid, _ in position.anchors], NAMES)
        there = {uid: self._journal.hash(read_heading(octets).message_id) for uid, octets in fields.items()}
        if any(there.get(uid, digest) != digest for uid, digest in position.anchors):
            return "UIDs were given anew"
        return "" if there else GONE

    def anchors(self, before: MailboxPosition, read: Mapping[int, Heading]) -> tuple[tuple[int, str], ...]:
        """What to know the folder by, after these were read too."""
        newest = sorted(uid for uid, each in read.items() if each.message_id)[-ANCHORS:]
        named = {uid: self._journal.hash(read[uid].message_id) for uid in newest}
        return tuple(sorted((dict(before.anchors) | named).items())[-ANCHORS:])

    async def begin(self, statuses: Mapping[str, Status]) -> None:
        """Folders that have no position yet, and how they stand: in an account that is looked at for the first time,
        reading begins at their end, of all with one commit, and none of them has to be opened for it."""
        async with self._one_first:
            now = self._clock.now()
            last = await self._journal.last_look(self._address)
            if last is not None and await self._journal.learned(self._address, READ_FROM):
                return  # those are new, and mail may lie in them
            await self._began(now, last)
            at = now if last is None else last
            told = {name: each for name, each in statuses.items() if each.uidvalidity and each.uidnext}
            positions = {
                name: MailboxPosition(each.uidvalidity, each.uidnext, at, read_at=NEVER) for name, each in told.items()
            }
            await self._journal.begin_positions(self._address, positions)

    async def _first(self, session: Session, opened: Opened) -> MailboxPosition:
        now = self._clock.now()
        last = await self._journal.last_look(self._address)
        began = await self._began(now, last)
        if last is None:
            uid = await self._end(session, opened)
        else:
            uid = await self._since(session, opened, last, not_before=began)
        self._opened[opened.name] = opened
        at = now if last is None else last
        return await self._keep(opened, MailboxPosition(opened.uidvalidity, uid, at, read_at=NEVER))

    async def _began(self, now: datetime, last: datetime | None) -> datetime:
        """Since when the account is read: now, where none of its folders was looked at, or nobody knows how far."""
        fact = await self._journal.learned(self._address, READ_FROM)
        began = datetime.fromisoformat(fact) if fact else None
        if began is not None and (last is not None or now - began < BEGINNING):
            return began
        if began is not None:
            log.warning("positions lost, reading begins anew", account=self._address)
            await self._journal.learn(self._address, LOST, now.isoformat())
        await self._journal.learn(self._address, READ_FROM, now.isoformat())
        return now

    async def _keep(self, opened: Opened, position: MailboxPosition) -> MailboxPosition:
        await self._journal.set_position(self._address, opened.name, position)
        return position

    async def _end(self, session: Session, opened: Opened) -> int:
        """Behind the last message; UIDNEXT, where the server says it."""
        return opened.uidnext or max(await session.do(Connection.uids_from, 1), default=0) + 1

    async def _since(
        self, session: Session, opened: Opened, seen_at: datetime, not_before: datetime | None = None
    ) -> int:
        """The first UID that came later than BACK before `seen_at`, but not before `not_before`."""
        at = max(seen_at - BACK, not_before or seen_at - BACK)
        # SEARCH SINCE knows days alone, and each server its own midnight.
        uids = await session.do(Connection.uids_since, (at - timedelta(days=1)).date())
        if not_before is not None:
            arrived = await session.do(Connection.arrived, uids)
            uids = [uid for uid in uids if (when := arrived.get(uid)) is None or when >= at]
        return min(uids, default=await self._end(session, opened))

    def _may_read_again(self, folder: str) -> bool:
        now = self._clock.monotonic()
        count, last = self._lost.get(folder, (0, now))
        if now - last > DAY:
            count = 0
        if count >= AT_ONCE and now - last < min(PAUSE * 2.0 ** (count - AT_ONCE), LONGEST):
            return False
        self._lost[folder] = (count + 1, now)
        return True
