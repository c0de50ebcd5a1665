"""`proxyd connect ADDRESS`: from an address to an account that works, or to a sentence that says why not.

Nothing is written before both servers have taken the sign-in; whatever is written before the account's file is taken
back where a later step fails or the person gives up, so that the file is there exactly where all of it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import click

from proxyd.cli.client_settings import show_account_settings
from proxyd.cli.connect_questions import SERVER, Questions, questions, server_option, source_option
from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.config import (
    Account,
    ConfigErrors,
    KeyringEntry,
    Places,
    SecretFile,
    Server,
    Source,
    account_file,
    account_of,
    account_path,
    ensure_client_password,
    load,
    preset,
    read_secret,
    remove_secret,
    replace_private,
    write_secret,
)
from proxyd.config.account_file import Draft
from proxyd.config.fields import is_mail_address
from proxyd.config.secret_places import keyring_works
from proxyd.errors import ConfigError, ProxydError, SignInRefused
from proxyd.model import SentFolder
from proxyd.provider.discovery import Choice, Settled, finder
from proxyd.provider.trial import Habits, Trial
from proxyd.workers import Workers

TRIES = 3  # passwords that a person may type

EPILOG = """\b
The servers are those that the provider is known for, else those that DNS or the domain names,
else what answers under the usual names. Every question has an option; without a terminal nothing
is asked. Nothing is written unless both servers have taken the sign-in.
Exit status: 0 connected, 1 not (and why).

\b
Examples:
  proxyd connect ada@example.com
  proxyd connect ada@example.com --imap imap.example.com --smtp smtp.example.com
  pass show mail/ada | proxyd connect ada@example.com --password-stdin --no-test-mail
  proxyd connect ada@example.com --password-from credential:ada --password-stdin
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    address: str
    name: str
    user: str
    imap_user: str
    smtp_user: str
    provider: str | None
    imap: Server | None
    smtp: Server | None
    ca: Path | None
    password_from: Source | None
    password_stdin: bool
    client_password_from: Source | None
    keep_in: str | None
    dropbox: str | None
    track: str
    test_mail: bool | None
    replace: bool
    nameserver: Server | None


@click.command(epilog=EPILOG)
@click.argument("address")
@click.option("--name", default="", help="The person's name, as shown beside the address.")
@click.option("--provider", metavar="NAME", help="A provider known by name (see docs/configuration.md).")
@click.option("--imap", metavar=SERVER, callback=server_option(993, 143), help="Where mail is read.")
@click.option("--smtp", metavar=SERVER, callback=server_option(465, 587), help="Where mail is handed in.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False), help="PEM file of a private authority to trust there."
)
@click.option("--user", default="", help="The name to sign in with.  [default: the address]")
@click.option("--imap-user", default="", help="Where it differs for IMAP (shared mailboxes).")
@click.option("--smtp-user", default="", help="Where it differs for SMTP.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option(
    "--password-from",
    metavar="SOURCE",
    callback=source_option,
    help="Where the password lies already; it is left there.",
)
@click.option(
    "--client-password-from",
    metavar="SOURCE",
    callback=source_option,
    help="Where the mail client's password lies already.",
)
@click.option(
    "--keep-in", type=click.Choice(["keyring", "file"]), help="Where proxyd keeps secrets.  [default: keyring]"
)
@click.option("--dropbox", metavar="ADDRESS", help="The CRM's BCC address.")
@click.option(
    "--track",
    type=click.Choice(["everything", "contacts", "marked", "nothing"]),
    default="contacts",
    show_default=True,
    help="Which sent mail is logged.",
)
@click.option("--test-mail/--no-test-mail", default=None, help="Send one mail to yourself.  [default: asked]")
@click.option("--replace", is_flag=True, help="Replace the account's file; the old one is kept beside it.")
@click.option("--nameserver", callback=server_option(53, 53), help="Ask this name server.", metavar="HOST[:PORT]")
@click.option("-y", "--yes", is_flag=True, help="Answer every question with yes.")
@with_places
def connect(places: Places, address: str, yes: bool, ca: str | None, **options: object) -> None:
    """Connect the mailbox ADDRESS: find its servers, sign in, write its file, print the mail client's settings."""
    asked = Asked(address=address, ca=Path(ca).absolute() if ca else None, **options)  # type: ignore[arg-type]
    workers = Workers(8)
    try:
        _connect(places, asked, questions(yes=yes), workers)
    except ConfigError as error:  # 78 is for a configuration that a daemon is to run with
        raise ProxydError(str(error)) from None
    finally:
        workers.close()


def _connect(places: Places, asked: Asked, ask: Questions, workers: Workers) -> None:
    if not is_mail_address(asked.address):
        raise ProxydError(f"{asked.address!r} is no mail address; accepted: an address such as ada@example.com")
    path = _path(places, asked, ask)
    draft = _draft(places, asked, ask, workers)
    trial, typed = _signed_in(asked, ask, draft, path, workers)
    note(f"Signed in to {trial.account.provider.imap.host} and {trial.account.provider.smtp.host}.")
    sent = asyncio.run(trial.imap())
    note(f"Sent folder: {sent.name} ({sent.because}).")
    draft = _habits(asked, ask, draft, trial, sent)
    account = _written(draft, path, typed)
    note(f"Written: {path}")
    _in_force(places)
    show_account_settings(places, account)


