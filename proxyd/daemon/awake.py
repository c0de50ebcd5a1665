"""Noticing that the machine has slept, or that its network is another: then no connection may be believed to stand; or
that its clock was set: then no time may be believed to come.

Asleep, the clock since boot goes on and the monotonic one does not (clock_gettime(2)); a virtual machine that was
suspended shows it by a wall clock that is set forward. The network is known by the addresses that this machine would
speak from: a datagram socket that is connected, and sends nothing, tells them.

Why this way: one timer for all accounts and a few system calls every five seconds need no permission and no message of
the kernel's (rtnetlink tells of every lifetime of every address, and the service would need AF_NETLINK for it).
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from proxyd.workers import Clock, start

EVERY = 5.0  # seconds
SLEPT = 2.0  # seconds that the clocks differ after less is no sleep
SET = 30.0  # seconds; a wall clock is set by less every day

# Documentation addresses (RFC 5737, RFC 3849): the way to them is the way out, and nothing is ever sent there.
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Signs:
    """`asleep` and `set` are seconds: how long this machine has slept since it booted; the wall clock against the time
    since then. `network`: the addresses that we would speak from."""

    asleep: float
    set: float
    network: tuple[str, ...]


def signs() -> Signs:
    """As they are now."""
    since_boot = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    return Signs(since_boot - time.monotonic(), time.time() - since_boot, tuple(_ways_out()))


def _ways_out() -> list[str]:
    addresses = []
    for family, outside in _OUTSIDE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((outside, 9))
            addresses.append(str(way.getsockname()[0]))
    return addresses


def difference(before: Signs, now: Signs) -> str | None:
    """Why connections are not to be believed any more; None: there is no reason."""
    if now.asleep - before.asleep > SLEPT:
        return f"the machine slept for {now.asleep - before.asleep:.0f} s"
    if abs(now.set - before.set) > SET:
        return f"the clock was set by {now.set - before.set:+.0f} s"
    if now.network and now.network != before.network:
        return "the network is another"
    return None


class Awake:
    """Calls `check`, and does not wait for its end, each time that there is a reason to."""

    def __init__(self, clock: Clock, check: Callable[[], Awaitable[None]], look: Callable[[], Signs] = signs) -> None:
        self._clock = clock
        self._check = check
        self._look = look

    async def watch(self) -> None:
        """Until cancelled."""
        before = self._look()
        while True:
            await self._clock.sleep(EVERY)
            now = self._look()
            if why := difference(before, now):
                log.info("connections are checked", why=why)
                start(self._checked(), "connections are checked")
            before = now

    async def _checked(self) -> None:
        await self._check()
