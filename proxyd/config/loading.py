"""A folder to Settings: every file read, every problem of every file collected, nothing half taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from proxyd.config import preset
from proxyd.config.checks import account_files, daemon_files
from proxyd.config.fields import Origin
from proxyd.config.oauth import OAuth, worked_out
from proxyd.config.private_files import open_regular
from proxyd.config.problems import START, ConfigErrors, Mark, NotAccepted, Problem, shown
from proxyd.config.sentences import SECRET_SECTIONS, Loc, preset_unknown, sentences, value_mark
from proxyd.config.settings import Account, AccountFile, Choices, Client, Daemon, Provider, Settings, SignIn
from proxyd.config.sources import Command, Credential, Env, KeyringEntry, SecretFile, Section, Source
from proxyd.config.tree import FILE_LIMIT, Node, Scalar, Table, read_tree, values
from proxyd.errors import ConfigError

S = TypeVar("S", bound=Section)
T = TypeVar("T")


def load(folder: Path) -> Settings:
    """Read `proxyd.yaml` and `accounts.d/*.yaml` of `folder`; each may be missing.

    A function of the folder alone, so that a reload is another call. Raises ConfigErrors with every problem.
    """
    problems: list[Problem] = []
    daemon = _daemon(folder, problems)
    accounts = _accounts(folder, problems)
    if problems:
        raise ConfigErrors(problems)
    return _settings(daemon, accounts)


def load_what_is_well(folder: Path, before: Settings | None = None) -> tuple[Settings, tuple[Problem, ...]]:
    """As `load`, for a daemon that serves many: one person's broken file is theirs alone.

    The account of a broken file is what that file made of it `before`, or is not there. Raises ConfigErrors where
    proxyd.yaml itself is wrong, or where nothing is well.
    """
    wrong: list[Problem] = []
    daemon = _daemon(folder, wrong)
    if wrong:
        raise ConfigErrors(wrong + _problems_of_accounts(folder))
    problems: list[Problem] = []
    read = _accounts(folder, problems)
    broken = {problem.file for problem in problems}
    accounts = {path: account for path, account in read.items() if path not in broken}
    taken = {each for account in accounts.values() for each in (account.address, *account.aliases)}
    for path, address in (before.files if before is not None else {}).items():
        if path in broken and address not in taken and before is not None:
            accounts[path] = before.accounts[address]
    if problems and not accounts:
        raise ConfigErrors(problems)
    return _settings(daemon, accounts), tuple(problems)


def _problems_of_accounts(folder: Path) -> list[Problem]:
    problems: list[Problem] = []
    _accounts(folder, problems)
    return problems


def _settings(daemon: Daemon, accounts: Mapping[Path, Account]) -> Settings:
    if daemon.plus_tags != "apart":
        told = {"plus_tags": daemon.plus_tags}
        accounts = {path: _account(dict(account) | told) for path, account in accounts.items()}
    return Settings(
        daemon,
        MappingProxyType({account.address: account for account in accounts.values()}),
        MappingProxyType({path: account.address for path, account in accounts.items()}),
    )


@dataclass(slots=True)
class _File:
    """One file on its way: its tree, and what is wrong with it."""

    path: Path
    root: Node | None = None
    no_settings: bool = False
    problems: list[Problem] = field(default_factory=list)

    def problem(self, mark: Mark, message: str) -> None:
        self.problems.append(Problem(self.path, mark.line, mark.column, message))

    def problem_at(self, loc: Loc, message: str) -> None:
        self.problem(value_mark(self.root, loc) if self.root is not None else START, message)


def account_of(text: str, path: Path) -> Account:
    """The account that `text` would be as the file `path` of a configuration's folder. Raises ConfigErrors.

    For a file that is about to be written; that a secret's file is missing yet is no problem then.
    """
    file = _parsed(_File(path), text.encode())
    setting = _validated(file, AccountFile, path.parent.parent)
    account = _resolved(setting, file) if setting is not None else None
    if account is not None and account.dropbox is not None and account.dropbox.lower() == account.address:
        file.problem_at(["dropbox"], "dropbox: this is the account's own address")
    if account is None or file.problems:
        raise ConfigErrors(file.problems)
    return account


def account_path(folder: Path, address: str) -> Path | None:
    """The file that describes the account of `address`, with or without faults; None where there is none."""
    for path in _account_paths(folder / "accounts.d", []):
        own = next((text for loc, text in _addresses(_read(path).root) if loc == ["address"]), None)
        if own is not None and own.lower() == address.lower():
            return path
    return None


def _read(path: Path) -> _File:
    file = _File(path)
    try:
        with open_regular(path) as opened:
            octets = opened.read(FILE_LIMIT + 1)
    except ConfigError as error:
        file.problem(START, str(error))
        return file
    except OSError as error:
        file.problem(START, f"the file cannot be read: {error.strerror}")
        return file
    return _parsed(file, octets)


def _parsed(file: _File, octets: bytes) -> _File:
    reading = read_tree(octets, silent=SECRET_SECTIONS)
    file.root = reading.root
    file.no_settings = reading.no_settings
    for mark, message in reading.problems:
        file.problem(mark, message)
    if file.root is not None and not isinstance(file.root, Table):
        if not file.problems:
            file.problem(file.root.mark, "the file is not a mapping; accepted: settings such as 'key: value'")
        file.root = None
    return file


def _validated(file: _File, model: type[S], folder: Path) -> S | None:
    if file.root is None:
        return None
    try:
        return model.model_validate(values(file.root), context=Origin(folder))
    except ValidationError as error:
        for mark, message in sentences(error, file.root, model):
            file.problem(mark, message)
        return None


# --- proxyd.yaml -------------------------------------------------------------------------------------------


def _daemon(folder: Path, problems: list[Problem]) -> Daemon:
    path = folder / "proxyd.yaml"
    if os.path.lexists(folder / "proxyd.yml"):
        problems.append(_misnamed(folder / "proxyd.yml"))
    if not _is_there(path):
        return Daemon()
    file = _read(path)
    daemon = Daemon() if file.no_settings else _validated(file, Daemon, folder)
    if daemon is not None:
        for loc, message in daemon_files(daemon):
            file.problem_at(loc, message)
        for loc, message in _listening_twice(daemon):
            file.problem_at(loc, message)
    problems += file.problems
    return daemon or Daemon()


def _is_there(path: Path) -> bool:
    """Only what is certainly missing counts as missing; what may not be looked at is a problem, not a default."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _listening_twice(daemon: Daemon) -> Iterable[tuple[Loc, str]]:
    taken: dict[str, str] = {}
    for name in type(daemon.listen).model_fields:
        endpoint = getattr(daemon.listen, name)
        if endpoint is None or endpoint.port == 0:
            continue
        if (first := taken.setdefault(str(endpoint), name)) != name:
            yield ["listen", name], f"listen.{name}: {endpoint} is already taken by listen.{first}"


