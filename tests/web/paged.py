"""The page over a desk's journal; `sender` is what it sends through, where a test sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from proxyd.web.answers import DaemonState
from proxyd.web.page import Page, Sessions
from tests.rigged import Desk


async def nowhere(address: str) -> None:
    raise AssertionError(f"nobody asked that {address} be signed in anew")


def page_of(
    d: Desk,
    state: Callable[[], DaemonState],
    sender: Any = None,
    sessions: Sessions | None = None,
    reconnect: Callable[[str], Awaitable[None]] = nowhere,
) -> Page:
    held = sessions or Sessions(d.clock.now, d.database)
    accounts = lambda: d.accounts  # noqa: E731
    return Page(held, d.journal, accounts, d.database, d.workers, state, d.clock, sender, lambda: None, reconnect)
