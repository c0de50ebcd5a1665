"""`proxyd client-settings ADDRESS`: what a mail client is to be set to."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, note, plain, print_json, table
from proxyd.config import Account, ConfigErrors, Daemon, ensure_client_password, load, new_client_password
from proxyd.errors import ConfigError, ProxydError
from proxyd.places import Places
from proxyd.relay import local_ca
from proxyd.web.client_document import INCOMING, OUTGOING, settings_document
from proxyd.web.client_steps import TITLES

WIDEST = 100  # columns of running text
MOST_USED = ("thunderbird", "outlook")  # whose steps are shown where nobody names a client
OTHER_NAMES = {"mutt": "neomutt"}


def client_named(text: str) -> str | None:
    """The client whose name somebody typed, in any case; its first letters are enough. None: not one of ours."""
    typed = "-".join(text.lower().split())
    names = {name: name for name in TITLES} | OTHER_NAMES
    if typed in names:
        return names[typed]
    fits = {names[name] for name in names if len(typed) > 2 and name.startswith(typed.partition("-(")[0])}
    return fits.pop() if len(fits) == 1 else None


class Client(click.Choice[str]):
    """A mail client by its name on the command line."""

    def __init__(self) -> None:
        super().__init__(list(TITLES), case_sensitive=False)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(client_named(value) or value, param, ctx)


EPILOG = """\b
The ports are those on which the running daemon listens, else those of the configuration.
Where no IMAP listener is open, mail is read straight from the provider, as before. Without --client
the steps are those for Thunderbird and Outlook, and the way to the others is named.
The password is made where there is none yet; it is shown here and nowhere else.

\b
Examples:
  proxyd client-settings ada@example.com
  proxyd client-settings ada@example.com --new-password
  proxyd client-settings ada@example.com --client thunderbird
  proxyd client-settings ada@example.com --client neomutt >> ~/.muttrc
"""


@click.command("client-settings", epilog=EPILOG)
@click.argument("address")
@click.option("--new-password", is_flag=True, help="Replace the client password by a new one.")
@click.option("--client", type=Client(), help="Print the steps for this client alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def client_settings(places: Places, address: str, new_password: bool, client: str | None, as_json: bool) -> None:
    """Print what a mail client is to be set to for ADDRESS: server, login, certificate, steps."""
    settings = load(places.config)
    account = settings.accounts.get(address.lower())
    if account is None:
        known = ", ".join(settings.accounts) or "none"
        raise ProxydError(f"there is no account {address!r}; the accounts are: {known}")
    password = new_client_password(account) if new_password else ensure_client_password(account)
    listening, sent_folder = _running(places, account) or (_configured(settings.daemon), "")
    document = settings_document(account, listening, password, _certificate(places, settings.daemon), sent_folder)
    if client is not None:
        document["clients"] = {name: steps for name, steps in document["clients"].items() if name == client}
    if as_json:
        print_json(document)
    elif client == "neomutt" and document["clients"]:
        click.echo(document["clients"][client]["muttrc"], nl=False)  # nothing else: it may go straight into a file
    else:
        show_settings(document, [client] if client is not None else MOST_USED)


def show_account_settings(places: Places, account: Account, steps: Collection[str]) -> None:
    """The same for an account that was connected a moment ago, whose file may be in force or not."""
    try:
        daemon = load(places.config).daemon
    except ConfigErrors:  # another file has a fault: `proxyd check` tells, and this one is not to blame
        daemon = Daemon()
    try:
        password = ensure_client_password(account)
    except ConfigError:  # it lies where only the daemon can read it
        password = "(as you keep it)"  # noqa: S105 none
    listening, sent_folder = _running(places, account) or (_configured(daemon), "")
    if not any(name in listening for name in OUTGOING):  # any free port, and nobody has chosen one yet
        note(f"Once the daemon runs, this shows your mail program's settings: proxyd client-settings {account.address}")
        return
    show_settings(settings_document(account, listening, password, _certificate(places, daemon), sent_folder), steps)


def _running(places: Places, account: Account) -> tuple[dict[str, str], str] | None:
    """host:port of each open listener by its name, and the account's Sent folder; None where no daemon runs."""
    try:
        with daemon_link(places) as link:
            status = link.status()
    except NotRunning:
        return None
    listening: dict[str, str] = status["daemon"]["listening"]
    folders = [each.get("sent_folder") for each in status["accounts"] if each["address"] == account.address]
    return listening, next(iter(folders), None) or ""


