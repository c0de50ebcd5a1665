"""From the configuration and the records to a loop that turns, and the exit code.

Why the imports inside `run`: Twisted's reactor is chosen once in a process, before anything imports it, and parts of
Twisted's web server import it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from proxyd.config import ConfigErrors, load_what_is_well
from proxyd.config.sealed_files import Seal
from proxyd.config.store_key import CREDENTIAL_CURE, credential_key
from proxyd.daemon import alone
from proxyd.daemon.event_log import Priority, as_json, is_journal
from proxyd.daemon.exit_codes import EX_CONFIG, EX_UNAVAILABLE
from proxyd.daemon.limits import set_limits
from proxyd.daemon.listeners import handed_over
from proxyd.daemon.notify import Notify
from proxyd.daemon.unlocking import opened_once_unlocked
from proxyd.errors import ConfigError
from proxyd.places import Places
from proxyd.store.database import Database
from proxyd.workers import start

__all__ = ["run"]

log = structlog.get_logger()


def run(places: Places) -> int:
    """Run until told to stop; returns the exit code: 0, 78 = bad configuration, 69 = no listener could be opened, or
    another daemon has these records."""
    _log_to_stderr()
    hung_up = _remember_hang_ups()
    set_limits()
    given = handed_over(os.environ)  # now: Twisted takes these variables out of the environment when it is imported
    try:
        settings, problems = load_what_is_well(places.config)
        places.make_data()
        held = alone.hold(places.data)  # as long as this process lives
        database, seal = _opened(places.data, held)
    except ConfigErrors as errors:
        print(*errors.problems, sep="\n", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    except alone.AlreadyRuns as error:
        print(f"proxyd: {error}", file=sys.stderr)  # noqa: T201
        return EX_UNAVAILABLE
    except ConfigError as error:
        print(f"proxyd: {error}", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    given_key = credential_key(os.environ)
    if given_key is not None and not database.has_key(given_key):
        log.warning("the store's key is that of store.key, not the credential's", cure=CREDENTIAL_CURE)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from twisted.internet import asyncioreactor

    install: Any = asyncioreactor.install
    install(loop)
    from twisted.internet import reactor  # noqa: TID251 the one place

    from proxyd.daemon.process import Daemon

    daemon = Daemon(places, settings, problems, database, seal, reactor, given, hung_up)
    loop.call_soon(lambda: start(daemon.start(), "start"))
    daemon.run(reactor)
    return daemon.exit_code


def _opened(data: Path, held: int) -> tuple[Database, Seal]:
    """Once the keyring gives the key. Meanwhile the service manager, and whoever types a command, hear of it."""
    notify = Notify()

    def told(what: str, seconds: float) -> None:
        notify.waiting(what, seconds)
        alone.say(held, what)

    opened = opened_once_unlocked(data, told)
    alone.say(held)
    return opened


def _remember_hang_ups() -> list[int]:
    """SIGHUP asks for the configuration to be read anew; one that comes before there is a loop ends no daemon, as it
    would by default, and is not forgotten."""
    hung_up: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: hung_up.append(number))
    return hung_up


def _log_to_stderr() -> None:
    """One JSON line per event, for systemd's journal with its priority; for a person at a terminal, coloured text."""
    terminal = sys.stderr.isatty()
    shown: Any = structlog.dev.ConsoleRenderer() if terminal else as_json
    if is_journal(sys.stderr.fileno(), os.environ):
        shown = Priority(shown)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shown,
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
