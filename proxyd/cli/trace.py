"""`proxyd trace`: what crosses the wire to one account's provider, for a while."""

from __future__ import annotations

import contextlib

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note, plain
from proxyd.config import duration
from proxyd.places import Places

EXIT_NOT_RUNNING = 69
LONGEST = 3600

EPILOG = """\b
Prints a line for each command that proxyd gives and each answer that comes: SMTP, and the IMAP of the watcher. Shown
are commands, codes, kinds of answers and numbers; every text, address, folder's name and secret is only counted, so the
trace can be handed on. It ends after the time, after 1 MB, or by Ctrl-C.
Exit status: 0, 1 no such account, 69 the daemon is not running.

\b
Examples:
  proxyd trace ada@example.com 5m
  proxyd trace ada@example.com 30s > trace.txt
"""


@click.command(epilog=EPILOG)
@click.argument("account")
@click.argument("time", default="1m")
@with_places
@click.pass_context
def trace(ctx: click.Context, places: Places, account: str, time: str) -> None:
    """Show what crosses the wire to ACCOUNT's provider for TIME.

    TIME is 30s or 5m, at most 1h. Nobody's words are shown."""
    try:
        seconds = int(duration(time))
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LONGEST:
        raise click.BadParameter("accepted: 1s to 1h, such as 30s or 5m", param_hint="TIME")
    try:
        with daemon_link(places) as link, contextlib.suppress(KeyboardInterrupt):
            for line in link.trace(account, seconds):
                if line:
                    click.echo(plain(line))
                else:
                    note(f"Listening for {time}; Ctrl-C ends it.")
    except NotRunning as error:
        note(f"proxyd: {error}")
        ctx.exit(EXIT_NOT_RUNNING)