def _configured(daemon: Daemon) -> dict[str, str]:
    """A port 0 is any that is free: only the running daemon knows it."""
    endpoints = {name: getattr(daemon.listen, name) for name in (*OUTGOING, *INCOMING, "web")}
    return {name: str(endpoint) for name, endpoint in endpoints.items() if endpoint is not None and endpoint.port}


def _certificate(places: Places, daemon: Daemon) -> dict[str, str] | None:
    """Our own local CA, None where the configuration names a certificate of the person's own."""
    if daemon.certificate != "auto":
        return None
    ours = local_ca.ensure(places.data)
    return {"file": str(ours.ca), "sha256": ours.fingerprint}


def show_settings(document: dict[str, Any], steps: Collection[str] = tuple(TITLES), *, error: bool = False) -> None:
    """On standard output, or on standard `error`. `steps`: for which clients; where nobody named one, how the others'
    are seen."""
    if not document["outgoing"]:
        raise ProxydError(
            "no SMTP listener is open; see listen.smtp and listen.smtps in proxyd.yaml, and proxyd status"
        )
    out = console(error=error)
    outgoing, incoming = document["outgoing"][0], document["incoming"][0]
    ours = incoming["through"] == "proxyd"
    reading = "proxyd" if ours else "your provider, as before"
    shown = table("", "Outgoing (SMTP): proxyd", f"Incoming (IMAP): {reading}")
    password = f"[bold]{plain(document['password'])}[/]"
    shown.add_row("Server", plain(outgoing["host"]), plain(incoming["host"]))
    shown.add_row("Port", str(outgoing["port"]), str(incoming["port"]))
    shown.add_row("Security", outgoing["security"], incoming["security"])
    shown.add_row("Authentication", "normal password", "normal password" if ours else "as before")
    shown.add_row("User name", plain(document["login"]), plain(incoming["login"]))
    shown.add_row("Password", password, "the same" if ours else "your provider's")
    out.print(shown)
    for way, words in (("outgoing", "SMTP"), ("incoming", "IMAP")):
        for other in document[way][1:]:
            out.print(f"Also {words}: {other['host']}, port {other['port']}, {other['security']}.")
    if (certificate := document["certificate"]) is not None:
        out.print(f"\nCertificate to trust: {plain(str(Path(certificate['file'])))}", soft_wrap=True)
        out.print(f"SHA-256 {certificate['sha256']}", soft_wrap=True)
    clients: dict[str, Any] = document["clients"]
    for client in (each for name, each in clients.items() if name in steps):
        out.print(f"\n[bold]{client['title']}[/]")
        for line in _lines(client, min(out.width, WIDEST)):
            out.print(plain(line), soft_wrap=True)
    others = [] if len(steps) == 1 else [name for name in clients if name not in steps]
    if others:
        out.print("\nSteps for other programs:" if steps else "\nSteps for your mail program:")
    for name in others:
        command = f"proxyd client-settings {shlex.quote(document['address'])} --client {name}"
        out.print(
            f"  {plain(clients[name]['title']):{max(map(len, TITLES.values()))}}  {plain(command)}", soft_wrap=True
        )


def _lines(client: dict[str, Any], width: int) -> Iterator[str]:
    """The steps numbered and folded; what is to be pasted stays as it is."""
    steps, note, muttrc = client["steps"], client["note"], client.get("muttrc", "")
    for n, step in enumerate(steps, 1):
        number = f"  {n}. " if len(steps) > 1 else "  "
        text, *typed = step.split("\n")
        yield from _folded(text, width, number)
        yield from (" " * len(number) + command for command in typed)
    if note:
        yield from _folded(note, width, "  ")
    if muttrc:
        yield ""
        yield from muttrc.splitlines()


def _folded(text: str, width: int, first: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
