"""What an account signs in with: its password, or an access token of OAuth2, asked for anew at each sign-in.

Why one place for each account: its connections for reading and for sending, the watcher's and the mail clients', all
sign in with the same grant, and may not refresh it behind each other's back.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxyd.config import Account, read_secret
from proxyd.config.sealed_files import Seal
from proxyd.errors import ConfigError, SignInRefused
from proxyd.model import HealthEvent
from proxyd.provider import tokens
from proxyd.provider.tokens import Tokens
from proxyd.workers import Clock, Workers

T = TypeVar("T")

PASSWORD_LIMIT = 60.0  # seconds that a password source (a command, a locked keyring) may take

SignIn = Callable[[], Awaitable[str]]


class AccessToken(str):
    """A secret that is no password: servers take it by XOAUTH2 or OAUTHBEARER only. `source` can give another one."""

    source: Tokens | None = None

    def refused(self) -> bool:
        """The server did not take it. Whether another one can be asked for."""
        if self.source is not None:
            self.source.refused(self)
        return self.source is not None


async def once_more(sign_in: SignIn, attempt: Callable[[str], Awaitable[T]]) -> T:
    """`attempt` with a secret; where the server refuses an access token (they may end before their time), once more
    with a fresh one. A refused password is refused."""
    secret = await sign_in()
    try:
        return await attempt(secret)
    except SignInRefused:
        if not (isinstance(secret, AccessToken) and secret.refused()):
            raise
    fresh = await sign_in()
    try:
        return await attempt(fresh)
    except SignInRefused as error:
        raise SignInRefused("the provider refused a fresh access token", f"{error.evidence} (a fresh token)") from None


class SignIns:
    """Every account's, each made once for as long as its settings are the same."""

    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        seal: Seal,
        on_health: Callable[[str, HealthEvent], None] = lambda account, event: None,
    ) -> None:
        """`seal` enciphers tokens that lie in files. `on_health` hears, with the account's address, what the sign-in
        servers' answers mean."""
        self._seal = seal
        self._workers = workers
        self._clock = clock
        self._on_health = on_health
        self._tokens: dict[str, tuple[Account, Tokens]] = {}

    def of(self, account: Account) -> SignIn:
        tokens = self.tokens(account)
        return functools.partial(self._password, account) if tokens is None else functools.partial(_token, tokens)

    def tokens(self, account: Account) -> Tokens | None:
        """None where the account signs in with a password."""
        if account.sign_in.oauth is None:
            return None
        known = self._tokens.get(account.address)
        if known is None or (known[0].sign_in, known[0].provider.ca) != (account.sign_in, account.provider.ca):
            oauth = account.sign_in.oauth
            endpoint = functools.partial(tokens.endpoint_of, oauth, account.address, account.provider.ca)
            told = functools.partial(self._on_health, account.address)
            known = (account, Tokens(oauth, account.address, endpoint, self._workers, self._clock, self._seal, told))
            self._tokens[account.address] = known
        return known[1]

    def renewed(self) -> list[float]:
        """When each access token in use was given, in seconds since the epoch."""
        return [at for _, tokens in self._tokens.values() if (at := tokens.renewed_at) is not None]

    async def _password(self, account: Account) -> str:
        what = f"{account.address}: sign_in.password"
        try:
            async with asyncio.timeout(PASSWORD_LIMIT):
                return await self._workers.run(read_secret, account.sign_in.password, what)
        except TimeoutError:
            raise ConfigError(f"the password's source did not answer within {PASSWORD_LIMIT:g} s") from None


async def _token(tokens: Tokens) -> str:
    token = AccessToken(await tokens.access_token())
    token.source = tokens
    return token