def _path(places: Places, asked: Asked, ask: Questions) -> Path:
    """Where the account's file goes; one that is there is replaced only if the person says so."""
    _nobody_elses(places, asked.address.lower())
    there = account_path(places.config, asked.address)
    if there is None:
        return places.config / "accounts.d" / f"{quote(asked.address.lower(), safe='@+')}.yaml"
    if not asked.replace and not ask.confirm(
        f"{there} describes {asked.address} already (for a new password: proxyd reconnect). Replace it?",
        "--replace",
        default=False,
    ):
        raise click.Abort
    return there


def _nobody_elses(places: Places, address: str) -> None:
    with contextlib.suppress(ConfigErrors):  # another file's faults are for `proxyd check`
        for account in load(places.config).accounts.values():
            if address in account.aliases:
                raise ProxydError(f"{address} is an alias of {account.address}; one address, one account")


# --- the servers -------------------------------------------------------------------------------------------------


def _draft(places: Places, asked: Asked, ask: Questions, workers: Workers) -> Draft:
    """Everything but what only the servers can tell."""
    keep = asked.keep_in or ("keyring" if keyring_works() else "file")
    name = quote(asked.address.lower(), safe="@+")
    draft = Draft(
        address=asked.address,
        name=asked.name,
        password=_place(asked.password_from, keep, places.config, f"secrets/{name}.password"),
        client_password=_place(asked.client_password_from, keep, places.config, f"secrets/{name}.client"),
        because="named by hand",
        ca=asked.ca,
        imap_user=asked.imap_user or asked.user,
        smtp_user=asked.smtp_user or asked.user,
        dropbox=asked.dropbox,
        track=asked.track,
        on=datetime.now().astimezone().strftime("%Y-%m-%d"),
    )
    if asked.provider is not None:
        return _of_preset(draft, asked.provider)
    if asked.imap is not None and asked.smtp is not None:
        return replace(draft, imap=asked.imap, smtp=asked.smtp)
    return _of_what_is_found(draft, asked, ask, asyncio.run(_found(asked, workers)))


def _place(named: Source | None, keep: str, folder: Path, file: str) -> Source:
    if named is not None:
        return named
    return KeyringEntry("") if keep == "keyring" else SecretFile(file=folder / file)


async def _found(asked: Asked, workers: Workers) -> Settled:
    nameserver = (asked.nameserver.host, asked.nameserver.port) if asked.nameserver else None
    looking = finder(workers, asked.ca, nameserver, lambda line: note(f"{line} …"))
    async with looking.web:
        return await looking.find(asked.address, imap=asked.imap is None, smtp=asked.smtp is None)


def _of_what_is_found(draft: Draft, asked: Asked, ask: Questions, settled: Settled) -> Draft:
    if settled.preset:
        note(f"Provider: {settled.preset}; {settled.because}.")
        return _of_preset(draft, settled.preset)
    imap, smtp = (
        named or _agreed(choice, kind, ask, draft.address)
        for kind, named, choice in (("IMAP", asked.imap, settled.imap), ("SMTP", asked.smtp, settled.smtp))
    )
    because = "; ".join(
        f"{kind}: {choice.because if choice is not None else 'named by hand'}"
        for kind, choice in (("IMAP", settled.imap), ("SMTP", settled.smtp))
    )
    user = {
        kind: choice.place.user if choice is not None else ""
        for kind, choice in (("imap", settled.imap), ("smtp", settled.smtp))
    }
    users = {f"{kind}_user": "" if name.lower() == draft.address.lower() else name for kind, name in user.items()}
    return replace(
        draft,
        imap=imap,
        smtp=smtp,
        because=because,
        imap_user=draft.imap_user or users["imap_user"],
        smtp_user=draft.smtp_user or users["smtp_user"],
    )


def _agreed(choice: Choice | None, kind: str, ask: Questions, address: str) -> Server:
    assert choice is not None
    place = choice.place
    note(f"{kind}: {place} ({choice.because}).")
    if choice.ask and not ask.confirm(
        f"{place.host} is not within the domain of {address}, and DNS can be forged. Sign in there with the password?",
        f"--{kind.lower()} {place.host}",
        default=False,
    ):
        raise click.Abort
    return Server(host=place.host, port=place.port, tls=place.tls)


def _of_preset(draft: Draft, name: str) -> Draft:
    found = preset.find(name)
    if found is None:
        raise ProxydError(f"{name!r} is no provider known by name; accepted: {', '.join(preset.presets())}")
    if found[1].password_is:
        note(f"The password that programs sign in with there: {found[1].password_is}")
    return replace(draft, provider=found[0], because=f"{found[0]} is known by name")


