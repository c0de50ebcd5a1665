"""The store, as soon as its key can be had: a keyring that is locked when a person logs in is nobody's mistake.

Where there is no keyring although a store is there, one may come: at login some are started after the services are. It
is waited for a while, in a session that has a bus; then its key is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import structlog

from proxyd.config.desktop_keyring import KeyringLocked, KeyringSilent, may_come
from proxyd.config.sealed_files import Seal
from proxyd.config.store_key import KeyMissing
from proxyd.errors import ConfigError
from proxyd.store.database import Database
from proxyd.store.opening import opened_with_seal

LOOK_EVERY = 2.0  # seconds; a keyring that says whether it is locked is not disturbed by it
ASK_EVERY = 30.0  # seconds; of one that does not say, every question may be a prompt
COMES_WITHIN = 300.0  # seconds after our start

log = structlog.get_logger()


def opened_once_unlocked(
    data: Path, told: Callable[[str, float], None], pause: Callable[[float], object] | None = None
) -> tuple[Database, Seal]:
    """Blocks until there is a key. `told` hears each time what is waited for, and for how many seconds at the least it
    will be. Raises ConfigError where waiting does not help."""
    began, said = monotonic(), ""
    pause = pause or threading.Event().wait
    while True:
        try:
            return opened_with_seal(data)
        except (KeyringSilent, KeyMissing) as error:
            wait = LOOK_EVERY if isinstance(error, KeyringLocked | KeyMissing) else ASK_EVERY
            if isinstance(error, KeyMissing) and not (monotonic() - began < COMES_WITHIN and may_come()):
                raise
            if str(error) != said:
                said = str(error)
                log.warning("waiting for the keyring", why=said)
            told(_short(error), wait)
            pause(wait)


def _short(error: ConfigError) -> str:
    return "for a keyring" if isinstance(error, KeyMissing) else "for the keyring to be unlocked"
