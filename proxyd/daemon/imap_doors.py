"""The way to each account's IMAP server, for its mail clients."""

from __future__ import annotations

import asyncio
import functools

from proxyd.config import Account, read_secret
from proxyd.errors import ConfigError
from proxyd.provider.imap_door import Door
from proxyd.provider.tls import client_context
from proxyd.workers import Workers

PASSWORD_LIMIT = 60.0  # seconds that a password source (a command, a locked keyring) may take


def imap_door(workers: Workers, account: Account) -> Door:
    """Raises ConfigError where the account's `ca` cannot be used."""
    server = account.provider.imap
    context = None if server.tls == "none" else client_context("imap", account.provider.ca)
    return Door(server, account.sign_in.imap_user, functools.partial(_password, workers, account), context)


async def _password(workers: Workers, account: Account) -> str:
    try:
        async with asyncio.timeout(PASSWORD_LIMIT):
            return await workers.run(read_secret, account.sign_in.password, f"{account.address}: sign_in.password")
    except TimeoutError:
        raise ConfigError(f"the password's source did not answer within {PASSWORD_LIMIT:g} s") from None