def _misnamed(path: Path) -> Problem:
    return Problem(path, 1, 1, f"this file is not read; rename it to {shown(path.stem + '.yaml')}")


# --- accounts.d --------------------------------------------------------------------------------------------


def _accounts(folder: Path, problems: list[Problem]) -> dict[Path, Account]:
    """By their files; also of a file with faults, where an account could be made out.

    One after the other, and nothing is kept of a file but its account: there may be thousands.
    """
    accounts: dict[Path, Account] = {}
    owners: dict[str, tuple[Path, Mark]] = {}
    for path in _account_paths(folder / "accounts.d", problems):
        file = _read(path)
        if (account := _account_in(file, folder)) is not None:
            accounts[path] = account
        _one_address_one_account(file, owners)
        problems += file.problems
    return accounts


def _account_in(file: _File, folder: Path) -> Account | None:
    if file.no_settings:
        file.problem(START, "the file has no settings; accepted: address and provider at least")
    setting = _validated(file, AccountFile, folder)
    if setting is None:
        return None
    for loc, message in account_files(setting):
        file.problem_at(loc, message)
    return _resolved(setting, file)


def _account_paths(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(Problem(folder, 1, 1, f"the folder cannot be read: {error.strerror}"))
        return []
    shown_paths = [path for path in paths if not path.name.startswith(".")]
    problems += [_misnamed(path) for path in shown_paths if path.suffix == ".yml"]
    return [path for path in shown_paths if path.suffix == ".yaml"]


def _resolved(setting: AccountFile, file: _File) -> Account | None:
    provider = _provider(setting, file)
    if provider is None:
        return None
    written = file.root.entry("address") if isinstance(file.root, Table) else None
    as_written = written.value.text if written and isinstance(written.value, Scalar) else setting.address
    user = setting.sign_in.user or as_written
    oauth = _oauth(setting, file)
    if setting.sign_in.oauth is not None and oauth is None:
        return None
    chosen = {name: _shared(getattr(setting, name)) for name in Choices.model_fields}
    sign_in = SignIn(
        imap_user=setting.sign_in.imap_user or user,
        smtp_user=setting.sign_in.smtp_user or user,
        password=_source(setting.sign_in.password, f"{setting.address}/mail"),
        oauth=oauth,
    )
    client = Client(_source(setting.client.password, f"{setting.address}/client"))
    return _account(chosen | {"provider": _shared(provider), "sign_in": sign_in, "client": client})


_TOLD = set(Account.model_fields)  # one for all: a set of its own costs each account two KiB


def _account(values: Mapping[str, Any]) -> Account:
    """Of values that `AccountFile` has found good."""
    return Account.model_construct(_TOLD, **values)


def _shared(value: T) -> T:
    """What thousands of accounts say alike is held once: the last few values that were equal to this one."""
    try:
        known: T = _held((type(value), value))[1]
    except TypeError:  # it holds a dict
        return value
    return known


@lru_cache(maxsize=1024)
def _held(value: tuple[type, Any]) -> tuple[type, Any]:
    return value


def _oauth(setting: AccountFile, file: _File) -> OAuth | None:
    if setting.sign_in.oauth is None:
        return None
    found = preset.find(setting.provider) if isinstance(setting.provider, str) else None
    try:
        return worked_out(setting.sign_in.oauth, found[1].oauth if found else None, setting.address)
    except NotAccepted as error:
        file.problem_at(["sign_in", "oauth"], f"sign_in.oauth: {error.problem}; accepted: {error.accepted}")
        return None


def _provider(setting: AccountFile, file: _File) -> Provider | None:
    if not isinstance(setting.provider, str):
        return preset.resolved(setting.provider)
    found = preset.find(setting.provider)
    if found is None:
        file.problem_at(["provider"], preset_unknown(setting.provider))
        return None
    return preset.resolved(found[1], found[0])


def _source(setting: str | Env | SecretFile | Command | Credential, entry: str) -> Source:
    return KeyringEntry(entry) if isinstance(setting, str) else setting


def _one_address_one_account(file: _File, owners: dict[str, tuple[Path, Mark]]) -> None:
    """No address or alias may belong to two accounts, or stand twice in one. `owners`: where each stands first, in the
    files before this one."""
    for loc, address in _addresses(file.root):
        mark = value_mark(file.root, loc) if file.root is not None else START
        first = owners.setdefault(address.lower(), (file.path, mark))
        if first != (file.path, mark):
            place = f"{first[0].name}:{first[1].line}"
            file.problem(mark, f"{shown(address)} is already an address of {place}; one address, one account")


def _addresses(root: Node | None) -> Iterable[tuple[Loc, str]]:
    """Also of a file with other faults, so that every problem is told at once."""
    plain = values(root) if root is not None else None
    if not isinstance(plain, dict):
        return
    if isinstance(address := plain.get("address"), str):
        yield ["address"], address
    aliases = plain.get("aliases")
    for n, alias in enumerate(aliases if isinstance(aliases, tuple) else ()):
        if isinstance(alias, str):
            yield ["aliases", n], alias
