"""Answers that were read before the message that they answer was on record, found again where they lie.

What a person sends from another device is known from its copy in Sent alone; the answer may have been read before that
copy was. So is an answer to an answer that was found late, and one that names an id which a provider gave and which we
learn from the copy. Whoever makes a message or a name of it known owes a look, in the same transaction
(`store.late_looks`); here it is done: the fields that name messages are read once more, of what came since that message
was sent, and what names it goes the way of new mail.

Why this way: to find such answers in our own records, something of every untracked message would have to be kept. And
why the server is not simply asked for them: some servers search no fields, some only after a while. Where there is much
to read it is asked all the same, if it finds what we know is there.

A look gives way: a few folders at a time, and new mail is read in between. It begins anew after a crash, and the log
takes nothing twice.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import structlog

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.journal.late_looks import LateLook
from proxyd.provider.imap import Connection
from proxyd.rules.late_answers import LONGEST, SKEW
from proxyd.rules.threads import id_key
from proxyd.rules.watched_folders import Role, WatchedFolder
from proxyd.watcher.batch import Batch, batches
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.positions import NAMES, READ_FROM
from proxyd.watcher.session import Session
from proxyd.workers import Clock

log = structlog.get_logger()

TOGETHER = 50  # messages whose answers one look is for
FOLDERS = 20  # that one turn looks into; most were not read since, and need no look
MANY = 2000  # messages from which on the server is asked first
NEWEST = 100  # of them, by which it is told whether the server finds what it is asked for
AT_ONCE = 20  # ids in one SEARCH: a line has to stay short
AGAIN = 60.0  # seconds until the next look, where the server withheld something

FIELDS = frozenset({"In-Reply-To", "References"})
FIRST = (Role.INCOMING, Role.SENT, Role.JUNK)  # whoever answers lately is in INBOX, the first of its role


class LateAnswers:
    """One account's. It outlives the connections."""

    def __init__(self, account: Account, journal: Journal, clock: Clock, reading: CatchUp) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._reading = reading
        self._looks: Sequence[LateLook] = ()  # under way
        self._left: list[WatchedFolder] = []  # that they are still to go through
        self._withheld = False  # they will have to go through them once more
        self._not_before = -math.inf  # on the clock's monotonic scale

    @property
    def due(self) -> float:
        """When there is to be a turn, whatever else happens; on the clock's monotonic scale."""
        return self._not_before if self._not_before > self._clock.monotonic() else math.inf

    async def turn(self, session: Session, folders: Sequence[WatchedFolder]) -> bool:
        """Look into some of the folders, if there is anything to look for. True: others may be open than before, and
        there may be more to do."""
        if self._clock.monotonic() < self._not_before:
            return False
        if not self._left:
            self._looks = await self._journal.late_looks.due(self._address, TOGETHER)
            self._left = await self._of_interest(folders) if self._looks else []
            self._withheld = False
        if not self._looks:
            return False
        keys = frozenset(id_key(id) for each in self._looks for id in each.ids)
        since = await self._since()
        for each in self._left[:FOLDERS]:
            self._withheld |= not await self._look_into(session, each, keys, since)
            del self._left[0]
        if not self._left and self._withheld:
            self._not_before = self._clock.monotonic() + AGAIN
        elif not self._left:
            await self._journal.late_looks.done(self._looks)
        return True

    async def _of_interest(self, folders: Sequence[WatchedFolder]) -> list[WatchedFolder]:
        """Those whose mail may be logged without being asked for, and in which anything was read since; Sent, which
        another connection may be reading now."""
        since = min(each.since for each in self._looks) - SKEW
        positions = await self._journal.positions(self._address)
        read = {name for name, each in positions.items() if each.read_at is None or each.read_at >= since}
        listed = self._account.watch.folders
        roles = FIRST if self._account.incoming != "nothing" else (Role.SENT,)
        of = [each for each in folders if each.role in roles and (each.name in read or each.role is Role.SENT)]
        there = [each for each in of if each.role is not Role.SENT or listed == "auto" or each.name in listed]
        return sorted(there, key=lambda each: FIRST.index(each.role))

    async def _since(self) -> date:
        """The first day of interest. What came before the account was read at all is for `proxyd backfill`."""
        began = await self._journal.learned(self._address, READ_FROM)
        moments = [min(each.since for each in self._looks), self._clock.now() - LONGEST]
        if began:
            moments.append(datetime.fromisoformat(began))
        return (max(moments) - timedelta(days=1)).date()  # SEARCH SINCE knows days alone, and each server its own

    async def _look_into(self, session: Session, folder: WatchedFolder, keys: frozenset[str], since: date) -> bool:
        """False: the server shows something that it does not deliver."""
        try:
            opened = await session.do(Connection.examine, folder.name)
        except Refused as error:
            log.info("a folder cannot be looked through", account=self._address, why=error.evidence)
            return True
        whole = True
        naming: list[int] = []
        uids = await self._to_read(session, since)
        async with contextlib.aclosing(batches(session, uids, NAMES)) as ahead:
            async for asked, given in ahead:
                batch, withheld = await self._reading.insist(session, opened, asked, given, NAMES)
                whole = whole and not withheld
                naming += await self._naming(batch, keys)
        if naming:
            sent, junk = folder.role is Role.SENT, folder.role is Role.JUNK
            whole = await self._reading.read_again(session, opened, naming, sent=sent, junk=junk) and whole
        return whole

    async def _naming(self, batch: Batch, keys: frozenset[str]) -> list[int]:
        """Those that name any of these, and are not in the log themselves."""
        uids = [uid for uid in batch.uids if not keys.isdisjoint(map(id_key, batch.ids[uid]))]
        there = await self._journal.recorded(self._address, [batch.heading(uid).message_id for uid in uids])
        return [uid for uid in uids if batch.heading(uid).message_id not in there]

    async def _to_read(self, session: Session, since: date) -> Sequence[int]:
        """Which messages in the open folder may answer."""
        uids = await session.do(Connection.uids_since, since)
        if len(uids) <= MANY:
            return uids
        newest = uids[-NEWEST:]
        named: set[int] = set()
        try:
            if not await self._searches(session, since, newest):
                return uids
            ids = [id for each in self._looks for id in each.ids]
            for start in range(0, len(ids), AT_ONCE):
                for field in sorted(FIELDS):
                    some = ids[start : start + AT_ONCE]
                    named.update(await session.do(Connection.uids_naming, since, field, some))
        except Refused:
            return uids
        return sorted(named.union(newest).intersection(uids))

    async def _searches(self, session: Session, since: date, known: Sequence[int]) -> bool:
        """Does the server find, by each of the two fields, one of these messages that names something in it?"""
        named: dict[str, tuple[int, str]] = {}
        for uid, octets in (await session.do(Connection.fields, known, NAMES)).items():
            said = read_heading(octets)
            for field, ids in (("In-Reply-To", said.in_reply_to), ("References", said.references)):
                if ids:
                    named[field] = (uid, ids[0])
        if named.keys() != FIELDS:
            return False
        for field, (uid, id) in named.items():
            if uid not in await session.do(Connection.uids_naming, since, field, [id]):
                return False
        return True
