"""The way to each account's IMAP server, for its mail clients."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxyd.config import Account
from proxyd.provider.allowance import Allowances
from proxyd.provider.imap_door import Door, SignedIn
from proxyd.provider.sign_in import SignIns
from proxyd.provider.tls import client_context


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


def imap_door(sign_ins: SignIns, allowances: Allowances, account: Account) -> CountedDoor:
    """Raises ConfigError where the account's `ca` cannot be used."""
    server = account.provider.imap
    context = None if server.tls == "none" else client_context("imap", account.provider.ca)
    door = Door(server, account.sign_in.imap_user, sign_ins.of(account), context)
    return CountedDoor(door, account.address, allowances)
