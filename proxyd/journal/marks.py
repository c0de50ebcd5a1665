"""Which logged messages are still to get the keyword that shows it (`model.LOGGED_MARK`), where they lie.

Owed in the transaction that logs the message, so that a kill in between forgets none; held in memory beside, for the
watcher asks whenever it has a folder open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from proxyd.config import Account
from proxyd.model import Found, Source
from proxyd.store import marks
from proxyd.store.database import Database
from proxyd.workers import Clock

PATIENCE = timedelta(days=1)  # for a mail client to take notice of what is to be marked

Folder = tuple[str, int]  # its name and UIDVALIDITY


class Marks:
    """Every account's."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._owed: dict[str, dict[Folder, dict[int, datetime]]] = defaultdict(lambda: defaultdict(dict))
        self._news: set[str] = set()  # accounts in which more is owed than was told

    def open(self, connection: sa.Connection) -> None:
        """What an earlier run owed."""
        for each in marks.every(connection):
            self._owed[each.account][each.folder, each.uidvalidity].setdefault(each.uid, each.at)

    def of(self, account: str) -> Mapping[Folder, Mapping[int, datetime]]:
        """By folder, the UIDs of what is to be marked, and since when."""
        return self._owed.get(account, {})

    def take_news(self, account: str) -> bool:
        """Is there more than the last time that this was asked?"""
        news = account in self._news
        self._news.discard(account)
        return news

    async def owe(self, account: str, found: Sequence[Found]) -> None:
        """These are in the log already."""
        owed = [each for each in found if each.uid not in self.of(account).get((each.folder, each.uidvalidity), {})]
        if not owed:
            return
        now = self._clock.now()

        def job(connection: sa.Connection) -> None:
            for each in owed:
                marks.owe(connection, account, each, now)

        await self._database.write(job)
        self.committed(account, owed)

    def committed(self, account: str, found: Iterable[Found]) -> None:
        """These stand in the table by now."""
        now = self._clock.now()
        for each in found:
            self._owed[account][each.folder, each.uidvalidity].setdefault(each.uid, now)
            self._news.add(account)

    async def done(self, account: str, folder: Folder, uids: Collection[int]) -> None:
        """They are marked, or never will be. Not durable by itself: were it lost, they would be looked at once more."""
        owed = self._owed[account]
        for uid in uids:
            owed[folder].pop(uid, None)
        if not owed[folder]:
            del owed[folder]
        await self._database.write(lambda c: marks.done(c, account, *folder, list(uids)), durable=False)

    async def forget(self, account: str) -> None:
        """What was waited for too long."""
        since = self._clock.now() - PATIENCE
        for folder, waiting in list(self._owed[account].items()):
            if late := [uid for uid, at in waiting.items() if at <= since]:
                await self.done(account, folder, late)

    def tidy(self, connection: sa.Connection, now: datetime) -> None:
        """Of accounts that nobody watches any more."""
        marks.drop_older(connection, now - PATIENCE)


def to_be_marked(account: Account | None, found: Found, source: Source | None = None) -> bool:
    """Earlier mail is left as it is; what was forwarded lies nowhere."""
    wanted = account is not None and account.marking.flag_logged
    return wanted and source is not Source.BACKFILL and found.uid > 0
