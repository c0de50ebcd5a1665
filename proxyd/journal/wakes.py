"""Hints that there is something to do. The tables are the truth: losing every hint loses nothing but time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from proxyd.workers import Signal


class Wakes:
    """`copies(account)` is set when a Sent copy or a look for an unknown outcome became due, `outbox` when a dropbox is
    owed a copy, `spool` when a mail waits for the provider or a report on one is owed, `entries` when a CRM is owed
    something, `mended` when somebody says that a CRM's trouble is over, `late(account)` when something was logged, or
    is known by another name, that a report or an answer which was read before may be about. Whoever waits clears the
    event, then reads the tables."""

    def __init__(self) -> None:
        self._copies: dict[str, Signal] = defaultdict(Signal)
        self._late: dict[str, Signal] = defaultdict(Signal)
        self.outbox = asyncio.Event()
        self.spool = asyncio.Event()
        self.spool_reports = asyncio.Event()
        self.entries = asyncio.Event()
        self.mended = asyncio.Event()

    def copies(self, account: str) -> Signal:
        return self._copies[account]

    def late(self, account: str) -> Signal:
        return self._late[account]

    def copies_again(self, accounts: Iterable[str]) -> None:
        """Copies that were given up are due: in the Sent folders of these, to the CRMs' addresses of any."""
        for account in accounts:
            self.copies(account).set()
        self.outbox.set()
