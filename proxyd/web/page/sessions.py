"""Who may look at the page: one-time links, made on the control socket, and the sessions that they open.

Of links and sessions only keyed hashes are held: whoever reads them in memory or in the store cannot sign in with what
is found. A link works once and for minutes; a session ends when it was not used for days, or by itself after weeks, and
outlives the daemon. Both belong to a person: an account's address, or the owner, who sees everything.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from proxyd.store import sessions as rows
from proxyd.store.database import Database
from proxyd.store.sessions import Held
from proxyd.workers import Clock, start

LINK_LASTS = timedelta(minutes=10)
IDLE = timedelta(days=7)  # without a request, and a session is over
LONGEST = timedelta(days=30)
TOLD_APART = timedelta(hours=1)  # that a session was used is written down no more often
MOST = 1000  # of either; the oldest go first


@dataclass(frozen=True, slots=True)
class Session:
    """`person` is an account's address, None = the owner; `token` has to be in everything that is posted (CSRF)."""

    person: str | None
    token: str


class Sessions:
    """`now` gives the time. On the event loop's thread, but for `load`."""

    def __init__(self, now: Callable[[], datetime], database: Database) -> None:
        self._now = now
        self._database = database
        self._links: dict[str, Held] = {}
        self._sessions: dict[str, Held] = {}
        self._over: dict[str, asyncio.Event] = {}  # of those whose end somebody waits for

    def load(self) -> None:
        """Those of before the daemon was started. Blocks."""
        with self._database.reading() as connection:
            self._sessions = rows.every(connection)

    def link(self, person: str | None) -> str:
        """The secret part of a new one-time link."""
        return self._hold(self._links, person)[0]

    def open(self, link: str) -> str | None:
        """Use a link up: the cookie of a new session, None where the link is used, too old or none of ours."""
        if not self.good(link):
            return None
        person = self._links.pop(self._digest(link)).person
        cookie, digest = self._hold(self._sessions, person)
        self._write(rows.put, digest, self._sessions[digest])
        return cookie

    def good(self, link: str) -> bool:
        """Would it open a session?"""
        held = self._links.get(self._digest(link))
        return held is not None and self._now() - held.since <= LINK_LASTS

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie, which counts as used now; None where it is over or none of ours."""
        digest, now = self._digest(cookie), self._now()
        held = self._sessions.get(digest)
        if held is None:
            return None
        if now - held.used > IDLE or now - held.since > LONGEST:
            self._end(digest)
            return None
        if now - held.used > TOLD_APART:
            self._sessions[digest] = replace(held, used=now)
            self._write(rows.put, digest, self._sessions[digest])
        return Session(held.person, hmac.digest(cookie.encode(), b"proxyd posts", hashlib.sha256).hex())

    def close(self, cookie: str) -> None:
        self._end(self._digest(cookie))

    async def ended(self, cookie: str, clock: Clock) -> None:
        """Until the session is over: closed, or not used for too long, which waiting for this is not."""
        digest = self._digest(cookie)
        while (left := self._left(digest)) > timedelta(0):
            over = self._over.setdefault(digest, asyncio.Event())
            told, aged = start(over.wait(), "session's end"), start(clock.sleep(left.total_seconds()), "session's age")
            try:
                await asyncio.wait({told, aged}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
                aged.cancel()

    def _left(self, digest: str) -> timedelta:
        held, now = self._sessions.get(digest), self._now()
        return timedelta(0) if held is None else min(held.used + IDLE, held.since + LONGEST) - now

    def _end(self, digest: str) -> None:
        if self._sessions.pop(digest, None) is not None:
            self._write(rows.drop, digest)
        if (over := self._over.pop(digest, None)) is not None:
            over.set()

    def _hold(self, where: dict[str, Held], person: str | None) -> tuple[str, str]:
        now = self._now()
        while len(where) >= MOST:
            oldest = next(iter(where))
            if where is self._sessions:
                self._end(oldest)
            else:
                del where[oldest]
        secret = secrets.token_urlsafe(32)
        digest = self._digest(secret)
        where[digest] = Held(person, now, now)
        return secret, digest

    def _digest(self, secret: str) -> str:
        return self._database.hash_id(secret[:100])

    def _write(self, job: Callable[..., None], *given: Any) -> None:
        """Later, and by itself: what is held in memory is what counts while the daemon runs."""

        def write(connection: sa.Connection) -> None:
            job(connection, *given)

        start(self._database.write(write, durable=False), "session")
