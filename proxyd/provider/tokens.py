"""One account's tokens: where they lie, and how an access token is had from them.

Providers may give a new refresh token with each access token and let the old one end, so what comes is on the disk (or
in the keyring) before it is used, and the refresh token before it is kept until the new one has worked: a crash between
the two costs nobody their sign-in. One refresh is in flight at a time; who asks meanwhile waits for it. Who asks while
the sign-in server wants to be left alone (Retry-After) hears what it said, and it is not asked.

`keep_fresh` renews the access token before its time, so that a grant which was taken back shows although every
connection stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from proxyd.config import OAuth, read_secret
from proxyd.config.desktop_keyring import KeyringSilent
from proxyd.config.sealed_files import Seal, SealedElsewhere, read_sealed, write_sealed
from proxyd.errors import ConfigError, ProxydError, TryLater
from proxyd.formats.smtp_client import printable
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider.tls import client_context
from proxyd.provider.token_endpoint import AccessRevoked, Answer, TokenEndpoint, cause_of
from proxyd.rules import grants
from proxyd.rules.connection import SIGN_IN_SERVER
from proxyd.workers import Clock, Workers

T = TypeVar("T")

KEEPING_LIMIT = 60.0  # seconds that a keyring or a disk may take


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept. `before` is the refresh token that `refresh` came for, until `refresh` has worked itself.
    `expires_at` is in seconds since the epoch, by our own clock."""

    refresh: str
    before: str = ""
    access: str = ""
    expires_at: float = 0.0
    lifetime: float = 0.0


def text_of(kept: Kept) -> str:
    """One line, as it is kept."""
    return json.dumps(asdict(kept))


def read_kept(text: str, what: str) -> Kept:
    """Raises ConfigError; its text holds nothing of what was read."""
    try:
        return Kept(**{name: type_(json.loads(text)[name]) for name, type_ in _FIELDS.items()})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{what} cannot be read; agree anew: proxyd reconnect") from None


_FIELDS: dict[str, type] = {"refresh": str, "before": str, "access": str, "expires_at": float, "lifetime": float}


def first_kept(answer: Answer, now: float) -> Kept:
    """What the person's agreement gave. Raises ConfigError where no refresh token came with it."""
    if not answer.refresh:
        raise ConfigError(
            "the sign-in server gave no refresh token: it would have to ask you every hour. Ask for offline access "
            "(sign_in.oauth.scopes), or take the grant back at the provider and try again"
        )
    return Kept(answer.refresh, "", answer.access, now + answer.lifetime, answer.lifetime)


def store(oauth: OAuth, kept: Kept, address: str, seal: Seal) -> None:
    """Durable when it returns; in a file, enciphered by `seal`. Blocks. Raises ConfigError."""
    write_sealed(oauth.tokens, text_of(kept), what(address), seal)


def load(oauth: OAuth, address: str, seal: Seal, *, tidy: bool = False) -> Kept:
    """`tidy`: a file that is not enciphered yet is so from now on. Blocks. Raises ConfigError, with the cure where
    there are none."""
    try:
        text = read_sealed(oauth.tokens, what(address), seal, tidy=tidy)
    except (SealedElsewhere, KeyringSilent):
        raise  # agreeing anew would be no cure
    except ConfigError as error:
        raise ConfigError(f"{error}; or agree anew: proxyd reconnect {address}") from None
    return read_kept(text, what(address))


def what(address: str) -> str:
    return f"the tokens of {address}"


