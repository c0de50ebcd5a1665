"""What all IMAP connections of clients have in common: who may sign in, how the provider is reached, how many there
are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError
from proxyd.formats import capabilities
from proxyd.journal import UNKNOWN_CAPABILITIES, Journal
from proxyd.model import Health, HealthCause, HealthEvent
from proxyd.provider.allowance import Crowded
from proxyd.provider.imap_door import SignedIn
from proxyd.provider.imap_errors import Unreachable, health_of
from proxyd.relay.imap_uploads import Uploads
from proxyd.relay.login import Logins
from proxyd.rules import connection as rules
from proxyd.workers import Clock, start

STRANGERS = 100  # connections that have not signed in, at a time
SIGN_IN_LIMIT = 60.0  # seconds from a client's login to the provider's answer: clients wait for 100
REST = timedelta(seconds=60)  # after a refused sign-in before a client causes the next one

log = structlog.get_logger()


class Connection(Protocol):
    def dismiss(self) -> None: ...


class Guest(Connection, Protocol):
    """A connection that has signed in to `account`, as that was configured then."""

    @property
    def account(self) -> Account: ...


class Door(Protocol):
    """What the relay asks of an account's `proxyd.provider.imap_door.Door`."""

    async def open(self) -> SignedIn: ...


class ImapDesk:
    """`accounts`: as configured now, by address in lower case. `doors` and `uploads`: an account's."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        doors: Callable[[Account], Door],
        uploads: Callable[[Account], Uploads],
        logins: Logins,
        clock: Clock,
    ) -> None:
        self.journal = journal
        self.logins = logins
        self.clock = clock
        self.uploads = uploads
        self._accounts = accounts
        self._doors = doors
        self._strangers: set[Connection] = set()
        self._guests: set[Guest] = set()
        self._attending: dict[str, asyncio.Task[None]] = {}
        self._awake = asyncio.Event()
        journal.on_health.append(self._on_health)

    # --- who is there

    def came(self, connection: Connection) -> None:
        self._strangers.add(connection)

    def went(self, connection: Connection) -> None:
        self._strangers.discard(connection)

    def settled(self, guest: Guest) -> None:
        self._guests.add(guest)

    def left(self, guest: Guest) -> None:
        self._guests.discard(guest)

    @property
    def is_crowded(self) -> bool:
        return len(self._strangers) > STRANGERS

    def dismiss_all(self) -> None:
        for connection in [*self._strangers, *self._guests]:
            connection.dismiss()

    def look_again(self) -> None:
        """The configuration has changed: who could not sign in like this now is shown out."""
        for guest in list(self._guests):
            now = self._accounts().get(guest.account.address)
            if now is None or _entry(now) != _entry(guest.account):
                guest.dismiss()

    # --- the provider

    async def sign_in(self, account: Account) -> SignedIn | str:
        """A connection to the provider; or why there is none, as a response code and the sentence that `status`
        shows."""
        address = account.address
        if not self._may_sign_in(address):
            return self._unavailable(address)
        try:
            async with asyncio.timeout(SIGN_IN_LIMIT):
                signed_in = await self._doors(account).open()
        except TimeoutError:
            return await self._failed(address, Unreachable(f"no sign-in within {SIGN_IN_LIMIT:g} s"))
        except Crowded as error:
            log.warning("no connection left for a client", account=address, why=str(error))
            return f"[LIMIT] {error}"
        except ProxydError as error:
            return await self._failed(address, error)
        # Not awaited: the loop must not turn before somebody listens to the connection.
        start(self.journal.health(address, HealthEvent(HealthCause.SIGNED_IN, "IMAP")), "health")
        self._note_unknown(address, signed_in)
        return signed_in

    def _note_unknown(self, address: str, signed_in: SignedIn) -> None:
        """What the provider offers and we have never heard of passes; `proxyd doctor` tells of it."""
        words = " ".join(capabilities.unknown(signed_in.capabilities))
        if words != (self.journal.known(address, UNKNOWN_CAPABILITIES) or ""):
            start(self.journal.learn(address, UNKNOWN_CAPABILITIES, words, durable=False), "capabilities learned")

    async def _failed(self, address: str, error: ProxydError) -> str:
        log.warning("no sign-in for a client", account=address, why=str(error))
        await self.unwell(address, health_of(error))
        return self._unavailable(address)

    def _unavailable(self, address: str) -> str:
        return f"[UNAVAILABLE] {self.journal.condition(address).sentence}"

    def _may_sign_in(self, address: str) -> bool:
        """A client comes again and again; the mailbox must not be locked by it."""
        condition, now = self.journal.condition(address), self.clock.now()
        side = condition.side("IMAP")
        rests = side.refusals > 0 and now - side.at < REST
        return not rests and rules.may_sign_in(condition, "IMAP", now)

    async def unwell(self, address: str, event: HealthEvent) -> None:
        """A connection to the provider failed, or was lost. `status` is to know, also when it is well again."""
        await self.journal.health(address, event)
        if address not in self._attending:
            self._attending[address] = task = start(self._attend(address), f"imap of {address}")
            task.add_done_callback(lambda ended: self._attended(address, ended))

    def _attended(self, address: str, task: asyncio.Task[None]) -> None:
        if self._attending.get(address) is task:
            del self._attending[address]

    def _on_health(self, address: str, event: HealthEvent, condition: rules.Condition) -> None:
        well = event.protocol == "IMAP" and event.cause is HealthCause.SIGNED_IN
        if well and (attending := self._attending.pop(address, None)):
            attending.cancel()  # its wait was for this trouble: the next one is not to sit it out

    async def _attend(self, address: str) -> None:
        """The watcher's own connection may stand all the time, and then nobody else would say that all is well."""
        attempt = 0
        while True:
            condition = self.journal.condition(address)
            if condition.side("IMAP").state is Health.CONNECTED:
                return
            await self._rest(rules.retry_after(condition, attempt, 0.5))
            account = self._accounts().get(address)
            if account is None or self.journal.condition(address).side("IMAP").state is Health.CONNECTED:
                return
            attempt += 1
            if not self._may_sign_in(address):
                continue
            try:
                signed_in = await self._doors(account).open()
            except Crowded:
                continue
            except ProxydError as error:
                await self.journal.health(address, health_of(error))
            else:
                signed_in.abort()
                await self.journal.health(address, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))

    async def _rest(self, seconds: float) -> None:
        awake = start(self._awake.wait(), "imap desk: awake")
        over = start(self.clock.sleep(seconds), "imap desk: rest")
        try:
            await asyncio.wait({awake, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            awake.cancel()
            over.cancel()

    def awake(self) -> None:
        """What was wrong may be right by now."""
        self._awake.set()
        self._awake = asyncio.Event()

    def close(self) -> None:
        for task in self._attending.values():
            task.cancel()


def _entry(account: Account) -> tuple[object, ...]:
    """What a client's connection rests on."""
    return account.provider.imap, account.provider.ca, account.sign_in, account.client, account.allow_uids
