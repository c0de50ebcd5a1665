"""Opens the store with the key that fits it, also behind a change of keys that a crash cut short."""

from __future__ import annotations

from pathlib import Path

from proxyd.config import store_key
from proxyd.config.store_rekey import begin_rekey, end_rekey, next_key
from proxyd.errors import ConfigError, TryLater
from proxyd.store.database import FILE, Database


def opened(data: Path) -> Database:
    """The store in the folder `data`, made where there is none. Raises ConfigError."""
    following = next_key(data)
    if following is None:
        return Database(data, store_key(data))
    key = store_key(data)
    try:
        database, fits = Database(data, key), key
    except ConfigError:
        database, fits = Database(data, following), following
    try:
        end_rekey(data, fits, changed=fits is following)
    except BaseException:
        database.close()
        raise
    return database


def rekey(data: Path) -> None:
    """Give the store another key. Nobody else may have it open. Raises ConfigError, TryLater."""
    opened(data).close()  # a change that was cut short comes to its end first
    if not (data / FILE).exists():
        raise ConfigError(f"there is no store in {data}")
    key, fresh = begin_rekey(data)
    database = Database(data, key)
    try:
        database.rekey(fresh)
    except TryLater:
        opened(data).close()  # finds out which key it is, and takes the other one away
        raise
    finally:
        database.close()
    end_rekey(data, fresh, changed=True)
