"""Who may look at the page: one-time links, made on the control socket, and the sessions that they open.

Of links and sessions only hashes are held: whoever reads this memory's dump, or later the store, cannot sign in with
what is found there. A link works once and for minutes; a session ends when it was not used for days, or by itself
after weeks. Both belong to a person: an account's address, or the owner, who sees everything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LINK_LASTS = timedelta(minutes=10)
IDLE = timedelta(days=7)  # without a request, and a session is over
LONGEST = timedelta(days=30)
MOST = 1000  # of either; the oldest go first

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Session:
    """`person` is an account's address, None = the owner; `token` has to be in everything that is posted (CSRF)."""

    person: str | None
    token: str


@dataclass(frozen=True, slots=True)
class _Held:
    person: str | None
    since: datetime
    used: datetime


class Sessions:
    """`now` gives the time."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._links: dict[bytes, _Held] = {}
        self._sessions: dict[bytes, _Held] = {}

    def link(self, person: str | None) -> str:
        """The secret part of a new one-time link."""
        return self._hold(self._links, person)

    def open(self, link: str) -> str | None:
        """Use a link up: the cookie of a new session, None where the link is used, too old or none of ours."""
        if not self.good(link):
            return None
        return self._hold(self._sessions, self._links.pop(_hash(link)).person)

    def good(self, link: str) -> bool:
        """Would it open a session?"""
        held = self._links.get(_hash(link))
        return held is not None and self._now() - held.since <= LINK_LASTS

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie, which counts as used now; None where it is over or none of ours."""
        key, now = _hash(cookie), self._now()
        held = self._sessions.get(key)
        if held is None:
            return None
        if now - held.used > IDLE or now - held.since > LONGEST:
            del self._sessions[key]
            return None
        self._sessions[key] = replace(held, used=now)
        return Session(held.person, hmac.digest(cookie.encode(), b"proxyd posts", "sha256").hex())

    def close(self, cookie: str) -> None:
        self._sessions.pop(_hash(cookie), None)

    def _hold(self, where: dict[bytes, _Held], person: str | None) -> str:
        now = self._now()
        while len(where) >= MOST:
            del where[next(iter(where))]
        secret = secrets.token_urlsafe(32)
        where[_hash(secret)] = _Held(person, now, now)
        return secret


def _hash(secret: str) -> bytes:
    """A plain hash: 256 random bits need no salt and no slowness."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
