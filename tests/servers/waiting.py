"""Waiting in a test without an event loop: look again until it is so, or say what was not so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str = "", *, within: float = 60.0, every: float = 0.02) -> T:
    """The first true answer of `look()`; AssertionError with the last answer after `within` seconds."""
    end = monotonic() + within
    pause = threading.Event()
    while not (answer := look()):
        if monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what or look}; last seen: {answer!r}")
        pause.wait(every)
    return answer
