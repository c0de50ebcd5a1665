"""What systemd is told: ready, reloading, stopping, one line of status, and that we are alive.

The watchdog is fed by a loop that has turned *and* a store that has committed: a daemon that can do neither is dead,
whatever its process says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import sdnotify
import structlog

from proxyd.workers import Clock

MARGIN = 30.0  # seconds that a machine which is busy may take longer

log = structlog.get_logger()


class Notify:
    """Does nothing where no service manager asked for it (sd_notify(3))."""

    def __init__(self) -> None:
        make: Any = sdnotify.SystemdNotifier
        self._notifier = make()

    def ready(self, status: str) -> None:
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def waiting(self, what: str, seconds: float) -> None:
        """Before we are ready: for something that a person has to do, which no time limit of a start is meant for."""
        self._notifier.notify(f"STATUS=Waiting {what}\nEXTEND_TIMEOUT_USEC={int((seconds + MARGIN) * 1e6)}")

    def reloading(self) -> None:
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._notifier.notify("STOPPING=1")

    async def feed(self, alive: Callable[[], Awaitable[None]], status: Callable[[], str], clock: Clock) -> None:
        """Until cancelled: every half of WatchdogSec= see that `alive` returns, and say so."""
        asked = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        every = asked / 2 if asked else 30.0
        while True:
            await clock.sleep(every)
            try:
                await alive()
            except Exception as error:  # a full disk must not kill the loop that would notice it is free again
                log.error("the store does not commit", why=str(error))
                continue
            self._notifier.notify(f"WATCHDOG=1\nSTATUS={status()}")
