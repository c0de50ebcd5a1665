"""What `proxyd connect` writes: the secrets, then the account's file, and where that does not come, nothing stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from proxyd.cli.connect_sign_in import SignedIn
from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.showing import note
from proxyd.config import (
    Account,
    KeyringEntry,
    SecretFile,
    Source,
    account_file,
    account_of,
    ensure_client_password,
    read_secret,
    remove_secret,
    replace_private,
    write_secret,
)
from proxyd.config.account_file import Draft
from proxyd.config.sealed_files import NO_SEAL, Seal
from proxyd.errors import ConfigError
from proxyd.places import Places
from proxyd.provider import tokens
from proxyd.store.opening import seal

WHAT = "an entry"


def written(places: Places, draft: Draft, path: Path, signed_in: SignedIn) -> Account:
    """The account as it is from now on. Raises ConfigError; then what was written before is taken back."""
    text = account_file.text_of(_relative(draft, path.parent.parent))
    account = account_of(text, path)
    with _taken_back_unless_whole() as undo:
        keep_secrets(places, account, signed_in, undo)
        if isinstance(source := account.client.password, KeyringEntry | SecretFile):
            if not _is_there(source):
                undo.callback(_forget, source)
            ensure_client_password(account)
        if path.exists():
            before = path.with_name(f"{path.name}.before")
            replace_private(before, path.read_bytes())
            note(f"The old file is kept as {before}")
        replace_private(path, text.encode())
    return account


def keep_secrets(
    places: Places, account: Account, signed_in: SignedIn, undo: contextlib.ExitStack | None = None
) -> None:
    """What the person gave, where the account's file says that it lies."""
    undo = undo or contextlib.ExitStack()
    sign_in, address = account.sign_in, account.address
    if signed_in.password is not None and isinstance(sign_in.password, KeyringEntry | SecretFile):
        _taken_back(undo, sign_in.password)
        write_secret(sign_in.password, signed_in.password, f"the mail password of {address}")
    if sign_in.oauth is not None and signed_in.tokens is not None:
        if signed_in.client_secret and sign_in.oauth.client_secret is not None:
            _taken_back(undo, sign_in.oauth.client_secret)
            write_secret(sign_in.oauth.client_secret, signed_in.client_secret, f"the client secret of {address}")
        _taken_back(undo, sign_in.oauth.tokens)
        tokens.store(sign_in.oauth, signed_in.tokens, address, _seal(places, sign_in.oauth.tokens))


def _seal(places: Places, source: Source) -> Seal:
    if not isinstance(source, SecretFile):
        return NO_SEAL  # a keyring keeps what is in it to itself
    places.make_data()
    sealed = seal(places.data)
    if not sealed.works:
        note("systemd hands the store's key to the daemon alone: it enciphers the tokens when it reads them first.")
    return sealed


@contextlib.contextmanager
def _taken_back_unless_whole() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as undo:
        yield undo
        undo.pop_all()


def _taken_back(undo: contextlib.ExitStack, source: Source) -> None:
    """What is made new is taken away again; what was there before is worth nothing any more, and is overwritten."""
    if not _is_there(source):
        undo.callback(_forget, source)


def _is_there(source: Source) -> bool:
    if isinstance(source, SecretFile):
        return os.path.lexists(source.file)
    with contextlib.suppress(ConfigError):
        read_secret(source, WHAT)
        return True
    return False


def _forget(source: Source) -> None:
    with contextlib.suppress(ConfigError):
        remove_secret(source, WHAT)


def _relative(draft: Draft, folder: Path) -> Draft:
    """Files of the configuration's own folder are named from there, so that the folder may move."""

    def near(source: Source) -> Source:
        if isinstance(source, SecretFile) and source.file.is_relative_to(folder):
            return SecretFile(file=source.file.relative_to(folder))
        return source

    return replace(draft, password=near(draft.password), client_password=near(draft.client_password))


def in_force(places: Places) -> bool:
    """Tell the daemon, where one runs; else the person. Whether one does."""
    try:
        with daemon_link(places) as link:
            problems = link.reload()
    except NotRunning:
        note("The daemon is not running.")
        return False
    if problems:
        note(f"Not everything is in force: {problems[0]} (see proxyd check)")
    else:
        note("The daemon has taken it over (proxyd status).")
    return True
