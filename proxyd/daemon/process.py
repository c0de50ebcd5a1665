"""Every object of the daemon, the order in which they start and stop, the signals, and the exit code."""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import signal
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from twisted.internet.defer import Deferred

from proxyd import __version__
from proxyd.config import ConfigErrors, Endpoint, Listen, Settings, desktop_keyring, load_what_is_well
from proxyd.config import Problem as ConfigProblem
from proxyd.config.sealed_files import Seal
from proxyd.crm.delivery import Delivery
from proxyd.crm.dropbox import DropboxCopies
from proxyd.daemon import event_log
from proxyd.daemon.alerts import Alerts
from proxyd.daemon.awake import Awake
from proxyd.daemon.exit_codes import EX_CONFIG, EX_OK, EX_UNAVAILABLE
from proxyd.daemon.imap_doors import imap_door
from proxyd.daemon.listeners import Listener, Listeners, listen, listen_for_web
from proxyd.daemon.notify import Notify
from proxyd.daemon.people import People
from proxyd.daemon.spool_reports import SpoolReports
from proxyd.daemon.web_side import WebSide
from proxyd.errors import ConfigError, TryLater
from proxyd.journal import Journal
from proxyd.journal.retention import let_go
from proxyd.model import Health
from proxyd.places import Places, is_system_service
from proxyd.relay import local_ca
from proxyd.relay.imap import ImapRelay
from proxyd.relay.imap_upload import SentUploads
from proxyd.relay.login import Logins
from proxyd.relay.peer import Admission
from proxyd.relay.smtp import SmtpRelay
from proxyd.relay.spool import Spool
from proxyd.store import room
from proxyd.store.database import Database
from proxyd.web.answers import AccountState, DaemonState
from proxyd.web.troubles import troubles
from proxyd.workers import SystemClock, Workers, start

log = structlog.get_logger()

THREADS = 24
DAY = 86400.0  # seconds
LISTEN_AGAIN = 10.0  # seconds between two tries of what could not be opened
SERVED = ("smtp", "smtps", "imap", "imaps")  # the listeners for mail clients


