"""Figures for Prometheus: what happened since the start, and what waits now.

No label names an account, an address or a server: whoever may open a port of this machine may read them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from ulid import ULID

from proxyd.journal import Begun, Joined, Journal, Logged
from proxyd.model import (
    CopyPresent,
    CopyPromised,
    DropboxPostponed,
    DropboxSent,
    Event,
    Health,
    HealthCause,
    HealthEvent,
    NotSent,
    Seen,
    SendUnknown,
    Sent,
    Source,
    State,
    Undeliverable,
)
from proxyd.rules.connection import Condition
from proxyd.store import history, ledger, outbox, sent_copies, spool
from proxyd.store.database import Database
from proxyd.store.spool import SpoolState
from proxyd.web.answers import DaemonState

REMEMBERED = 10_000  # mails whose Sent copy was counted: it is looked at again and again
SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 75, 600)
LAG = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Hears of everything that is written down. `state` is what only the running daemon knows; `renewed` when each
    account's access token was given, in seconds since 1970."""

    def __init__(
        self,
        journal: Journal,
        database: Database,
        state: Callable[[], DaemonState],
        renewed: Callable[[], Sequence[float]] = tuple,
    ) -> None:
        self._registry = registry = CollectorRegistry()
        self._counted: OrderedDict[str, None] = OrderedDict()
        self._submissions = Counter(
            "proxyd_submissions", "Mails handed in, by what became of them", ["outcome"], registry=registry
        )
        for outcome in ("sent", "refused", "unknown", "given_up", "joined", "log_only"):
            self._submissions.labels(outcome)
        self._prevented = Counter(
            "proxyd_duplicates_prevented", "What would have been there twice", ["what"], registry=registry
        )
        for what in ("mail", "sent_copy"):
            self._prevented.labels(what)
        self._latency = Histogram(
            "proxyd_relay_seconds",
            "From a mail's first octet to the provider's answer on record",
            buckets=SECONDS,
            registry=registry,
        )
        self._copies = Counter(
            "proxyd_sent_copies_settled", "Sent copies found, by who filed them", ["by"], registry=registry
        )
        for by in ("provider", "client", "proxyd"):
            self._copies.labels(by)
        self._dropbox = Counter("proxyd_dropbox_copies", "Copies to the CRM's address", ["outcome"], registry=registry)
        self._seen = Counter("proxyd_mails_seen", "Mails found in mailboxes and logged", ["source"], registry=registry)
        self._lag = Histogram(
            "proxyd_watch_lag_seconds",
            "From a reply's arrival at the provider to its record here",
            buckets=LAG,
            registry=registry,
        )
        self._connects = Counter(
            "proxyd_connects", "Times that a provider was reached after it was not", ["protocol"], registry=registry
        )
        self._failures = Counter(
            "proxyd_connection_failures", "What went wrong with providers", ["protocol", "cause"], registry=registry
        )
        started = Gauge("proxyd_start_time_seconds", "When the daemon started, since 1970", registry=registry)
        started.set(state().started_at.timestamp())
        ProcessCollector(registry=registry)
        registry.register(_Standing(database, state, renewed))
        journal.on_event.append(self._on_event)
        journal.on_health.append(self._on_health)

    def exposition(self) -> bytes:
        """All figures, as Prometheus reads them. Blocks."""
        return generate_latest(self._registry)

    def _on_event(self, id: str, event: Event | Begun | Joined | Logged) -> None:
        match event:
            case Sent():
                self._submissions.labels("sent").inc()
                self._latency.observe(max(0.0, (event.at - ULID.from_str(id).datetime).total_seconds()))
            case NotSent():
                self._submissions.labels("refused").inc()
            case Undeliverable():
                self._submissions.labels("given_up").inc()
            case SendUnknown():
                self._submissions.labels("unknown").inc()
            case Joined():
                self._submissions.labels("joined").inc()
                if event.state is State.SENT:
                    self._prevented.labels("mail").inc()
            case Logged():
                self._submissions.labels("log_only").inc()
            case CopyPresent():
                self._copy_there(id, event)
            case CopyPromised():
                self._prevented.labels("sent_copy").inc()
            case DropboxSent():
                self._dropbox.labels("sent").inc()
            case DropboxPostponed():
                self._dropbox.labels("postponed" if event.due else "given_up").inc()
            case Seen():
                self._mail_seen(event)
            case _:
                pass

    def _copy_there(self, id: str, event: CopyPresent) -> None:
        if id not in self._counted:
            self._copies.labels(event.by).inc()
            self._counted[id] = None
            if len(self._counted) > REMEMBERED:
                self._counted.popitem(last=False)

    def _mail_seen(self, event: Seen) -> None:
        self._seen.labels(event.source).inc()
        arrived = event.found.internaldate
        if arrived is not None and event.source in (Source.REPLY, Source.CONTACT):
            self._lag.observe(max(0.0, (event.at - arrived).total_seconds()))

    def _on_health(self, account: str, event: HealthEvent, condition: Condition) -> None:
        side = condition.side(event.protocol)
        if event.cause is not HealthCause.SIGNED_IN:
            self._failures.labels(event.protocol, event.cause).inc()
        elif side.since == side.at:
            self._connects.labels(event.protocol).inc()


class _Standing(Collector):
    """What stands now: asked when the figures are."""

    def __init__(
        self, database: Database, state: Callable[[], DaemonState], renewed: Callable[[], Sequence[float]]
    ) -> None:
        self._database = database
        self._state = state
        self._renewed = renewed

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        accounts = GaugeMetricFamily("proxyd_accounts", "Accounts by the state of their connection", labels=["state"])
        for each in Health:
            accounts.add_metric([each], sum(account.condition.state is each for account in state.accounts))
        yield accounts
        if given := self._renewed():
            age = max(0.0, datetime.now(UTC).timestamp() - min(given))
            yield GaugeMetricFamily("proxyd_access_token_age_seconds", "Age of the oldest OAuth2 access token", age)
        with self._database.reading() as connection:
            copies = sum(sent_copies.waiting_by_account(connection).values())
            standings = ledger.standings(connection)
            waiting = sum(outbox.waiting_by_account(connection).values())
            waiting += sum(each.waiting + each.erasures for each in standings)
            refused = sum(each.failed + each.not_erased for each in standings)
            spooled = [each.state for each in spool.every(connection)]
            unknown = len(history.unsettled(connection, datetime.min.replace(tzinfo=state.started_at.tzinfo)))
        waits, given_up = spooled.count(SpoolState.WAITING), spooled.count(SpoolState.FAILED)
        yield GaugeMetricFamily("proxyd_spool_waiting", "Mails that wait here for their provider", waits)
        yield GaugeMetricFamily("proxyd_spool_given_up", "Mails given up, until somebody decides", given_up)
        yield GaugeMetricFamily("proxyd_unknown_outcomes", "Mails of which nobody knows whether they went", unknown)
        yield GaugeMetricFamily("proxyd_sent_copies_waiting", "Sent copies that are not settled", copies)
        yield GaugeMetricFamily("proxyd_outbox_waiting", "Copies and entries that wait for the CRM", waiting)
        yield GaugeMetricFamily("proxyd_crm_refused", "Entries that a CRM refused, until somebody decides", refused)

    def describe(self) -> Iterator[Metric]:
        return iter(())
