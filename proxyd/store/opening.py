"""Opens the store with the key that fits it, also behind a change of keys that a crash cut short."""

from __future__ import annotations

from pathlib import Path

from proxyd.config import store_key
from proxyd.config.store_key import file_key
from proxyd.config.store_rekey import begin_rekey, end_rekey, next_key
from proxyd.errors import ConfigError, TryLater
from proxyd.store.database import FILE, Database


def opened(data: Path) -> Database:
    """The store in the folder `data`, made where there is none. Raises ConfigError."""
    return _fitting(data)[0]


def _fitting(data: Path) -> tuple[Database, bytes]:
    """(the store, the key that opens it). The first that fits of: the key as it is found, the key file's (where systemd
    hands the former over, and the store has got another since), the one that a change was to bring."""
    following = next_key(data)
    keys = [store_key(data), file_key(data), following]
    database, key = _first([each for n, each in enumerate(keys) if each is not None and each not in keys[:n]], data)
    if following is not None:
        try:
            end_rekey(data, key, changed=key == following)
        except BaseException:
            database.close()
            raise
    return database, key


def _first(keys: list[bytes], data: Path) -> tuple[Database, bytes]:
    for key in keys[:-1]:
        try:
            return Database(data, key), key
        except ConfigError:
            continue
    return Database(data, keys[-1]), keys[-1]


def rekey(data: Path) -> None:
    """Give the store another key. Nobody else may have it open. Raises ConfigError, TryLater."""
    if not (data / FILE).exists():
        raise ConfigError(f"there is no store in {data}")
    database, _ = _fitting(data)  # a change that was cut short comes to its end first
    try:
        fresh = begin_rekey(data)
        database.rekey(fresh)
    except TryLater:
        opened(data).close()  # finds out which key it is, and takes the other one away
        raise
    finally:
        database.close()
    end_rekey(data, fresh, changed=True)
