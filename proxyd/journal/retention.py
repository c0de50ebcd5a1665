"""Once a day: what each account's `keep` says is kept no longer is let go of, a few messages at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime, timedelta

from proxyd.config import Account
from proxyd.store import retention
from proxyd.store.database import Database


async def let_go(database: Database, accounts: Iterable[Account], now: datetime) -> int:
    """Returns of how many messages something went."""
    gone = 0
    for account in accounts:
        bodies, attachments = (_before(each, now) for each in (account.keep.bodies, account.keep.attachments))
        if bodies is None and attachments is None:
            continue
        job = functools.partial(
            retention.expire, account=account.address, bodies_before=bodies, attachments_before=attachments
        )
        while portion := await database.write(job):
            gone += portion
    return gone


def _before(kept: float | str, now: datetime) -> datetime | None:
    """None where it is kept for ever."""
    return None if isinstance(kept, str) else now - timedelta(seconds=kept)
