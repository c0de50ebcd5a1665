"""Secrets: read where the configuration says they lie, and the few that proxyd makes itself.

No message, exception or log line of this module holds a secret; an exception of a library that might is not chained.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxyd.config import desktop_keyring
from proxyd.config.private_files import create_private, open_private, replace_private
from proxyd.config.problems import shown
from proxyd.config.settings import Account
from proxyd.config.sources import Command, Credential, Env, KeyringEntry, SecretFile, Source
from proxyd.config.store_key import make_key_file, store_key
from proxyd.errors import ConfigError

__all__ = [
    "ensure_client_password",
    "make_key_file",
    "new_client_password",
    "read_secret",
    "remove_secret",
    "store_key",
    "write_secret",
]

COMMAND_LIMIT = 30.0  # seconds: a password program may ask its agent, it may not wait for a person for ever
SECRET_LIMIT = 64 * 1024  # octets

# Crockford's base32 in lower case: no i, l, o, u, which are taken for others when read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def read_secret(source: Source, what: str, *, env: Mapping[str, str] | None = None) -> str:
    """The secret that `source` names. Blocks: up to 5 s for a keyring, up to 30 s for a command.

    `what` names the secret in messages: `the mail password of ada@example.com`. Raises ConfigError with the cure.
    """
    environment = os.environ if env is None else env
    match source:
        case Env(env=name):
            return _from_environment(name, what, environment)
        case SecretFile(file=path):
            return _one_line(_from_file(path, what), f"{what}: the file {shown(str(path), 200)}")
        case Command(command=words):
            return _one_line(_first_line(_from_command(words, what)), f"{what}: what {shown(words[0])} printed")
        case Credential(credential=name):
            return _one_line(_from_credential(name, what, environment), f"{what}: the credential {shown(name)}")
        case KeyringEntry(user, service):
            found = desktop_keyring.read(service, user, what)
            if found is None:
                raise ConfigError(
                    f"{what}: the keyring has no entry for it; store it with: keyring set {service} {user}"
                )
            return _one_line(found.encode("utf-8", "surrogatepass"), f"{what}: the keyring's entry")


def write_secret(source: Source, secret: str, what: str) -> None:
    """Put a secret into the keyring or a file (mode 0600), in the place of an older one.

    Raises ConfigError where that fails, or where the source is one that only its owner fills.
    """
    match source:
        case KeyringEntry(user, service):
            desktop_keyring.write(service, user, secret, what)
        case SecretFile(file=path):
            try:
                replace_private(path, f"{secret}\n".encode())
            except OSError as error:
                raise ConfigError(f"{what}: {shown(str(path), 200)} cannot be written: {error.strerror}") from None
        case _:
            raise ConfigError(f"{what}: proxyd can write to a keyring or a file only; change it where it lies")


def remove_secret(source: Source, what: str) -> bool:
    """Take a secret out of the keyring, or its file away; False = there is none, or it lies where only its owner
    can take it away. Raises ConfigError where that fails."""
    match source:
        case KeyringEntry(user, service):
            return desktop_keyring.remove(service, user, what)
        case SecretFile(file=path):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            except OSError as error:
                raise ConfigError(f"{what}: {shown(str(path), 200)} cannot be removed: {error.strerror}") from None
            return True
        case _:
            return False


def ensure_client_password(account: Account) -> str:
    """The password that the mail client logs in with; made where it is missing (keyring and file). Blocks.

    Two that ask at once get the same. Raises ConfigError.
    """
    source, what = account.client.password, f"the client password of {account.address}"
    match source:
        case KeyringEntry(user, service):
            if desktop_keyring.read(service, user, what) is None:
                desktop_keyring.write(service, user, _new_password(), what)
        case SecretFile(file=path) if not os.path.lexists(path):
            try:
                create_private(path, f"{_new_password()}\n".encode())
            except OSError as error:
                raise ConfigError(f"{what}: {shown(str(path), 200)} cannot be made: {error.strerror}") from None
    return read_secret(source, what)


def new_client_password(account: Account) -> str:
    """Replace the client password by a new one and return it. Raises ConfigError. Blocks."""
    secret = _new_password()
    write_secret(account.client.password, secret, f"the client password of {account.address}")
    return secret


def _new_password() -> str:
    """120 random bits in six groups: `7k2m-x0qd-…`."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(6))


# --- sources -----------------------------------------------------------------------------------------------


def _from_environment(name: str, what: str, env: Mapping[str, str]) -> str:
    value = env.get(name)
    if not value:
        raise ConfigError(f"{what}: the environment variable {shown(name)} is not set where proxyd runs")
    return _one_line(value.encode("utf-8", "surrogateescape"), f"{what}: the environment variable {shown(name)}")


def _from_file(path: Path, what: str) -> bytes:
    try:
        with open_private(path) as file:
            return file.read(SECRET_LIMIT + 1)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{what}: {shown(str(path), 200)} cannot be read: {error.strerror}") from None


def _from_credential(name: str, what: str, env: Mapping[str, str]) -> bytes:
    folder = env.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(f"{what}: systemd handed over no credentials; add LoadCredential={name}:FILE to the unit")
    try:
        with (Path(folder) / name).open("rb") as file:
            return file.read(SECRET_LIMIT + 1)
    except FileNotFoundError:
        raise ConfigError(f"{what}: systemd handed over no credential {shown(name)}; see LoadCredential=") from None
    except OSError as error:
        raise ConfigError(f"{what}: the credential {shown(name)} cannot be read: {error.strerror}") from None


def _from_command(words: Sequence[str], what: str) -> bytes:
    program = shown(words[0])
    try:
        # A session of its own, so that whatever the program started ends with it.
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its arguments are no text"
        raise ConfigError(f"{what}: the program {program} cannot be started: {why}") from None
    with process:
        try:
            output, _ = process.communicate(timeout=COMMAND_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ConfigError(f"{what}: the program {program} did not end within {COMMAND_LIMIT:.0f} s") from None
    if process.returncode != 0:
        raise ConfigError(f"{what}: the program {program} ended with {process.returncode}; try it by hand")
    return output


def _first_line(octets: bytes) -> bytes:
    """`pass` and its kin keep notes below the first line."""
    return octets.split(b"\n", 1)[0].removesuffix(b"\r")


def _one_line(octets: bytes, place: str) -> str:
    """The secret in what was read: one line of UTF-8, its line end gone."""
    line = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise ConfigError(f"{place} is empty")
    if len(line) > SECRET_LIMIT:
        raise ConfigError(f"{place} is larger than {SECRET_LIMIT // 1024} KiB")
    if any(octet in line for octet in (b"\n", b"\r", b"\0")):
        raise ConfigError(f"{place} has more than one line; the secret must be all there is")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{place} is not UTF-8 text") from None
