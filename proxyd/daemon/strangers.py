"""Whom the `web` listener tells nothing without a token: a user of this machine who may use none of the accounts.

A person's own daemon on a machine that others use too: figures without names still say how many mails go and when. The
system service is everyone's, and its Prometheus has a user of its own: there nobody is a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxyd.config import Account
from proxyd.relay.peer import Admission, Ends, known_at_once, user_at
from proxyd.workers import Workers


class Strangers:
    """`accounts` gives the accounts as they are configured now."""

    def __init__(self, admission: Admission, accounts: Callable[[], Mapping[str, Account]], workers: Workers) -> None:
        self._admission = admission
        self._accounts = accounts
        self._workers = workers

    async def is_at(self, transport: Any) -> bool:
        """Whether a stranger is at the other end of this transport of Twisted's. Where it cannot be known who is: no,
        as for logging in to an account without `allow_uids`."""
        lists = [None, *(account.allow_uids for account in self._accounts().values())]
        if not all(self._admission.asks(listed) for listed in lists):
            return False
        ends = _ends(transport)
        uid = known_at_once(ends)
        if uid is None:
            uid = await self._workers.run(user_at, ends)
        return all(self._admission.refusal(listed, uid) for listed in lists)


def _ends(transport: Any) -> Ends:
    peer, own = transport.getPeer(), transport.getHost()
    return Ends((peer.host, peer.port), (own.host, own.port), lambda: bool(transport.connected))