class Tokens:
    """Give an access token whenever somebody signs in. `clock` says what time it is."""

    def __init__(
        self,
        oauth: OAuth,
        address: str,
        endpoint: Callable[[], TokenEndpoint],
        workers: Workers,
        clock: Clock,
        seal: Seal,
        on_health: Callable[[HealthEvent], None] = lambda event: None,
    ):
        """`endpoint` is made in a worker: the client's secret may lie anywhere. `on_health` hears what the sign-in
        server's answers mean."""
        self._seal = seal
        self._oauth = oauth
        self._address = address
        self._endpoint = endpoint
        self._workers = workers
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._kept: Kept | None = None
        self._unkept: Kept | None = None
        self._refused = ""
        self._on_health = on_health
        self._failures = 0  # of asking the sign-in server
        self._failure: TryLater | None = None  # the last one
        self._patience: TryLater | None = None  # what the sign-in server said when it asked to be left alone
        self._patient_until = 0.0  # on the clock's monotonic scale

    async def access_token(self) -> str:
        """One that the provider should take. Raises AccessRevoked, TryLater, ConfigError."""
        async with self._turn():
            await self._keep()
            if self._kept is None or not self._fresh(self._kept):
                self._kept = await self._blocking(self._load)  # somebody may have agreed anew
            if not self._fresh(self._kept):
                self._kept = await self._asked_for(self._kept)
            return self._kept.access

    async def keep_fresh(self, jitter: Callable[[], float]) -> None:
        """Until cancelled: renew the access token ahead of need. `jitter` gives chance in [0, 1)."""
        failures = 0
        while True:
            try:
                wait, failures = await self._renewed(jitter()), 0
            except TryLater as error:
                wait, failures = grants.ask_again(failures, jitter(), error.after), failures + 1
            except ProxydError:
                wait = grants.PROBE
            await self._clock.sleep(wait)

    async def _renewed(self, jitter: float) -> float:
        """Seconds until the token is to be renewed; it has been now, where that was due."""
        async with self._turn():
            await self._keep()
            kept = await self._blocking(self._load)
            if grants.renewal_due(kept.expires_at, kept.lifetime, self._now()):
                kept = await self._asked_for(kept)
            self._kept = kept
            return grants.renew_after(kept.expires_at, kept.lifetime, self._now(), jitter)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One at a time. Where whom we waited for was told "later", so are we: were each to ask anew, the last would
        wait for minutes."""
        failures = self._failures
        async with self._one_at_a_time:
            if self._failure is not None and self._failures != failures:
                raise self._failure
            yield

    def afresh(self) -> None:
        """A person has mended something: ask, whatever was to be waited for."""
        self._patience = None

    @property
    def renewed_at(self) -> float | None:
        """When the access token in use was given, in seconds since the epoch; None before the first."""
        return self._kept.expires_at - self._kept.lifetime if self._kept is not None and self._kept.access else None

    def refused(self, access: str) -> None:
        """The provider did not take this one, whatever it lasts: the next is to be another."""
        self._refused = access

    def _fresh(self, kept: Kept) -> bool:
        if kept.access in ("", self._refused):
            return False
        return grants.fresh_enough(kept.expires_at, kept.lifetime, self._now())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _asked_for(self, kept: Kept) -> Kept:
        """A fresh token, and what came of asking is told. A server that is only unwell is nobody's trouble while the
        token that we have will do."""
        if self._patience is not None and (left := self._patient_until - self._clock.monotonic()) > 0:
            raise type(self._patience)(str(self._patience), left, self._patience.evidence)
        try:
            fresh = await self._refreshed(kept)
        except TryLater as error:
            self._failure, self._failures = error, self._failures + 1
            if (wait := grants.asked_for(error.after)) > 0:
                self._patience, self._patient_until = error, self._clock.monotonic() + wait
            if not self._fresh(kept):
                await self._tell(error)
            raise
        except ProxydError as error:
            await self._tell(error)
            raise
        self._patience = None
        self._on_health(HealthEvent(HealthCause.SIGNED_IN, SIGN_IN_SERVER))
        return fresh

    async def _tell(self, error: ProxydError) -> None:
        """It is heard before whoever asked for the token hears of it: so both say the same."""
        said = getattr(error, "evidence", "") or printable(str(error))
        self._on_health(HealthEvent(cause_of(error), SIGN_IN_SERVER, said))
        await asyncio.sleep(0)

    async def _refreshed(self, kept: Kept) -> Kept:
        endpoint = await self._blocking(self._endpoint)
        used = kept.refresh
        try:
            answer = await endpoint.of_refresh_token(used)
        except AccessRevoked:
            if not kept.before:
                raise
            used = kept.before  # the new one never worked: the old one may still
            answer = await endpoint.of_refresh_token(used)
        fresh = Kept(
            answer.refresh or used,
            used if answer.refresh and answer.refresh != used else "",
            answer.access,
            self._now() + answer.lifetime,
            answer.lifetime,
        )
        meanwhile = await self._blocking(self._load)
        if meanwhile.refresh != kept.refresh:
            return meanwhile  # the person agreed anew while we asked: theirs counts
        self._unkept = fresh
        await self._keep()
        return fresh

    async def _keep(self) -> None:
        """What came and could not be kept is not used before it is: it may be all that the provider still takes."""
        if self._unkept is not None:
            await self._blocking(store, self._oauth, self._unkept, self._address, self._seal)
            self._kept, self._unkept = self._unkept, None

    def _load(self) -> Kept:
        return load(self._oauth, self._address, self._seal, tidy=True)

    async def _blocking(self, call: Callable[..., T], *args: object) -> T:
        try:
            async with asyncio.timeout(KEEPING_LIMIT):
                return await self._workers.run(call, *args)
        except TimeoutError:
            raise ConfigError(
                f"{what(self._address)}: where they lie did not answer within {KEEPING_LIMIT:g} s"
            ) from None


def endpoint_of(oauth: OAuth, address: str, ca: Path | None) -> TokenEndpoint:
    """Blocks: the client's secret is read. Raises ConfigError."""
    secret = "" if oauth.client_secret is None else read_secret(oauth.client_secret, f"{address}: client_secret")
    return TokenEndpoint(oauth, secret, client_context("sign-in", ca))
