"""Another key for the store, so that a crash at any moment leaves a key that opens it.

1. The new key is written down beside the old one (`store.key.next`; where the key lies in the keyring, the new one goes
   there too, and the file only says so), and with it which files are enciphered under a key that comes of it.
2. The store is encrypted anew (`store.database`), in one transaction.
3. Those files are enciphered anew, one after the other (`sealed_files`).
4. The new key takes the old one's place, and the note is removed. A key that systemd hands over cannot be replaced by
   us: the new one goes into the key file, until the administrator has made a credential of it.

Whoever opens the store while the note is there tries both keys, and brings the change to its end or takes it back
(`store.opening`).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxyd.config import desktop_keyring
from proxyd.config.private_files import open_private, replace_private, sweep
from proxyd.config.problems import shown
from proxyd.config.store_key import KEY_FILE, KEY_SIZE, WHAT, credential_key, key_of, keyring_entry
from proxyd.errors import ConfigError

NEXT_FILE = "store.key.next"
IN_KEYRING = b"keyring"


def begin_rekey(data: Path, sealed: Sequence[Path] = (), *, env: Mapping[str, str] | None = None) -> bytes:
    """The key that is to follow, durable; `sealed` are the files that are to follow it. Raises ConfigError."""
    fresh = secrets.token_bytes(KEY_SIZE)
    sweep(data / NEXT_FILE)
    files = json.dumps([str(path) for path in sealed]).encode()
    if os.path.lexists(data / KEY_FILE) or credential_key(os.environ if env is None else env) is not None:
        _write(data / NEXT_FILE, fresh.hex().encode() + b"\n" + files + b"\n")
    else:
        desktop_keyring.write("proxyd", _next_entry(data), fresh.hex(), WHAT)
        _write(data / NEXT_FILE, IN_KEYRING + b"\n" + files + b"\n")
    return fresh


def is_begun(data: Path) -> bool:
    """Whether a change was begun and has not come to its end."""
    return os.path.lexists(data / NEXT_FILE)


def to_follow(data: Path) -> list[Path]:
    """The files that a change which was begun is to encipher anew. Raises ConfigError."""
    _, files = _note(data)
    return [Path(each) for each in json.loads(files or b"[]")]


def next_key(data: Path) -> bytes | None:
    """The key that a change was to bring, None where none was begun. Raises ConfigError."""
    note, _ = _note(data)
    if note is None or note != IN_KEYRING:
        return None if note is None else key_of(note, f"the file {shown(str(data / NEXT_FILE), 200)}")
    found = desktop_keyring.read("proxyd", _next_entry(data), WHAT)
    return None if found is None else key_of(found.encode(), "the keyring's entry for the store's next key")


def end_rekey(data: Path, key: bytes, *, changed: bool) -> None:
    """`key` is what opens the store from now on; `changed`: it is the new one. Raises ConfigError."""
    in_keyring = _note(data)[0] == IN_KEYRING
    if changed and in_keyring:
        desktop_keyring.write("proxyd", keyring_entry(data), key.hex(), WHAT)
    elif changed:
        _write(data / KEY_FILE, f"{key.hex()}\n".encode())
    if in_keyring:
        desktop_keyring.remove("proxyd", _next_entry(data), WHAT)
    for name in (KEY_FILE, NEXT_FILE):
        sweep(data / name)
    (data / NEXT_FILE).unlink(missing_ok=True)


def _note(data: Path) -> tuple[bytes | None, bytes]:
    """Its two lines: the key, or that it lies in the keyring, and the files. (None, b"") where there is none."""
    path = data / NEXT_FILE
    if not os.path.lexists(path):
        return None, b""
    with open_private(path) as file:
        key, _, files = file.read().partition(b"\n")
        return key, files


def _next_entry(data: Path) -> str:
    return f"{keyring_entry(data)} (next)"


def _write(path: Path, octets: bytes) -> None:
    try:
        replace_private(path, octets)
    except OSError as error:
        raise ConfigError(f"{WHAT}: {shown(str(path), 200)} cannot be written: {error.strerror}") from None
