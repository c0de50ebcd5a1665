"""Drains the outbox into the CRMs: one lane for each place, so that a CRM that is down or slow hurts no other.

In a lane one thing is asked at a time, oldest message first, for all accounts that log to that place: what a message
answers is there before its answer, and a contact is not made twice. The tables are the truth: a lane that is stopped at
any moment, or killed, goes on from them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from proxyd.config import Account, Crm, KeyringEntry, SourceSetting, read_secret
from proxyd.crm.adapter import Adapter, Tools
from proxyd.crm.entry import Entry
from proxyd.crm.http import Http, Pace
from proxyd.crm.known import adapter_class
from proxyd.errors import ConfigError, ProxydError, Refused, SignInRefused, TryLater
from proxyd.journal import Journal
from proxyd.journal.ledger import Erasure, Owed, refused_key
from proxyd.rules import crm_entry
from proxyd.workers import Clock, Workers, start

log = structlog.get_logger()

BATCH = 20  # entries read at a time

GONE = "it is no longer in the account's file; put it back there, and what waits is delivered"


@dataclass(slots=True)
class Route:
    """One account's way into one CRM. `paused_until` is on the clock's monotonic scale."""

    account: Account
    crm: Crm
    adapter: Adapter | None = None
    failures: int = 0  # in a row
    paused_until: float = 0.0

    @property
    def name(self) -> str:
        return self.crm.name


class Delivery:
    """Everything that leaves for a CRM by an adapter."""

    def __init__(
        self,
        journal: Journal,
        accounts: Callable[[], Mapping[str, Account]],
        workers: Workers,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._accounts = accounts
        self._workers = workers
        self._clock = clock
        self._jitter = jitter
        self._paces: dict[str, Pace] = {}
        self._lanes: list[Lane] = []
        self._served: dict[str, tuple[Crm, ...]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.serve()
        self._task = start(self._pass_hints_on(), "crm hints")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._stop_lanes()

    async def serve(self) -> None:
        """From now on the accounts as they are. What waits is tried afresh: the cure may lie in a secret's file, which
        the configuration only names; what was given up is, too, where the CRM's options are others now."""
        accounts = self._accounts()
        served = {address: account.crm for address, account in accounts.items()}
        now = self._clock.now()
        for address, crms in served.items():
            for crm in crms:
                if crm.options is not None:
                    changed = address in self._served and crm not in self._served[address]
                    await self._journal.ledger.retry_all(address, crm.name, now, given_up=changed)
        self._served = served
        await self._stop_lanes()
        lanes: dict[str, Lane] = {}
        for account in accounts.values():
            for crm in account.crm:
                if crm.options is not None:
                    await self._add(lanes, Route(account, crm))
        self._lanes = list(lanes.values())
        for lane in self._lanes:
            lane.start()
        wanted = {(address, crm.name) for address, crms in served.items() for crm in crms}
        for standing in await self._journal.ledger.standings():
            if (standing.account, standing.crm) not in wanted and standing.waiting:
                await self._journal.ledger.waits_because(standing.account, standing.crm, GONE)

    async def _add(self, lanes: dict[str, Lane], route: Route) -> None:
        try:
            route.adapter = self.adapter(route)
            place = route.adapter.place
        except ProxydError as error:  # a missing file, a broken package: the lane will say it again, and try again
            log.error("crm adapter not made", account=route.account.address, crm=route.name, why=str(error))
            place = f"{route.account.address} {route.name}"
        if place not in lanes:
            lanes[place] = Lane(self, self._journal, self._clock, self._jitter)
        lanes[place].routes.append(route)

    async def _stop_lanes(self) -> None:
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            await lane.stop()

    async def _pass_hints_on(self) -> None:
        wake = self._journal.wakes.entries
        while True:
            await wake.wait()
            wake.clear()
            mended = self._journal.wakes.mended
            for lane in self._lanes:
                if mended.is_set():
                    lane.forget_pauses()
                lane.wake.set()
            mended.clear()

    # --- what an adapter is made of ----------------------------------------------------------------------------

    def adapter(self, route: Route) -> Adapter:
        """A new one. Raises ConfigError, SignInRefused."""
        assert route.crm.options is not None
        made: Adapter = adapter_class(route.crm.kind)(route.crm.options, self.tools(route))
        return made

    def tools(self, route: Route) -> Tools:
        return Tools(
            account=route.account.address,
            name=route.name,
            workers=self._workers,
            secret=functools.partial(self._secret, route),
            http=self._http,
            now=self._clock.now,
        )

    async def _secret(self, route: Route, source: SourceSetting, what: str) -> str:
        address = route.account.address
        real: Any = KeyringEntry(f"{address}/{route.name}") if isinstance(source, str) else source
        try:
            return await self._workers.run(read_secret, real, f"{address}: {route.name}: {what}")
        except ConfigError as error:
            raise SignInRefused(str(error)) from None

    def _http(self, url: str, *, per_second: float = 5.0, **options: Any) -> Http:
        host = url.partition("://")[2].partition("/")[0]
        pace = self._paces.setdefault(host, Pace(per_second, self._clock))
        return Http(url, pace, **options)


