"""What runs for each account: its submitter and its mailbox; built, replaced and stopped as the configuration says."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from proxyd.config import Account, Server, Settings, desktop_keyring, read_secret
from proxyd.config.sealed_files import Seal
from proxyd.errors import ConfigError, TryLater
from proxyd.journal import Journal
from proxyd.model import Health, HealthCause, HealthEvent
from proxyd.provider import keepalive, tokens
from proxyd.provider.allowance import Allowances
from proxyd.provider.sign_in import SignIns
from proxyd.provider.smtp import Submitter
from proxyd.provider.tls import client_context
from proxyd.provider.trace import Taps
from proxyd.rules import connection
from proxyd.rules.allowance import Learned, learned_of
from proxyd.store.contacts import PLUS_TAGS
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Clock, Workers, start

CONNECTIONS = "connections"  # under this name the journal remembers what the provider said of their number
SIGNED_IN_WITH = "refused_sign_in"  # and under this one a keyed hash of what the provider refused last
PASSWORD_LIMIT = 30.0  # seconds that a password's source may take, where an account that was refused is started

log = structlog.get_logger()


def _what_is_kept(account: Account, seal: Seal) -> str:
    """The password, or the refresh token: another one after the person has agreed anew. Blocks. Raises ConfigError."""
    if account.sign_in.oauth is not None:
        return tokens.load(account.sign_in.oauth, account.address, seal).refresh
    return read_secret(account.sign_in.password, account.address)


class People:
    """The accounts that are served now. `settings` is whole at any moment: it is replaced, never changed."""

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        mailbox_workers: Workers,
        clock: Clock,
        reactor: Any,
        jitter: Callable[[], float],
        seal: Seal,
    ) -> None:
        """`mailbox_workers` are the watchers' own: servers that hang may take every one of them, and nobody's mail.
        `seal` enciphers tokens that lie in files."""
        self._journal = journal
        self._workers = workers
        self._mailbox_workers = mailbox_workers
        self._clock = clock
        self._reactor = reactor
        self._jitter = jitter
        self._accounts: Mapping[str, Account] = {}
        self._submitters: dict[str, Submitter] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._seal = seal
        self.allowances = Allowances(self.accounts, clock, self._remember)
        self.sign_ins = SignIns(workers, clock, seal, self._heard)
        self._attending: dict[str, asyncio.Task[None]] = {}
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self.taps = Taps()
        journal.on_health.append(self._remember_refused)

    def accounts(self) -> Mapping[str, Account]:
        return self._accounts

    def submitter(self, account: str) -> Submitter | None:
        return self._submitters.get(account)

    def mailbox(self, account: str) -> Mailbox | None:
        return self._mailboxes.get(account)

    def provider(self, account: str) -> Submitter:
        """The submitter of an account that is served. Raises TryLater in the moment that it is replaced."""
        submitter = self._submitters.get(account)
        if submitter is None:
            raise TryLater("this account is not served at the moment")
        return submitter

    async def serve(self, settings: Settings) -> None:
        """From now on these accounts. What changed is replaced, what is well and did not change is not touched.

        What is not well is tried afresh: the cure may lie in a password's file, which the configuration only names.
        """
        if settings.daemon.plus_tags != (self._journal.known(*PLUS_TAGS) or "apart"):
            await self._journal.learn(*PLUS_TAGS, settings.daemon.plus_tags)  # the records are read by it, too
        before, self._accounts = self._accounts, settings.accounts
        same = {
            address
            for address, account in before.items()
            if self._accounts.get(address) == account
            and self._journal.condition(address).state in (Health.CONNECTED, Health.CONNECTING)
            and not self._journal.condition(address).refusals
        }
        for address in before.keys() - same:
            await self._stop(address)
            now = self._accounts.get(address)
            self._journal.afresh(address, same_servers=now is not None and now.provider == before[address].provider)
        # At once, for a password's source that hangs is one person's trouble.
        await asyncio.gather(
            *(self._start(address, account) for address, account in self._accounts.items() if address not in same)
        )

    async def reconnect(self, address: str) -> None:
        """Sign the account in anew, whatever was refused before. Nothing happens where it is configured no longer."""
        desktop_keyring.ask_again()  # a person is there
        account = self._accounts.get(address)
        if account is not None:
            await self._stop(address)
            await self._start(address, account)

    async def stop(self) -> None:
        for address in list(self._submitters):
            await self._stop(address)

    async def _start(self, address: str, account: Account) -> None:
        await self._believe_what_was(address, account)
        tokens = self.sign_ins.tokens(account)
        if tokens is not None:
            tokens.afresh()
            self._renewing[address] = start(tokens.keep_fresh(self._jitter), f"access token of {address}")
        try:
            imap, smtp = self._context(account, "imap"), self._context(account, "smtp")
        except ConfigError as error:
            await self._journal.health(address, HealthEvent(HealthCause.MISCONFIGURED, "TLS", str(error)))
            log.error("account not served", account=address, why=str(error))
            return
        secret = self.sign_ins.of(account)
        submitter = self._submitters[address] = Submitter(
            account.provider.smtp,
            account.sign_in.smtp_user,
            secret,
            smtp,
            on_health=functools.partial(self._heard, address),
            may_sign_in=functools.partial(self._may_sign_in, address),
            tap=self.taps.of(address),
        )
        before = self._journal.condition(address)
        if connection.rest(before, "SMTP", self._clock.now()):
            submitter.leave_alone(HealthEvent(HealthCause.SIGN_IN_REFUSED, "SMTP", before.side("SMTP").evidence))
            self._attend_soon(address)
        else:
            submitter.warm()  # what clients are offered, and whether the sign-in works, is known before the first mail
        allowance = self.allowances.of(address)
        allowance.know(learned_of(await self._journal.learned(address, CONNECTIONS)))
        mailbox = self._mailboxes[address] = Mailbox(
            account,
            self._journal,
            self._mailbox_workers,
            self._clock,
            self._reactor,
            imap,
            self._jitter,
            allowance,
            secret,
            self.taps.of(address),
        )
        mailbox.start()

    async def _believe_what_was(self, address: str, account: Account) -> None:
        """What was refused before a restart is left alone, unless what we sign in with is another by now."""
        if not connection.refused(self._journal.condition(address)):
            return
        if await self._signing_in_with(account) != self._journal.known(address, SIGNED_IN_WITH):
            self._journal.afresh(address)

    def _remember_refused(self, address: str, event: HealthEvent, condition: connection.Condition) -> None:
        account = self._accounts.get(address)
        if event.cause in (HealthCause.SIGN_IN_REFUSED, HealthCause.ACCESS_REVOKED) and account is not None:
            start(self._learn_refused(address, account), "what was refused")

    async def _learn_refused(self, address: str, account: Account) -> None:
        what = await self._signing_in_with(account)
        if what != self._journal.known(address, SIGNED_IN_WITH):
            await self._journal.learn(address, SIGNED_IN_WITH, what, durable=False)

    async def _signing_in_with(self, account: Account) -> str:
        """A keyed hash of servers, users and password: to tell, after a restart, that somebody has mended them."""
        try:
            async with asyncio.timeout(PASSWORD_LIMIT):
                secret = await self._workers.run(_what_is_kept, account, self._seal)
        except (ConfigError, TimeoutError):
            secret = ""
        return self._journal.hash(f"{account.provider!r} {account.sign_in!r} {secret}")

    def _context(self, account: Account, role: str) -> Any:
        server: Server = getattr(account.provider, role)
        return None if server.tls == "none" else client_context(role, account.provider.ca)

    def _remember(self, address: str, learned: Learned) -> None:
        start(self._journal.learn(address, CONNECTIONS, learned.fact), "connections learned")

    async def awake(self) -> None:
        """The machine has slept, its clock was set, or its network is another: no connection is believed to stand."""
        await self._journal.clock_was_set()
        checks = [mailbox.check() for mailbox in self._mailboxes.values()]
        probes = [keepalive.probe(place.socket) for place in self.allowances.places() if place.socket is not None]
        for address, submitter in self._submitters.items():
            submitter.let_go()
            if connection.worth_a_try(self._journal.condition(address).side("SMTP")):
                submitter.sign_in()
        await asyncio.gather(*checks, *probes)

    def _heard(self, address: str, event: HealthEvent) -> None:
        start(self._note(address, event), "health")

    def _may_sign_in(self, address: str) -> bool:
        return connection.may_sign_in(self._journal.condition(address), "SMTP", self._clock.now())

    async def _note(self, address: str, event: HealthEvent) -> None:
        before = self._journal.condition(address)
        await self._journal.health(address, event)
        if connection.sign_in_server_is_back(before, event):
            await self._sign_in_again(address)
        if event.protocol != "SMTP":
            return
        if event.cause is not HealthCause.SIGNED_IN:
            self._attend_soon(address)
        elif attending := self._attending.pop(address, None):
            attending.cancel()  # its wait was for this trouble: the next one is not to sit it out

    async def _sign_in_again(self, address: str) -> None:
        """There are access tokens again: whoever waited for one need not wait any longer."""
        condition = self._journal.condition(address)
        submitter, mailbox = self._submitters.get(address), self._mailboxes.get(address)
        if submitter is not None and connection.waits_for_a_token(condition.side("SMTP")):
            submitter.sign_in()
        if mailbox is not None and connection.waits_for_a_token(condition.side("IMAP")):
            await mailbox.retry_now()

    def _attend_soon(self, address: str) -> None:
        if address not in self._attending:
            task = start(self._attend(address), f"smtp of {address}")
            self._attending[address] = task
            task.add_done_callback(lambda ended: self._attended(address, ended))

    def _attended(self, address: str, task: asyncio.Task[None]) -> None:
        if self._attending.get(address) is task:
            del self._attending[address]

    async def _attend(self, address: str) -> None:
        """Nobody may send for hours; `status` is to know all the same when submitting works again."""
        for attempt in itertools.count():
            condition = self._journal.condition(address)
            submitter = self._submitters.get(address)
            if submitter is None or condition.side("SMTP").state is Health.CONNECTED:
                return
            await self._clock.sleep(connection.retry_after(condition, attempt, self._jitter(), "SMTP"))
            submitter.sign_in()

    async def _stop(self, address: str) -> None:
        for tasks in (self._attending, self._renewing):
            if (task := tasks.pop(address, None)) is not None:
                task.cancel()
        mailbox = self._mailboxes.pop(address, None)
        if mailbox is not None:
            await mailbox.stop()
        submitter = self._submitters.pop(address, None)
        if submitter is not None:
            await submitter.close()
