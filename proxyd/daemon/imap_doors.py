"""The way to each account's IMAP server, for its mail clients."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, replace

from proxyd.config import Account, read_secret
from proxyd.errors import ConfigError
from proxyd.provider.allowance import Allowances
from proxyd.provider.imap_door import Door, SignedIn
from proxyd.provider.tls import client_context
from proxyd.workers import Workers

PASSWORD_LIMIT = 60.0  # seconds that a password source (a command, a locked keyring) may take


@dataclass(frozen=True, slots=True)
class CountedDoor:
    """A door whose connections count among the account's."""

    door: Door
    address: str
    allowances: Allowances

    async def open(self) -> SignedIn:
        """As `Door.open`; raises Crowded where there is no place for one more."""
        signed_in, place = await self.allowances.opened(self.address, self.door.open)
        place.socket = signed_in.transport.get_extra_info("socket")
        return replace(signed_in, place=place)


def imap_door(workers: Workers, allowances: Allowances, account: Account) -> CountedDoor:
    """Raises ConfigError where the account's `ca` cannot be used."""
    server = account.provider.imap
    context = None if server.tls == "none" else client_context("imap", account.provider.ca)
    door = Door(server, account.sign_in.imap_user, functools.partial(_password, workers, account), context)
    return CountedDoor(door, account.address, allowances)


async def _password(workers: Workers, account: Account) -> str:
    try:
        async with asyncio.timeout(PASSWORD_LIMIT):
            return await workers.run(read_secret, account.sign_in.password, f"{account.address}: sign_in.password")
    except TimeoutError:
        raise ConfigError(f"the password's source did not answer within {PASSWORD_LIMIT:g} s") from None