class Lane:
    """One place, and everybody's ways into it."""

    def __init__(self, delivery: Delivery, journal: Journal, clock: Clock, jitter: Callable[[], float]) -> None:
        self.routes: list[Route] = []
        self.wake = asyncio.Event()
        self._delivery = delivery
        self._journal = journal
        self._ledger = journal.ledger
        self._clock = clock
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = start(self._run(), "crm lane")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for route in self.routes:
            if route.adapter is not None:
                await route.adapter.close()

    def forget_pauses(self) -> None:
        """Somebody says that the CRM is well again: it is asked now, whatever it said before."""
        for route in self.routes:
            route.paused_until, route.failures = 0.0, 0

    async def _run(self) -> None:
        while True:
            self.wake.clear()
            wait = min([crm_entry.LONGEST_WAIT, *[await self._drain(route) for route in self.routes]])
            if wait <= 0:
                continue
            waiting = start(self.wake.wait(), "crm lane hint")
            sleeping = start(self._clock.sleep(wait), "crm lane clock")
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def _drain(self, route: Route) -> float:
        """Deliver a batch of what is due; seconds until there is something to do again."""
        paused = route.paused_until - self._clock.monotonic()
        if paused > 0:
            return paused
        account, crm = route.account.address, route.name
        for erasure in await self._ledger.erasures(account, crm, self._clock.now()):
            await self._erase(route, erasure)
        for owed in await self._ledger.due(account, crm, self._clock.now(), BATCH):
            await self._deliver(route, owed)
            paused = route.paused_until - self._clock.monotonic()
            if paused > 0:
                return paused
        due = await self._ledger.next_due(account, crm)
        if due is None:
            return crm_entry.LONGEST_WAIT
        return max((due - self._clock.now()).total_seconds(), 0.0)

    async def _deliver(self, route: Route, owed: Owed) -> None:
        try:
            adapter = self._adapter(route)
            if owed.trying is not None and owed.trying_since is not None:
                findable = owed.trying_since + timedelta(seconds=adapter.limits.found_after)
                if findable > self._clock.now():
                    await self._ledger.deferred(owed, findable)
                    return
            assert route.crm.options is not None
            sharing = frozenset((each.account.address, each.name) for each in self.routes)
            entry = Entry(owed, route.account, route.crm.options, adapter, self._ledger, self._clock.now, sharing)
            await entry.deliver()
            route.failures = 0
            await self._lets_us_in(route, True)
        except Refused as error:
            route.failures = 0
            await self._ledger.postponed(owed, _told(error), None, self._clock.now())
            log.warning("crm entry refused", account=owed.account, crm=owed.crm, message=owed.message)
        except (TryLater, SignInRefused, ConfigError) as error:
            await self._failed(route, owed, error)
        except Exception as error:
            log.exception("crm adapter failed", account=owed.account, crm=owed.crm, message=owed.message)
            await self._failed(route, owed, TryLater(f"the adapter {route.crm.kind} failed: {type(error).__name__}"))

    def _adapter(self, route: Route) -> Adapter:
        if route.adapter is None:
            route.adapter = self._delivery.adapter(route)
        return route.adapter

    async def _failed(self, route: Route, owed: Owed, error: ProxydError) -> None:
        """The entry is tried again later. Credentials that are refused stop the account's way into this CRM; a CRM that
        asks for time, or fails again and again, is left in peace."""
        route.failures += 1
        now, asked = self._clock.now(), error.after if isinstance(error, TryLater) else None
        found_after = 0.0 if route.adapter is None else route.adapter.limits.found_after
        wait = crm_entry.next_try(owed.attempts + 1, asked, self._jitter(), found_after)
        pause = crm_entry.pause(route.failures, asked, self._jitter())
        if not isinstance(error, TryLater):
            wait = pause = crm_entry.SIGN_IN_WAIT
            await self._lets_us_in(route, False)
            adapter, route.adapter = route.adapter, None  # the next one reads its secret again
            if adapter is not None:
                await adapter.close()
        paused_until = self._clock.monotonic() + pause
        for each in self.routes if asked is not None else [route]:
            each.paused_until = max(each.paused_until, paused_until)
        await self._ledger.postponed(owed, _told(error), now + timedelta(seconds=wait), now)
        log.info("crm entry postponed", account=owed.account, crm=owed.crm, message=owed.message, seconds=round(wait))

    async def _lets_us_in(self, route: Route, so: bool) -> None:
        """Kept for `status`: while it does not, somebody must act, and no time heals it."""
        account, key, value = route.account.address, refused_key(route.name), "" if so else "yes"
        if (self._journal.known(account, key) or "") != value:
            await self._journal.learn(account, key, value)

    async def _erase(self, route: Route, erasure: Erasure) -> None:
        try:
            done = await self._adapter(route).erase(erasure.address, erasure.remote_ids)
            await self._ledger.erased(erasure)
            log.info("contact erased", account=erasure.account, crm=erasure.crm, what=done)
        except Refused as error:
            await self._ledger.erasure_postponed(erasure, _told(error), None)
        except (TryLater, SignInRefused, ConfigError) as error:
            asked = error.after if isinstance(error, TryLater) else crm_entry.SIGN_IN_WAIT
            if not isinstance(error, TryLater):
                await self._lets_us_in(route, False)
            wait = crm_entry.next_try(erasure.attempts + 1, asked, self._jitter())
            await self._ledger.erasure_postponed(erasure, _told(error), self._clock.now() + timedelta(seconds=wait))


def _told(error: ProxydError) -> str:
    """One line for `status` and `explain`."""
    return " ".join(str(error).split())[:500]
