"""Builds every object once, starts them in order, stops them in the other.

Why the imports inside `run`: Twisted's reactor is chosen once in a process, before anything imports it, and parts of
Twisted's web server import it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import sys
from typing import Any

import structlog

from proxyd.config import ConfigErrors, Places, load_what_is_well
from proxyd.daemon import alone
from proxyd.daemon.event_log import Priority, as_json, is_journal
from proxyd.daemon.exit_codes import EX_CONFIG, EX_UNAVAILABLE
from proxyd.daemon.listeners import handed_over
from proxyd.errors import ConfigError
from proxyd.store.opening import opened
from proxyd.workers import start

__all__ = ["run"]

MOST_FILES = 65536  # descriptors
M_ARENA_MAX = -8  # mallopt(3)


def run(places: Places) -> int:
    """Run until told to stop; returns the exit code: 0, 78 = bad configuration, 69 = no listener could be opened, or
    another daemon has these records."""
    _log_to_stderr()
    _allow_many_sockets()
    _share_one_arena()
    given = handed_over(os.environ)  # now: Twisted takes these variables out of the environment when it is imported
    try:
        settings, problems = load_what_is_well(places.config)
        places.make_data()
        alone.hold(places.data)  # as long as this process lives
        database = opened(places.data)
    except ConfigErrors as errors:
        print(*errors.problems, sep="\n", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    except alone.AlreadyRuns as error:
        print(f"proxyd: {error}", file=sys.stderr)  # noqa: T201
        return EX_UNAVAILABLE
    except ConfigError as error:
        print(f"proxyd: {error}", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from twisted.internet import asyncioreactor

    install: Any = asyncioreactor.install
    install(loop)
    from twisted.internet import reactor  # noqa: TID251 the one place

    from proxyd.daemon.process import Daemon

    daemon = Daemon(places, settings, problems, database, reactor, given)
    loop.call_soon(lambda: start(daemon.start(), "start"))
    daemon.run(reactor)
    return daemon.exit_code


def _allow_many_sockets() -> None:
    """Each mail client's IMAP connection takes two; the usual soft limit of 1024 is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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


def _share_one_arena() -> None:
    """glibc gives each thread a heap of its own, and what one of them freed stays with it: twenty messages of 25 MB at
    once left a third of their memory behind (75 MiB instead of 50). Other C libraries have no such call."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
