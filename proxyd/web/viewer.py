"""Who asks, and what that person may see and do: the one value that every answer is given for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxyd.config import Account
from proxyd.rules.visibility import accounts_seen_by


class May(StrEnum):
    """What one may do; the later includes the earlier."""

    READ = "read"
    SEND = "send"  # and change contacts
    OWNER = "owner"  # the daemon's own user: everything

    def includes(self, other: May) -> bool:
        order = list(May)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Viewer:
    """`person` is an account's address, None = nobody in particular; `accounts` are those whose conversations are
    shown, None = all of them."""

    person: str | None
    accounts: frozenset[str] | None
    may: May

    @property
    def own(self) -> frozenset[str] | None:
        """The accounts for which this one decides, None = all of them; a colleague's are for reading only."""
        return None if self.person is None else frozenset({self.person})

    def sees(self, account: str) -> bool:
        return self.accounts is None or account in self.accounts

    def speaks_for(self, account: str) -> bool:
        """May this one send as that account, or sign it in again? A colleague's conversations are for reading only."""
        return self.may.includes(May.SEND) and self.person in (None, account)


OWNER = Viewer(None, None, May.OWNER)  # whoever the daemon runs as


def narrowed(accounts: frozenset[str] | None, account: str | None) -> frozenset[str] | None:
    """Of these (None = all), the one that was asked for (None = whichever)."""
    if account is None:
        return accounts
    wanted = frozenset({account.strip().lower()})
    return wanted if accounts is None else wanted & accounts


def viewer_of(person: str | None, may: May, accounts: Mapping[str, Account]) -> Viewer:
    """The viewer that a token or a login link belongs to, by the accounts as they are configured now."""
    if person is None:
        return Viewer(None, None, may)
    audiences = {address: account.visible_to for address, account in accounts.items()}
    return Viewer(person.lower(), accounts_seen_by(person, audiences), may)
