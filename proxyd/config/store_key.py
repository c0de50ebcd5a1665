"""The key of the store: found where it was put, made once, never made anew for a store that exists.

Where it may lie, first found wins: a systemd credential, the key file beside the store, the keyring. A new one goes
into the keyring; where there is none, and for the system service, which has no desktop to ask, into the key file, which
keeps others out but not whoever takes the whole folder.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from proxyd.config import desktop_keyring
from proxyd.config.private_files import create_private, open_private
from proxyd.config.problems import shown
from proxyd.errors import ConfigError
from proxyd.places import is_system_service

KEY_SIZE = 32  # octets
KEY_FILE = "store.key"
STORE_FILE = "store.db"
CREDENTIALS = ("proxyd-store-key", "master-key")
WHAT = "the store's key"
CREDENTIAL_CURE = (
    "Make a credential of that file, and remove it: "
    "systemd-creds encrypt --name=proxyd-store-key FILE /etc/credstore.encrypted/proxyd-store-key"
)


class KeyMissing(ConfigError):
    """There is a store, and its key is nowhere that this process may look: it may be another's credential."""


def store_key(data: Path, *, store: str = STORE_FILE, env: Mapping[str, str] | None = None) -> bytes:
    """The 32 octets that the store in the folder `data` is encrypted with; `data` must exist. Blocks.

    `store` is the store's file name: once that file is there, no key is ever made. Raises ConfigError.
    """
    environment = os.environ if env is None else env
    found = credential_key(environment)
    if found is None:
        found = file_key(data)
    if found is not None:
        return found
    with _alone(data):
        found = file_key(data)  # another process may have been first
        if found is not None:
            return found
        if is_system_service(environment) and not os.path.lexists(data / store):
            return make_key_file(data)
        return _from_keyring(data, store)


def make_key_file(data: Path) -> bytes:
    """Make the key file in `data`, where there is none yet, and return its key. Raises ConfigError."""
    path = data / KEY_FILE
    try:
        create_private(path, f"{secrets.token_hex(KEY_SIZE)}\n".encode())
    except OSError as error:
        raise ConfigError(f"{WHAT}: {shown(str(path), 200)} cannot be made: {error.strerror}") from None
    found = file_key(data)
    if found is None:
        raise ConfigError(f"{WHAT}: {shown(str(path), 200)} was removed while it was made")
    return found


def credential_key(env: Mapping[str, str]) -> bytes | None:
    """The one that systemd hands over. Raises ConfigError."""
    folder = env.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    for name in CREDENTIALS:
        try:
            octets = (Path(folder) / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{WHAT}: the credential {name} cannot be read: {error.strerror}") from None
        return key_of(octets, f"the credential {name}")
    return None


def file_key(data: Path) -> bytes | None:
    """The key file's, None where there is none. Raises ConfigError."""
    path = data / KEY_FILE
    if not os.path.lexists(path):
        return None
    try:
        with open_private(path) as file:
            octets = file.read(1024)
    except ConfigError as error:
        raise ConfigError(f"{WHAT}: {error}") from None
    return key_of(octets, f"the file {shown(str(path), 200)}")


def keyring_entry(data: Path) -> str:
    """Under which name the keyring has it."""
    return f"store-key {data.resolve()}"


def _from_keyring(data: Path, store: str) -> bytes:
    entry = keyring_entry(data)
    exists = os.path.lexists(data / store)
    try:
        found = desktop_keyring.read("proxyd", entry, WHAT)
        if found is not None:
            return key_of(found.encode(), f"the keyring's entry {shown(entry, 200)}")
        if not exists:
            fresh = secrets.token_hex(KEY_SIZE)
            desktop_keyring.write("proxyd", entry, fresh, WHAT)
            return bytes.fromhex(fresh)
        why = f"the keyring has no entry {shown(entry, 200)}"
    except desktop_keyring.NoKeyring as error:
        if not exists:
            return make_key_file(data)
        why = str(error).removeprefix(f"{WHAT}: ").partition(";")[0]
    except desktop_keyring.KeyringSilent as error:
        # The key may lie in it: a second one, in a file, would be found first from then on.
        file = shown(str(data / KEY_FILE), 200)
        cure = "" if exists else f", or put {2 * KEY_SIZE} random hex digits into the file {file} (mode 0600)"
        raise type(error)(f"{str(error).partition(';')[0]}; unlock it{cure}") from None
    raise KeyMissing(
        f"{WHAT}: the store {shown(str(data / store), 200)} exists, but its key is not to be found: "
        f"no credential, no file {KEY_FILE} beside it, and {why}; bring the key back, or move the store away"
    )


def key_of(octets: bytes, place: str) -> bytes:
    """32 octets as they are, or written as hex or base64."""
    if len(octets) == KEY_SIZE:
        return octets
    text = octets.strip()
    for read in (binascii.unhexlify, lambda t: base64.b64decode(t, validate=True)):
        try:
            key = read(text)
        except (binascii.Error, ValueError):
            continue
        if len(key) == KEY_SIZE:
            return key
    raise ConfigError(f"{WHAT}: {place} does not hold {KEY_SIZE} random octets (as they are, in hex or in base64)")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, whatever ends it."""
    try:
        descriptor = os.open(data / ".store.key.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"the data folder {shown(str(data), 200)} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
