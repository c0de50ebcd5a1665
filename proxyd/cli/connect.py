"""`proxyd connect ADDRESS`: from an address to an account that works, or to a sentence that says why not.

Nothing is written before both servers have taken the sign-in; whatever is written before the account's file is taken
back where a later step fails or the person gives up, so that the file is there exactly where all of it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import click

from proxyd.cli.client_settings import Client, client_named, show_account_settings
from proxyd.cli.connect_questions import SERVER, Questions, questions, server_option, source_option
from proxyd.cli.connect_sign_in import Way
from proxyd.cli.connect_writing import in_force, written
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.config import (
    ConfigErrors,
    KeyringEntry,
    SecretFile,
    Server,
    Source,
    account_file,
    account_of,
    account_path,
    load,
    preset,
)
from proxyd.config.account_file import Draft
from proxyd.config.fields import is_mail_address
from proxyd.config.secret_places import keyring_works
from proxyd.errors import ConfigError, ProxydError
from proxyd.model import SentFolder
from proxyd.places import Places
from proxyd.provider.discovery import Choice, Settled, finder
from proxyd.provider.trial import Habits, Trial
from proxyd.web.client_steps import TITLES
from proxyd.workers import Workers

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
    client_id: str | None
    client_secret_from: Source | None
    tenant: str | None
    flow: str
    paste: bool
    endpoint: tuple[str, ...]
    scope: tuple[str, ...]
    replace: bool
    client: str | None
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
@click.option("--client-id", metavar="ID", help="Sign in by OAuth2, with the id of your own application.")
@click.option("--client-secret-from", metavar="SOURCE", callback=source_option, help="Where its secret lies already.")
@click.option("--tenant", help="Microsoft 365: your organisation's id or domain.")
@click.option("--flow", type=click.Choice(["browser", "device"]), default="browser", help="How you agree.")
@click.option("--paste", is_flag=True, help="Your browser is on another machine: paste the address that it ends at.")
@click.option(
    "--endpoint",
    metavar="KEY=ADDRESS",
    multiple=True,
    help="Where the provider is not known: authorization_endpoint=…, token_endpoint=… and others.",
)
@click.option("--scope", multiple=True, help="Where the provider is not known: what to ask for.")
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
@click.option("--client", type=Client(), help="Print the steps for this mail program.  [default: asked]")
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
    draft, draft_secret = _with_oauth(places, asked, ask, _draft(places, asked, ask, workers))
    way = Way(
        ask,
        workers,
        from_stdin=asked.password_stdin,
        read=asked.password_from is not None,
        paste=asked.paste,
        client_secret=draft_secret,
    )
    signed_in = way.signed_in(account_of(account_file.text_of(draft), path))
    trial = signed_in.trial
    note(f"Signed in to {trial.account.provider.imap.host} and {trial.account.provider.smtp.host}.")
    sent = asyncio.run(trial.imap())
    note(f"Sent folder: {sent.name} ({sent.because}).")
    draft = _habits(asked, ask, draft, trial, sent)
    account = written(places, draft, path, signed_in)
    note(f"Written: {path}")
    runs = in_force(places)
    show_account_settings(places, account, _programs(asked, ask))
    if not runs:  # the last thing on the screen, below all that is for mail programs
        note("\nWhat comes next: let it run, in a terminal of its own or as a service, and say whose mail is logged:")
        note('  proxyd run\n  proxyd contact add EMAIL --name "NAME"')


def _programs(asked: Asked, ask: Questions) -> list[str]:
    """Whose steps are printed. The account is connected by now: who gives up here has not undone anything."""
    if asked.client is not None:
        return [asked.client]
    with contextlib.suppress(click.Abort):
        named = client_named(ask.maybe(f"Which mail program is to be set up ({', '.join(TITLES)}; Enter: another)?"))
        return [named] if named is not None else []
    return []


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
    keep = _keep(asked.keep_in)
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


@functools.cache
def _keep(named: str | None) -> str:
    """Where secrets are kept: keyring | file."""
    if named is None and not keyring_works():
        note("This machine has no keyring: secrets go into files that only you can read.")
        return "file"
    return named or "keyring"


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
    agreed: set[str] = set()  # hosts outside the domain that the person lets have the password
    imap, smtp = (
        named or _agreed(choice, kind, ask, draft.address, agreed)
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


def _agreed(choice: Choice | None, kind: str, ask: Questions, address: str, agreed: set[str]) -> Server:
    assert choice is not None
    place = choice.place
    note(f"{kind}: {place} ({choice.because}).")
    if place.host not in agreed and not _may_have_the_password(choice, kind, ask, address):
        raise click.Abort
    agreed.add(place.host)
    return Server(host=place.host, port=place.port, tls=place.tls)


def _may_have_the_password(choice: Choice, kind: str, ask: Questions, address: str) -> bool:
    host = choice.place.host
    return not choice.ask or ask.confirm(
        f"{host} is not within the domain of {address}, and DNS can be forged. Sign in there with the password?",
        f"--{kind.lower()} {host}",
        default=False,
    )


def _of_preset(draft: Draft, name: str) -> Draft:
    found = preset.find(name)
    if found is None:
        raise ProxydError(f"{name!r} is no provider known by name; accepted: {', '.join(preset.presets())}")
    return replace(draft, provider=found[0], because=f"{found[0]} is known by name")


# --- OAuth2 ------------------------------------------------------------------------------------------------------


def _with_oauth(places: Places, asked: Asked, ask: Questions, draft: Draft) -> tuple[Draft, str | None]:
    """The draft with `sign_in.oauth` where that is the way, and the client's secret where it was typed."""
    known = preset.presets()[draft.provider] if draft.provider else None
    client_id = asked.client_id
    if client_id is None:
        if known is not None and known.password_is:
            note(f"The password that programs sign in with there: {known.password_is}")
        by_hand = asked.password_stdin or asked.password_from is not None
        if known is None or known.oauth is None or known.password_is or by_hand:
            return draft, None
        note(f"{draft.provider} takes no passwords: you sign in by OAuth2, with a client id of your own.")
        note("docs/microsoft365.md tells how it is made.")
        client_id = ask.line("Client id", "--client-id ID")
    keep = _keep(asked.keep_in)
    secret, place = _client_secret(asked, ask, keep, places.config)
    lines = [("client_id", account_file.quoted(client_id))]
    if place is not None:
        lines.append(("client_secret", account_file.source(place)))
    lines += [("tenant", account_file.quoted(asked.tenant))] if asked.tenant else []
    lines.append(("flow", asked.flow))
    name = quote(asked.address.lower(), safe="@+")
    lines.append(("tokens", account_file.source(_place(None, keep, places.data, f"tokens/{name}"))))
    for each in asked.endpoint:
        key, _, address = each.partition("=")
        lines.append((key, account_file.quoted(address)))
    if asked.scope:
        lines.append(("scopes", f"[{', '.join(account_file.quoted(each) for each in asked.scope)}]"))
    return replace(draft, oauth=tuple(lines)), secret


def _client_secret(asked: Asked, ask: Questions, keep: str, folder: Path) -> tuple[str | None, Source | None]:
    """(typed now, where it lies)"""
    if asked.client_secret_from is not None:
        return None, asked.client_secret_from
    if not ask.terminal:
        return None, None
    typed = click.prompt(
        "Client secret (empty where it has none)", default="", hide_input=True, show_default=False, err=True
    )
    if not typed:
        return None, None
    name = quote(asked.address.lower(), safe="@+")
    return typed, _place(None, keep, folder, f"secrets/{name}.oauth-client")


# --- a mail to oneself -------------------------------------------------------------------------------------------


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
