"""`proxyd demo`: all of it on one machine, every step seen to happen."""

from __future__ import annotations

import imaplib
import signal
import smtplib
import threading
from time import monotonic
from typing import Any

import click

from proxyd.cli.client_settings import show_settings
from proxyd.cli.demo_house import DemoHouse, Ended
from proxyd.cli.demo_story import Story
from proxyd.cli.showing import console, plain, print_json
from proxyd.cli.timeline import timeline_shown
from proxyd.errors import ProxydError
from proxyd.relay import local_ca
from proxyd.web.client_document import settings_document

EXIT_NOT_SEEN = 1

EPILOG = """\b
Nothing of yours is touched: everything lives in a temporary folder and on free ports of this computer.
Exit status: 0 where every step was seen to happen, else 1.

\b
Examples:
  proxyd demo             stays up, so that your own mail client can be pointed at it
  proxyd demo --once      plays it, prints the record of the conversation as JSON, stops
"""


@click.command(epilog=EPILOG)
@click.option("--once", is_flag=True, help="Play it, print the record as one JSON document, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON instead of a table.")
@click.pass_context
def demo(ctx: click.Context, once: bool, as_json: bool) -> None:
    """Show all of it on this machine: a provider, a sent message, the reply, the record."""
    played = False
    ended = threading.Event()
    _signals(lambda *_: ended.set())  # whatever ends it, everything is cleaned up
    try:
        with DemoHouse(ended) as house:
            played = _play(house)
            if played:
                _show(house, as_json or once)
            if played and not once:
                _stay(house)
    except Ended:
        pass
    if ended.is_set():
        console(error=True).print("\nStopped; nothing is left of it.")
    ctx.exit(0 if played else EXIT_NOT_SEEN)


def _signals(handler: Any) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # nohup's wish stays in force
            signal.signal(each, handler)


def _play(house: DemoHouse) -> bool:
    """True where every step was seen; each is told on standard error as it happens."""
    out = console(error=True)
    begun = monotonic()
    for what, step in Story(house).steps:
        before = monotonic()
        house.go_on()
        try:
            seen = step()
        except (ProxydError, OSError, EOFError, ValueError, imaplib.IMAP4.error, smtplib.SMTPException) as error:
            out.print(f"[red]✗[/] {what}: {plain(str(error))}", soft_wrap=True)
            if words := house.last_words():
                out.print(f"[dim]The daemon's log ends with:[/]\n{plain(words)}", soft_wrap=True)
            return False
        out.print(f"[green]✓[/] {what} [dim]({monotonic() - before:.2f} s)[/]\n    {plain(seen)}", soft_wrap=True)
    out.print(f"[bold]Every step was seen, in {monotonic() - begun:.1f} s.[/]\n")
    return True


def _show(house: DemoHouse, as_json: bool) -> None:
    record = house.record()
    if as_json:
        print_json(record)
        return
    out = console()
    out.print(f"[bold]The record of {house.grace.name}[/], as proxyd timeline {house.grace.address} shows it:\n")
    out.print(timeline_shown(record["messages"], out.width))


def _stay(house: DemoHouse) -> None:
    """Until Ctrl-C, with everything told that a real client needs."""
    with house.daemon() as link:
        listening = link.status()["daemon"]["listening"]
    certificate = local_ca.ensure(house.folder)
    document = settings_document(
        house.account,
        listening,
        house.client_password,
        {"file": str(certificate.ca), "sha256": certificate.fingerprint},
    )
    out = console(error=True)
    out.print(f"\n[bold]Point your own mail client at it[/], as {house.ada.name} <{house.ada.address}>:\n")
    show_settings(document, error=True)
    grace, port = house.grace, house.provider.imap_port
    out.print(f"Passwords at the provider: {house.ada.address} {house.ada.password}, {grace.address} {grace.password}")
    out.print(f"{grace.name} reads on localhost, IMAP port {port}, and sends on SMTP port {house.provider.smtp_port}.")
    out.print(f"See the record grow: proxyd timeline --data {house.folder} --config {house.folder}", soft_wrap=True)
    with house.daemon() as link:
        page = link.login_link(None)
    out.print(f"\n[bold]The page, signed in by this link, once:[/] {plain(page)}", soft_wrap=True)
    out.print("\n[bold]It stays up until Ctrl-C.[/]")
    house.ended.wait()