class Daemon:
    """Every object of the daemon."""

    def __init__(
        self,
        places: Places,
        settings: Settings,
        problems: Sequence[ConfigProblem],
        database: Database,
        seal: Seal,
        reactor: Any,
        given: dict[str, Any],
        hung_up: list[int],
    ) -> None:
        """`problems` are those of files that are not in force; `given` the sockets that systemd has opened, by the
        listener's name. `hung_up` is not empty where SIGHUP came before there was a loop."""
        self._given = given
        self._hung_up = hung_up
        self._ready = False
        self.exit_code = EX_OK
        self._places = places
        self._settings = settings
        self._reactor = reactor
        self._clock = SystemClock()
        self._workers = Workers(THREADS)
        self._database = database
        self._started_at = datetime.now(UTC)
        self._listeners = Listeners(self._open)
        self._config_problem: str | None = None
        self._not_in_force(problems)
        self._notify = Notify()
        self._journal = Journal(database, self._workers, self._clock, lambda: self._people.accounts())
        self._mailbox_workers = Workers(THREADS)
        self._people = People(
            self._journal, self._workers, self._mailbox_workers, self._clock, reactor, random.random, seal
        )
        self._relay: SmtpRelay | None = None
        self._imap_relay: ImapRelay | None = None
        self._dropboxes = DropboxCopies(self._journal, self._people.submitter, self._clock, random.random)
        self._spool = Spool(self._people.accounts, self._journal, self._people.submitter, self._clock, random.random)
        self._delivery = Delivery(self._journal, self._people.accounts, self._workers, self._clock, random.random)
        self._admission = Admission(everyone=is_system_service())
        self._web = WebSide(
            database,
            self._journal,
            self._people,
            self._workers,
            self._clock,
            self._admission,
            relay=self._smtp,
            certificate=self._certificate,
            state=self.state,
            reload=self.reload,
        )
        self._journal.on_event.append(event_log.on_event)
        self._journal.on_health.append(event_log.on_health)
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, reactor: Any) -> None:
        reactor.addSystemEventTrigger("before", "shutdown", self._stopping)
        reactor.run()

    async def start(self) -> None:
        """In order: records, accounts, listeners, commands; then we are ready."""
        try:
            await self._start()
        except Exception as error:
            log.error("cannot start", why=str(error), exc_info=not isinstance(error, ConfigError))
            self.exit_code = EX_CONFIG if isinstance(error, ConfigError) else 1
            self._reactor.stop()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._database.start_writing(loop)
        await self._journal.open()
        await self._workers.run(self._web.load)
        await self._people.serve(self._settings)
        logins = Logins(self._people.accounts, self._workers, self._clock, admission=self._admission)
        self._tls = await self._workers.run(self._server_context)
        self._relay = SmtpRelay(
            self._people.accounts, self._journal, self._people.provider, self._clock, logins=logins, tls=self._tls
        )
        self._imap_relay = ImapRelay(
            self._people.accounts,
            self._journal,
            functools.partial(imap_door, self._people.sign_ins, self._people.allowances),
            self._clock,
            logins=logins,
            tls=self._tls,
            uploads=lambda account: SentUploads(account, self._journal, self._clock),
        )
        wanted = _endpoints(self._settings.daemon.listen)
        await self._listeners.want(wanted, self._given)
        if any(wanted[name] for name in SERVED) and not self._listeners.addresses.keys() & SERVED:
            self.exit_code = EX_UNAVAILABLE
            self._reactor.stop()
            return
        self._web.open_control_socket(self._places.control_socket, self._reactor)
        self._dropboxes.start()
        self._spool.start()
        await self._delivery.start()
        self._tasks.append(start(Awake(self._clock, self._woken).watch(), "awake"))
        self._tasks.append(start(self._notify.feed(self._commits, self._status_line, self._clock), "watchdog"))
        self._tasks.append(start(self._every_day(), "every day"))
        self._tasks.append(start(self._listen_again(), "listen again"))
        known = functools.partial(troubles, self._database)
        alerts = Alerts(self._people.accounts, self._journal, self._workers, self._clock, self._people.mailbox, known)
        self._tasks.append(start(alerts.run(), "alerts"))
        reports = SpoolReports(self._people.accounts, self._journal, self._clock, self._people.mailbox)
        self._tasks.append(start(reports.run(), "spool reports"))
        gc.freeze()  # what was built until now lives as long as the process: the collector need not walk it again
        gc.enable()  # off since `proxyd run`: a tenth of the start would go by in walking what stays
        self._notify.ready(self._status_line())
        log.info("ready", version=__version__, accounts=len(self._settings.accounts))
        self._ready = True
        if self._hung_up:
            await self.reload()

    async def _woken(self) -> None:
        if self._imap_relay is not None:
            self._imap_relay.awake()
        await self._people.awake()

    def _hang_up(self) -> None:
        """Before all is there nothing can be changed: it is kept until then."""
        if self._ready:
            start(self.reload(), "reload")
        else:
            self._hung_up.append(signal.SIGHUP)

    def _stopping(self) -> Deferred[None]:
        return Deferred.fromFuture(asyncio.ensure_future(self._stop()))

    async def _stop(self) -> None:
        self._notify.stopping()
        self._listeners.close()
        if self._imap_relay is not None:
            await self._imap_relay.close()
        closing = [self._spool.stop()] if self._relay is None else [self._spool.stop(), self._relay.close()]
        await asyncio.gather(*closing)  # each has some seconds, of the thirty that systemd gives
        self._dropboxes.stop()
        await self._delivery.stop()
        for task in self._tasks:
            task.cancel()
        await self._people.stop()
        await self._web.close()
        self._journal.close()
        await self._workers.run(self._database.close)
        self._workers.close()
        self._mailbox_workers.close()
        log.info("stopped")

    # --- listeners -------------------------------------------------------------------------------------------

    async def _open(self, name: str, endpoint: Endpoint, given: list[Any] | None) -> Listener:
        if name == "web":
            return await listen_for_web(endpoint, self._web.site(), self._reactor, given)
        relay = self._imap_relay if name.startswith("imap") else self._relay
        assert relay is not None
        implicit = name in ("smtps", "imaps")
        protocol = functools.partial(relay.protocol, implicit)
        return await listen(name, endpoint, protocol, self._tls if implicit else None, given)

    async def _listen_again(self) -> None:
        while True:
            await self._clock.sleep(LISTEN_AGAIN)
            await self._listeners.try_again()

    async def _every_day(self) -> None:
        """The local certificate ends after a year, what was never settled is not kept for ever: the daemon runs on."""
        while True:
            # At once as well: many a machine does not run for a day.
            await let_go(self._database, self._people.accounts().values(), self._clock.now())
            await self._clock.sleep(DAY)
            await self._journal.tidy()
            if self._settings.daemon.certificate == "auto":
                await self._workers.run(self._load_certificate)

    def _server_context(self) -> ssl.SSLContext:
        certificate = self._settings.daemon.certificate
        if certificate == "auto":
            ours = local_ca.ensure(self._places.data, self._clock.now())
            return local_ca.server_context(ours.chain, ours.key)
        return local_ca.server_context(certificate.chain, certificate.key)

    # --- while it runs ------------------------------------------------------------------------------------------

    async def reload(self) -> list[str]:
        """A person's broken file keeps what it said before, a broken proxyd.yaml everything; it is said. Returns the
        problems."""
        self._notify.reloading()
        desktop_keyring.ask_again()  # a person is there
        try:
            settings, problems = await self._workers.run(load_what_is_well, self._places.config, self._settings)
        except ConfigErrors as errors:
            self._not_in_force(errors.problems)
            self._notify.ready(self._status_line())
            return [str(each) for each in errors.problems]
        self._settings = settings
        problems = (*problems, *await self._certificate_anew())
        self._not_in_force(problems)
        await self._people.serve(settings)
        await self._delivery.serve()
        if self._imap_relay is not None:
            self._imap_relay.reloaded()
        await self._listeners.want(_endpoints(settings.daemon.listen))
        self._notify.ready(self._status_line())
        log.info("configuration read again", accounts=len(settings.accounts))
        return [str(each) for each in problems]

    async def _certificate_anew(self) -> list[ConfigProblem]:
        """For the connections that are opened from now on: what lies in the files may be another by now. Where it
        cannot be used, the one before stays."""
        try:
            await self._workers.run(self._load_certificate)
        except ConfigError as error:
            return [ConfigProblem(self._places.config / "proxyd.yaml", 1, 1, str(error))]
        return []

    def _load_certificate(self) -> None:
        certificate = self._settings.daemon.certificate
        ours = local_ca.ensure(self._places.data) if certificate == "auto" else certificate
        local_ca.server_context(ours.chain, ours.key)  # raises while the one in use is still whole
        local_ca.load(self._tls, ours.chain, ours.key)

    def _not_in_force(self, problems: Sequence[ConfigProblem]) -> None:
        self._config_problem = None
        if problems:
            more = f" (and {len(problems) - 1} more: proxyd check)" if len(problems) > 1 else ""
            self._config_problem = f"not in force: {problems[0]}{more}"
            log.error("configuration not used", problems=[str(each) for each in problems])

    def _smtp(self) -> SmtpRelay:
        """Where what is sent from the CRM goes in."""
        if self._relay is None:
            raise TryLater("proxyd is starting")
        return self._relay

    async def _commits(self) -> None:
        await self._database.write(lambda connection: None)

    def state(self) -> DaemonState:
        accounts = [
            AccountState(
                address,
                self._journal.condition(address),
                self._journal.last_seen(address),
                self._people.allowances.of(address).state,
            )
            for address in self._people.accounts()
        ]
        open_, closed = self._listeners.addresses, self._listeners.why_not
        no_room = room.too_little(self._places.data)
        return DaemonState(__version__, self._started_at, open_, accounts, self._config_problem, closed, no_room)

    def _certificate(self) -> dict[str, str] | None:
        """What mail clients are to trust; None where the configuration names a certificate of the person's own."""
        if self._settings.daemon.certificate != "auto":
            return None
        ours = local_ca.ensure(self._places.data)
        return {"file": str(ours.ca), "sha256": ours.fingerprint}

    def _status_line(self) -> str:
        bad = [a.address for a in self.state().accounts if a.condition.state is not Health.CONNECTED]
        healthy = len(self._people.accounts()) - len(bad)
        return f"{healthy} accounts connected" + (f", {len(bad)} not: {', '.join(bad[:3])}" if bad else "")


def _endpoints(listen: Listen) -> dict[str, Endpoint | None]:
    return {name: getattr(listen, name) for name in (*SERVED, "web")}
