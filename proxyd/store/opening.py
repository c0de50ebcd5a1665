"""Opens the store with the key that fits it, also behind a change of keys that a crash cut short.

And gives the seal of what is enciphered in files under a key that comes of the store's: whoever knows which key fits
knows what those files are to be enciphered under.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxyd.config import store_key
from proxyd.config.sealed_files import Seal, of_keys, seal_anew
from proxyd.config.store_key import KeyMissing, file_key
from proxyd.config.store_rekey import begin_rekey, end_rekey, is_begun, next_key, to_follow
from proxyd.errors import ConfigError, TryLater
from proxyd.store.database import FILE, Database

TOKENS = "tokens"  # the folder, beside the store, where tokens lie unless somebody named another place


def opened(data: Path) -> Database:
    """The store in the folder `data`, made where there is none. Raises ConfigError."""
    return _fitting(data)[0]


def opened_with_seal(data: Path) -> tuple[Database, Seal]:
    """The same, for the daemon. Raises ConfigError."""
    database, keys = _fitting(data)
    return database, of_keys(keys)


def seal(data: Path) -> Seal:
    """For a command, which leaves the store to the daemon. Its keys are looked for when one is needed; the folder must
    be there then. No key, where systemd hands it to the daemon alone. Raises ConfigError."""
    if is_begun(data):  # to its end, before anything is read that is to be enciphered anew
        opened(data).close()

    def keys() -> Sequence[bytes]:
        try:
            return _keys(data)
        except KeyMissing:
            return ()

    return Seal(keys)


def _keys(data: Path) -> list[bytes]:
    """Those that may fit, in this order: the key as it is found, the key file's (where systemd hands the former over,
    and the store has got another since), the one that a change was to bring."""
    keys = [store_key(data), file_key(data), next_key(data)]
    return [each for n, each in enumerate(keys) if each is not None and each not in keys[:n]]


def _fitting(data: Path) -> tuple[Database, list[bytes]]:
    """(the store, its keys: the one that opens it first)."""
    keys = _keys(data)
    database, key = _first(keys, data)
    keys.sort(key=lambda each: each != key)
    if is_begun(data):
        try:
            seal_anew(_sealed(data, to_follow(data)), of_keys(keys))
            end_rekey(data, key, changed=key == next_key(data))
        except BaseException:
            database.close()
            raise
    return database, keys


def _first(keys: list[bytes], data: Path) -> tuple[Database, bytes]:
    for key in keys[:-1]:
        try:
            return Database(data, key), key
        except ConfigError:
            continue
    return Database(data, keys[-1]), keys[-1]


def _sealed(data: Path, others: Sequence[Path]) -> list[Path]:
    beside = (data / TOKENS).glob("*")
    return sorted({*others, *(path for path in beside if path.is_file() and not path.name.startswith("."))})


def rekey(data: Path, sealed: Sequence[Path] = ()) -> None:
    """Give the store another key. Nobody else may have it open. `sealed` are the files that are enciphered under a key
    that comes of it and lie elsewhere than in `tokens/`. Raises ConfigError, TryLater."""
    if not (data / FILE).exists():
        raise ConfigError(f"there is no store in {data}")
    database, keys = _fitting(data)  # a change that was cut short comes to its end first
    files = _sealed(data, sealed)
    try:
        seal_anew(files, of_keys(keys))  # before anything is begun: each can be read, and written if need be
        fresh = begin_rekey(data, files)
        database.rekey(fresh)
    except TryLater:
        opened(data).close()  # finds out which key it is, and takes the other one away
        raise
    finally:
        database.close()
    seal_anew(files, of_keys([fresh, *keys]))
    end_rekey(data, fresh, changed=True)
