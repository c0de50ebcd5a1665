"""`proxyd rekey`: another key for the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.config import SecretFile, load
from proxyd.config.store_key import CREDENTIAL_CURE, KEY_FILE, credential_key
from proxyd.daemon.alone import AlreadyRuns, hold
from proxyd.errors import ConfigError, ProxydError
from proxyd.places import Places
from proxyd.store.opening import rekey as rekey_store

EPILOG = """\b
Every page of the store is encrypted anew, and so are OAuth2 tokens that lie in files; the new key takes
the old one's place, in the keyring or in the file store.key. A crash in between leaves a store that
opens. Copies and backups made before still open with the old key only. The daemon must be stopped, and
under systemd its sockets, which would start it again. A key that systemd hands over is replaced by
store.key, of which its administrator makes the next credential: docs/administration.md.
Exit status: 0 the key is another, 1 it is not (and why).

\b
Example:
  systemctl --user stop proxyd
  proxyd rekey
  systemctl --user start proxyd
"""


@click.command(epilog=EPILOG)
@with_places
def rekey(places: Places) -> None:
    """Give the store another key."""
    try:
        with _no_daemon(places.data):
            rekey_store(places.data, _sealed(places))
    except ConfigError as error:
        raise ProxydError(str(error)) from None
    note("The store has another key, and so have tokens in files. Copies made before open with the old one only.")
    if credential_key(os.environ) is not None:
        note(f"It lies in {places.data / KEY_FILE} now, no longer in the credential. {CREDENTIAL_CURE}")


@contextmanager
def _no_daemon(data: Path) -> Iterator[None]:
    """None runs, and none starts meanwhile: it would open the store with a key that is another a moment later."""
    try:
        held = hold(data) if data.exists() else None
    except AlreadyRuns:
        raise ProxydError("the daemon is running: stop it, then type `proxyd rekey` again") from None
    except OSError as error:
        raise ProxydError(f"{data}: {error.strerror}") from None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _sealed(places: Places) -> list[Path]:
    """The files of tokens that accounts name; those beside the store are known anyway. Raises ConfigError where the
    configuration cannot be read: what it names would not open any more."""
    grants = [account.sign_in.oauth for account in load(places.config).accounts.values()]
    return [each.tokens.file for each in grants if each is not None and isinstance(each.tokens, SecretFile)]
