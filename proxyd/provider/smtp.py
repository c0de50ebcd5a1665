"""Submitting mail: one account's warm connections to its provider (RFC 6409).

Why this way: a new connection costs ten round trips, a warm one costs one or two. So a connection is opened as soon as
a client shows up (`warm`), and kept for the next message. What may go wrong with kept connections is held here: one
that died unheard is replaced in silence, once, and only while nothing of the message can have arrived.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from proxyd.config import Server
from proxyd.formats.smtp_client import Offer, printable
from proxyd.model import Content, Envelope, HealthCause, HealthEvent, NotHandedOver, Outcome, Progress
from proxyd.provider.sign_in import SignIn
from proxyd.provider.smtp_door import Door, NotReady
from proxyd.provider.smtp_session import Limits, Session, Stale
from proxyd.provider.smtp_wire import uptime
from proxyd.provider.trace import Tap
from proxyd.workers import start

KEEP_FOR = 60.0  # seconds
REST = 60.0  # seconds after a refused sign-in before a message causes the next one
CROWDED_FOR = 60.0  # seconds that no further connection is opened after "too many connections"

__all__ = ["Limits", "Submitter"]


class Submitter:
    """One account's connections: at most `limit`, each kept `keep_for` seconds for the next message.

    `tls` may be None only where the server's `tls` is none. `secret` is asked at each sign-in. `on_health` hears of
    every event, those that an outcome carries included. Where the server refused the sign-in, `warm` rests until a
    message has signed in again: a person's account must not be locked by our eagerness.
    """

    def __init__(
        self,
        server: Server,
        user: str,
        secret: SignIn,
        tls: ssl.SSLContext | None,
        *,
        on_health: Callable[[HealthEvent], None],
        may_sign_in: Callable[[], bool] = lambda: True,
        ehlo_name: str = "[127.0.0.1]",
        keep_for: float = KEEP_FOR,
        limit: int = 8,
        limits: Limits | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._door = Door(server, user, secret, tls, ehlo_name, limits or Limits(), tap)
        self._on_health = on_health
        self._may_sign_in = may_sign_in
        self._keep_for = keep_for
        self._limit = limit
        self._offer: Offer | None = None
        self._idle: list[Session] = []  # the one used last is at the end
        self._expiry: dict[Session, asyncio.TimerHandle] = {}
        self._busy: set[Session] = set()
        self._coming: set[asyncio.Task[None]] = set()  # being opened, probed or tidied
        self._waiting: deque[asyncio.Future[Session]] = deque()
        self._crowded_until = 0.0
        self._refusal: NotReady | None = None
        self._refused_at = 0.0
        self._closed = False

    @property
    def offer(self) -> Offer | None:
        """What the server offered after TLS when it was last connected to; None before that."""
        return self._offer

    def warm(self) -> None:
        """Have a connection ready for the next message, without waiting: open one, or see that a kept one stands."""
        if self._closed or self._refusal or uptime() < self._crowded_until or len(self._coming) > len(self._waiting):
            return
        if not self._idle:
            self._open_one()
        elif not self._idle[-1].sure:
            session = self._take_idle()
            if session is None:
                self._open_one()
            else:
                self._come(self._probe(session), "smtp probe")

    def leave_alone(self, event: HealthEvent) -> None:
        """Before the first sign-in: it was refused when the daemon ran last. Nothing is tried until `may_sign_in`, or
        `sign_in` is called."""
        self._refusal = NotReady(event.cause, event.evidence)
        self._refused_at = -REST

    def sign_in(self) -> None:
        """See whether signing in works; what comes of it is told by `on_health`."""
        if not self._idle and not self._coming:
            self._open_one()

    def let_go(self) -> None:
        """The machine has slept, or its network is another: kept connections are not trusted any more."""
        while self._idle:
            self._drop(self._idle[0])

    async def submit(self, envelope: Envelope, content: Content, progress: Progress | None = None) -> Outcome:
        """Hand one message over. What a server or a network does is an outcome; what `content` raises is raised,
        and what `progress.begins` raises, and then nothing was sent."""
        try:
            session = await self._take()
            try:
                return await self._send(session, envelope, content, progress)
            except Stale:
                self._drop_doubtful()
                session = await self._take(fresh=True)
                return await self._send(session, envelope, content, progress)
        except NotReady as error:
            return NotHandedOver(error.why, error.event, error.reply)

    async def close(self) -> None:
        """No new messages, kept connections end. A message on its way is not disturbed."""
        self._closed = True
        while (session := self._take_idle()) is not None:
            session.wire.close(b"QUIT\r\n")
        for task in tuple(self._coming):
            task.cancel()
        if self._coming:
            await asyncio.wait(self._coming)
        self._fail_waiting(NotReady(HealthCause.UNREACHABLE, "proxyd is stopping"))

    # --- one message

    async def _send(self, session: Session, envelope: Envelope, content: Content, progress: Progress | None) -> Outcome:
        try:
            if progress is not None:
                await progress.begins()
            outcome = await session.send(envelope, content, progress)
        finally:
            self._busy.discard(session)
            self._put_back(session)
        if isinstance(outcome, NotHandedOver):
            self._on_health(outcome.event)
        return outcome

    def _put_back(self, session: Session) -> None:
        if self._closed or not session.usable:
            session.wire.close(b"QUIT\r\n")
            self._open_for_waiting()
        elif session.untidy:
            self._come(self._tidy(session), "smtp reset")
        else:
            self._ready(session)

    # --- who gets which connection

    async def _take(self, *, fresh: bool = False) -> Session:
        """A ready connection, else one that is coming. Raises NotReady."""
        if self._closed:
            raise NotReady(HealthCause.UNREACHABLE, "proxyd is stopping")
        session = None if fresh else self._take_idle()
        if session is not None:
            self._busy.add(session)
            return session
        if self._refusal is not None and (uptime() - self._refused_at < REST or not self._may_sign_in()):
            raise self._refusal
        turn: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._open_for_waiting()
        try:
            return await turn
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def _give_up(self, turn: asyncio.Future[Session]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self._busy.discard(turn.result())
            self._put_back(turn.result())

    def _take_idle(self) -> Session | None:
        """The kept connection used last, if one still stands and is not too old (the machine may have slept)."""
        while self._idle:
            session = self._idle.pop()
            self._expiry.pop(session).cancel()
            session.wire.on_unasked = None
            if session.usable and uptime() - session.wire.heard_at <= self._keep_for:
                return session
            session.wire.close(b"QUIT\r\n")
        return None

    def _ready(self, session: Session) -> None:
        """Give a usable connection to who waited longest, else keep it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                session.kept = False  # it was heard just now
                self._busy.add(session)
                turn.set_result(session)
                return
        session.kept = True
        session.wire.on_unasked = lambda: self._drop(session)
        self._expiry[session] = asyncio.get_running_loop().call_later(self._keep_for, self._drop, session)
        self._idle.append(session)

    def _drop(self, session: Session) -> None:
        if session in self._idle:
            self._idle.remove(session)
            self._expiry.pop(session).cancel()
        session.wire.on_unasked = None
        session.wire.close(b"QUIT\r\n")

    def _drop_doubtful(self) -> None:
        for session in [session for session in self._idle if not session.sure]:
            self._drop(session)

    def _fail_waiting(self, error: Exception) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    # --- connections that are coming

    def _open_for_waiting(self) -> None:
        while len(self._coming) < len(self._waiting) and self._open_one():
            pass

    def _open_one(self) -> bool:
        """Begin to open a connection, unless there are as many as there may be. An idle one makes room."""
        in_use = len(self._busy) + len(self._coming)
        crowded = in_use > 0 and uptime() < self._crowded_until
        if self._closed or crowded or in_use >= self._limit:
            return False
        if in_use + len(self._idle) >= self._limit:
            self._drop(self._idle[0])
        self._come(self._open(), "smtp connect")
        return True

    def _come(self, coming: Coroutine[Any, Any, None], name: str) -> None:
        task = start(coming, name)
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    def _arrived(self) -> None:
        """The task that runs now brings nothing further."""
        task = asyncio.current_task()
        if task is not None:
            self._coming.discard(task)

    async def _open(self) -> None:
        try:
            session = await self._door.open()
        except NotReady as error:
            self._arrived()
            self._not_opened(error)
        except Exception as error:
            self._fail_waiting(RuntimeError(f"opening a connection failed: {type(error).__name__}"))
            raise
        else:
            self._arrived()
            self._refusal = None
            self._offer = session.offer
            self._ready(session)
            self._on_health(HealthEvent(HealthCause.SIGNED_IN, "SMTP", printable(session.welcome.text)))

    def _not_opened(self, error: NotReady) -> None:
        """Who waits is told, unless the server only finds our connections too many: then the others will do."""
        if error.event.cause in (HealthCause.SIGN_IN_REFUSED, HealthCause.ACCESS_REVOKED):
            self._refusal, self._refused_at = error, uptime()
        if error.event.cause is HealthCause.THROTTLED:
            self._crowded_until = uptime() + CROWDED_FOR
        if error.event.cause is not HealthCause.THROTTLED or not (self._busy or self._coming):
            self._fail_waiting(error)
        self._on_health(error.event)

    async def _probe(self, session: Session) -> None:
        """Before the message comes, see that the kept connection stands; replace it where it does not."""
        if await self._answers(session, session.probe):
            self._ready(session)
        elif not self._waiting:
            self._open_one()

    async def _tidy(self, session: Session) -> None:
        if await self._answers(session, session.tidy):
            self._ready(session)

    async def _answers(self, session: Session, ask: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the connection is good for another message; else it is closed."""
        try:
            good = await ask()
        except BaseException:
            session.wire.abort()
            raise
        self._arrived()
        if good and not self._closed:
            return True
        session.wire.close()
        self._open_for_waiting()
        return False
