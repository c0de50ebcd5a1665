"""What the files named in a configuration must be: there, and a secret's readable by nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from proxyd.config.alerting import AlertWebhook
from proxyd.config.crm import BESIDE_ANY_DROPBOX
from proxyd.config.private_files import open_private, open_regular
from proxyd.config.sentences import Loc, dotted
from proxyd.config.settings import AccountFile, CertificateFiles, Daemon, ProviderSetting
from proxyd.config.sources import SecretFile
from proxyd.errors import ConfigError


def daemon_files(daemon: Daemon) -> Iterator[tuple[Loc, str]]:
    """(where, sentence) for each file of proxyd.yaml that cannot be used."""
    if isinstance(daemon.certificate, CertificateFiles):
        yield from _usable(["certificate", "chain"], daemon.certificate.chain)
        yield from _private(["certificate", "key"], daemon.certificate.key)


def account_files(account: AccountFile) -> Iterator[tuple[Loc, str]]:
    """(where, sentence) for each file of an account's that cannot be used. proxyd makes a missing client password."""
    if isinstance(account.provider, ProviderSetting) and account.provider.ca is not None:
        yield from _usable(["provider", "ca"], account.provider.ca)
    if isinstance(source := account.sign_in.password, SecretFile):
        yield from _private(["sign_in", "password", "file"], source.file)
    oauth = account.sign_in.oauth
    if oauth is not None and isinstance(source := oauth.client_secret, SecretFile):
        yield from _private(["sign_in", "oauth", "client_secret", "file"], source.file)
    if isinstance(source := account.client.password, SecretFile) and os.path.lexists(source.file):
        yield from _private(["client", "password", "file"], source.file)
    for n, alert in enumerate(account.alerts):
        if isinstance(alert, AlertWebhook) and isinstance(alert.secret, SecretFile):
            yield from _private(["alerts", n, "secret", "file"], alert.secret.file)
    if account.dropbox is not None and account.dropbox.lower() in (account.address, *account.aliases):
        yield ["dropbox"], "dropbox: this is the account's own address; accepted: the CRM's BCC address, or none"
    yield from _crms(account)


def _crms(account: AccountFile) -> Iterator[tuple[Loc, str]]:
    names: set[str] = set()
    for n, crm in enumerate(account.crm):
        place: Loc = ["crm", n] if crm.options is None else ["crm", n, crm.kind]
        if crm.name in names:
            yield place, f"crm, entry {n + 1}: this account has another {crm.name}; accepted: a `name` of its own"
        names.add(crm.name)
        if crm.options is None:
            continue
        if account.dropbox and crm.kind not in BESIDE_ANY_DROPBOX and not crm.options.beside_dropbox:
            yield (
                place,
                f"crm, entry {n + 1}: with the dropbox and the adapter {crm.kind} a message would be logged twice; "
                "accepted: one of the two, or `beside_dropbox: yes` where the dropbox is another CRM's",
            )
        for key in type(crm.options).model_fields:
            value = getattr(crm.options, key)
            if isinstance(value, SecretFile):
                yield from _private([*place, key, "file"], value.file)
            elif isinstance(value, tuple):
                for m, each in enumerate(value):
                    if isinstance(each, SecretFile):
                        yield from _private([*place, key, m, "file"], each.file)
            elif key == "ca" and isinstance(value, Path):
                yield from _usable([*place, key], value)


def _usable(loc: Loc, path: Path) -> Iterator[tuple[Loc, str]]:
    try:
        open_regular(path).close()
    except ConfigError as error:
        yield loc, f"{dotted(loc)}: {error}"


def _private(loc: Loc, path: Path) -> Iterator[tuple[Loc, str]]:
    try:
        open_private(path).close()
    except ConfigError as error:
        yield loc, f"{dotted(loc)}: {error}"