# --- signing in --------------------------------------------------------------------------------------------------


def _signed_in(asked: Asked, ask: Questions, draft: Draft, path: Path, workers: Workers) -> tuple[Trial, str | None]:
    """The account, tried at both servers, and the password where it was typed. A wrong one may be typed again."""
    account = account_of(account_file.text_of(draft), path)
    typed = None
    for attempt in range(TRIES):
        secret, typed = _password(asked, ask, account)
        trial = Trial(account, secret, workers)
        try:
            asyncio.run(_both(trial))
        except SignInRefused as error:
            said = f"{error}: {error.evidence}" if error.evidence else str(error)
            if typed is None or asked.password_stdin or not ask.terminal or attempt == TRIES - 1:
                raise ProxydError(said) from None
            note(said)
        else:
            return trial, typed
    raise AssertionError("the last try raises")


async def _both(trial: Trial) -> None:
    await trial.imap()
    await trial.smtp()


def _password(asked: Asked, ask: Questions, account: Account) -> tuple[str, str | None]:
    """The secret, and once more where it was typed now and is to be kept."""
    what = f"the mail password of {account.address}"
    if asked.password_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
        if not secret:
            raise ProxydError(f"{what}: standard input is empty")
        return secret, secret
    if asked.password_from is not None:
        return read_secret(account.sign_in.password, what), None
    secret = ask.secret(f"Password of {account.sign_in.imap_user}", "--password-stdin or --password-from")
    return secret, secret


def _habits(asked: Asked, ask: Questions, draft: Draft, trial: Trial, sent: SentFolder) -> Draft:
    """What a mail to oneself shows, where it is worth one and the person agrees."""
    known = trial.account.provider.files_sent
    if asked.test_mail is False or (asked.test_mail is None and known != "unknown" and draft.dropbox is None):
        return draft
    question = f"Send one mail from {draft.address} to itself, to see whether the provider files it in Sent"
    question += f", and one to {draft.dropbox}?" if draft.dropbox else "?"
    if asked.test_mail is None and not ask.terminal and not ask.yes:
        return draft  # nothing hangs on it: what is unknown is found out with the first mails
    if not asked.test_mail and not ask.confirm(question, "--test-mail or --no-test-mail"):
        return draft
    note("Sending a mail to yourself, and waiting for it …")
    habits = asyncio.run(trial.mail_to_oneself(sent))
    _tell(habits, sent)
    if not habits.arrived and not habits.files_sent:
        return draft
    return replace(draft, files_sent="yes" if habits.files_sent else "no")


def _tell(habits: Habits, sent: SentFolder) -> None:
    if not habits.arrived:
        note("The provider took it, but it has not arrived yet: it may have gone into another folder.")
    filed = "The provider files sent mail" if habits.files_sent else "The provider does not file sent mail: proxyd will"
    note(f"{filed} in {sent.name}." if habits.files_sent else f"{filed} put it into {sent.name}.")
    if habits.new_id:
        note("The provider gives sent mail another Message-ID: answers are matched by both.")
    if habits.dropbox:
        note(f"The dropbox did not take its copy: {habits.dropbox}")


# --- what is written ---------------------------------------------------------------------------------------------


def _written(draft: Draft, path: Path, typed: str | None) -> Account:
    """The secrets, then the file: it comes last, and where it does not come, they go again."""
    text = account_file.text_of(_relative(draft, path.parent.parent))
    account = account_of(text, path)
    with _taken_back_unless_whole() as undo:
        source = account.sign_in.password
        if typed is not None and isinstance(source, KeyringEntry | SecretFile):
            _keep(undo, source, typed, f"the mail password of {account.address}")
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


@contextlib.contextmanager
def _taken_back_unless_whole() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as undo:
        yield undo
        undo.pop_all()


def _keep(undo: contextlib.ExitStack, source: Source, secret: str, what: str) -> None:
    if not _is_there(source):
        undo.callback(_forget, source)
    write_secret(source, secret, what)


def _is_there(source: Source) -> bool:
    if isinstance(source, SecretFile):
        return os.path.lexists(source.file)
    with contextlib.suppress(ConfigError):
        read_secret(source, "an entry")
        return True
    return False


def _forget(source: Source) -> None:
    with contextlib.suppress(ConfigError):
        remove_secret(source, "an entry")


def _relative(draft: Draft, folder: Path) -> Draft:
    """Files of the configuration's own folder are named from there, so that the folder may move."""

    def near(source: Source) -> Source:
        if isinstance(source, SecretFile) and source.file.is_relative_to(folder):
            return SecretFile(file=source.file.relative_to(folder))
        return source

    return replace(draft, password=near(draft.password), client_password=near(draft.client_password))


def _in_force(places: Places) -> None:
    try:
        with daemon_link(places) as link:
            problems = link.reload()
    except NotRunning:
        note("The daemon is not running; start it with: proxyd run")
        return
    if problems:
        note(f"Not everything is in force: {problems[0]} (see proxyd check)")
    else:
        note("The daemon serves the account now (proxyd status).")
