"""Reports that were read before what they are about was in the log: kept in mind for a while, and looked at again.

A bounce may be there within a second, before the Sent copy of a mail that another device has sent was read. Of such a
report is remembered where it lies and the keyed hashes of the ids that it returns, nothing else: until something with
one of these ids is logged, for three days at most. It is on record before the position behind it, so that a crash in
between forgets nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from proxyd.journal import LATE_REPORTS, Journal
from proxyd.provider.imap import Opened
from proxyd.workers import Clock

MOST = 50  # of one account; the newest
PATIENCE = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Late:
    folder: str
    uidvalidity: int
    uid: int
    hashes: tuple[str, ...]
    at: str  # ISO 8601: when it was read


class LateReports:
    """One account's."""

    def __init__(self, address: str, journal: Journal, clock: Clock) -> None:
        self._address = address
        self._journal = journal
        self._clock = clock

    async def keep(self, opened: Opened, unmatched: Mapping[int, Iterable[str]]) -> None:
        """By UID in the open folder, the ids that each report returns, none of which is in the log."""
        if not unmatched:
            return
        at = self._clock.now().isoformat()
        fresh = [
            Late(opened.name, opened.uidvalidity, uid, tuple(map(self._journal.hash, ids)), at)
            for uid, ids in unmatched.items()
        ]
        places = {(each.folder, each.uidvalidity, each.uid) for each in fresh}
        old = [each for each in self._kept() if (each.folder, each.uidvalidity, each.uid) not in places]
        await self._keep([*old, *fresh])

    async def due(self) -> list[Late]:
        """Those of which something is logged by now."""
        kept = self._kept()
        if not kept:
            return []
        there = await self._journal.logged_under(self._address, {hash for each in kept for hash in each.hashes})
        return [each for each in kept if not there.isdisjoint(each.hashes)]

    async def forget(self, done: Collection[Late]) -> None:
        if done:
            await self._keep([each for each in self._kept() if each not in done])

    def _kept(self) -> list[Late]:
        kept = json.loads(self._journal.known(self._address, LATE_REPORTS) or "[]")
        return [Late(**each | {"hashes": tuple(each["hashes"])}) for each in kept]

    async def _keep(self, reports: Iterable[Late]) -> None:
        since = self._clock.now() - PATIENCE
        recent = [each for each in reports if datetime.fromisoformat(each.at) > since][-MOST:]
        await self._journal.learn(self._address, LATE_REPORTS, json.dumps([asdict(each) for each in recent]))
