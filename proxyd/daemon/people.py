"""What runs for each account: its submitter and its mailbox; built, replaced and stopped as the configuration says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from proxyd.config import Account, Server, Settings, read_secret
from proxyd.errors import ConfigError, TryLater
from proxyd.journal import Journal
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider.smtp import Submitter
from proxyd.provider.tls import client_context
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Clock, Workers, start

log = structlog.get_logger()


class People:
    """The accounts that are served now. `settings` is whole at any moment: it is replaced, never changed."""

    def __init__(
        self, journal: Journal, workers: Workers, clock: Clock, reactor: Any, jitter: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._workers = workers
        self._clock = clock
        self._reactor = reactor
        self._jitter = jitter
        self._accounts: Mapping[str, Account] = {}
        self._submitters: dict[str, Submitter] = {}
        self._mailboxes: dict[str, Mailbox] = {}

    def accounts(self) -> Mapping[str, Account]:
        return self._accounts

    def submitter(self, account: str) -> Submitter | None:
        return self._submitters.get(account)

    def provider(self, account: str) -> Submitter:
        """The submitter of an account that is served. Raises TryLater in the moment that it is replaced."""
        submitter = self._submitters.get(account)
        if submitter is None:
            raise TryLater("this account is not served at the moment")
        return submitter

    async def serve(self, settings: Settings) -> None:
        """From now on these accounts: what changed is replaced, what did not change is not touched."""
        before, self._accounts = self._accounts, settings.accounts
        for address in before:
            if self._accounts.get(address) != before[address]:
                await self._stop(address)
        for address, account in self._accounts.items():
            if before.get(address) != account:
                await self._start(address, account)

    async def stop(self) -> None:
        for address in list(self._submitters):
            await self._stop(address)

    async def _start(self, address: str, account: Account) -> None:
        try:
            imap, smtp = self._context(account, "imap"), self._context(account, "smtp")
        except ConfigError as error:
            await self._journal.health(address, HealthEvent(HealthCause.MISCONFIGURED, "TLS", str(error)))
            log.error("account not served", account=address, why=str(error))
            return
        submitter = self._submitters[address] = Submitter(
            account.provider.smtp,
            account.sign_in.smtp_user,
            functools.partial(read_secret, account.sign_in.password, f"{address}: sign_in.password"),
            smtp,
            on_health=functools.partial(self._heard, address),
            workers=self._workers,
        )
        submitter.warm()  # what clients are offered, and whether the sign-in works, is known before the first mail
        mailbox = Mailbox(account, self._journal, self._workers, self._clock, self._reactor, imap, self._jitter)
        self._mailboxes[address] = mailbox
        mailbox.start()

    def _context(self, account: Account, role: str) -> Any:
        server: Server = getattr(account.provider, role)
        return None if server.tls == "none" else client_context(role, account.provider.ca)

    def _heard(self, address: str, event: HealthEvent) -> None:
        start(self._journal.health(address, event), "health")

    async def _stop(self, address: str) -> None:
        mailbox = self._mailboxes.pop(address, None)
        if mailbox is not None:
            await mailbox.stop()
        submitter = self._submitters.pop(address, None)
        if submitter is not None:
            await submitter.close()
