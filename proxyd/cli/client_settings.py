"""`proxyd client-settings ADDRESS`: what a mail client is to be set to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, plain, print_json, table
from proxyd.config import Account, Daemon, Places, ensure_client_password, load, new_client_password
from proxyd.errors import ProxydError
from proxyd.relay import local_ca

HOST = "localhost"  # a name: several clients refuse a certificate by IP address even where it names one

TLS_WORDS = {"implicit": "SSL/TLS", "starttls": "STARTTLS", "none": "none"}

EPILOG = """\b
The ports are those on which the running daemon listens, else those of the configuration.
The password is made where there is none yet; it is shown here and nowhere else.

\b
Examples:
  proxyd client-settings ada@example.com
  proxyd client-settings ada@example.com --new-password
"""


@click.command("client-settings", epilog=EPILOG)
@click.argument("address")
@click.option("--new-password", is_flag=True, help="Replace the client password by a new one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def client_settings(places: Places, address: str, new_password: bool, as_json: bool) -> None:
    """Print what a mail client is to be set to for ADDRESS: server, login, certificate, steps."""
    settings = load(places.config)
    account = settings.accounts.get(address.lower())
    if account is None:
        known = ", ".join(settings.accounts) or "none"
        raise ProxydError(f"there is no account {address!r}; the accounts are: {known}")
    password = new_client_password(account) if new_password else ensure_client_password(account)
    document = settings_document(
        account, _listening(places, settings.daemon), password, _certificate(places, settings.daemon)
    )
    if as_json:
        print_json(document)
    else:
        show_settings(document)


def _listening(places: Places, daemon: Daemon) -> dict[str, str]:
    """host:port of each outgoing listener, by its name."""
    try:
        with daemon_link(places) as link:
            listening: dict[str, str] = link.status()["daemon"]["listening"]
            return listening
    except NotRunning:
        configured = {"smtp": daemon.listen.smtp, "smtps": daemon.listen.smtps}
        return {name: str(endpoint) for name, endpoint in configured.items() if endpoint is not None}


def _certificate(places: Places, daemon: Daemon) -> dict[str, str] | None:
    """Our own local CA, None where the configuration names a certificate of the person's own."""
    if daemon.certificate != "auto":
        return None
    ours = local_ca.ensure(places.data)
    return {"file": str(ours.ca), "sha256": ours.fingerprint}


def settings_document(
    account: Account, listening: dict[str, str], password: str, certificate: dict[str, str] | None
) -> dict[str, Any]:
    security = {"smtps": "SSL/TLS", "smtp": "STARTTLS"}
    outgoing = [
        {"host": HOST, "port": int(listening[name].rpartition(":")[2]), "security": word}
        for name, word in security.items()
        if name in listening
    ]
    imap = account.provider.imap
    return {
        "address": account.address,
        "name": account.name,
        "outgoing": outgoing,
        "login": account.address,
        "password": password,
        "certificate": certificate,
        "incoming": {
            "host": imap.host,
            "port": imap.port,
            "security": TLS_WORDS[imap.tls],
            "login": account.sign_in.imap_user,
        },
    }


def show_settings(document: dict[str, Any], *, error: bool = False) -> None:
    """On standard output, or on standard `error`."""
    out = console(error=error)
    shown = table("", "Outgoing (SMTP): proxyd", "Incoming (IMAP): your provider, as before")
    first, incoming = (document["outgoing"] or [None])[0], document["incoming"]
    if first is None:
        raise ProxydError("no SMTP listener is open; see listen.smtp and listen.smtps in proxyd.yaml")
    shown.add_row("Server", plain(first["host"]), plain(incoming["host"]))
    shown.add_row("Port", str(first["port"]), str(incoming["port"]))
    shown.add_row("Security", first["security"], incoming["security"])
    shown.add_row("Authentication", "normal password", "as before")
    shown.add_row("User name", plain(document["login"]), plain(incoming["login"]))
    shown.add_row("Password", f"[bold]{plain(document['password'])}[/]", "your provider's")
    out.print(shown)
    for other in document["outgoing"][1:]:
        out.print(f"Also: {other['host']}, port {other['port']}, {other['security']}.")
    if (certificate := document["certificate"]) is not None:
        out.print(f"\nCertificate to trust: {plain(str(Path(certificate['file'])))}")
        out.print(f"SHA-256 {certificate['sha256']}", soft_wrap=True)
    out.print(STEPS.format(address=plain(document["address"]), **first))


STEPS = """
[bold]Thunderbird[/]
  1. Settings > Privacy & Security > Certificates > Manage Certificates > Authorities > Import:
     choose the certificate above and tick "Trust this CA to identify websites".
  2. Account Settings > Outgoing Server (SMTP) > Add: server {host}, port {port}, connection
     security {security}, authentication "Normal password", user name {address}.
  3. Account Settings > {address} > Outgoing Server (SMTP): choose the new one.
     Leave "Place a copy in Sent" as it is: there will be one copy either way.

[bold]Outlook (classic)[/]
  1. Open the certificate above > Install Certificate > Current User >
     Trusted Root Certification Authorities.
  2. File > Account Settings > Server Settings > Outgoing mail: server {host}, port {port},
     encryption {security}.
  3. Tick "My outgoing server (SMTP) requires authentication" and log on with user name
     {address} and the password above.
  The new Outlook sends through Microsoft's servers and cannot be pointed at this computer.
"""
