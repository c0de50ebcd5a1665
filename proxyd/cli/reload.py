"""`proxyd reload`: the daemon reads its configuration anew, whole or not at all."""

from __future__ import annotations

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.places import Places

EXIT_CONFIG = 78
EXIT_NOT_RUNNING = 69

EPILOG = """\b
A file with a problem keeps what it said before, the others are in force; where proxyd.yaml itself is wrong, all of the
old settings stay. Every problem is printed.
Exit status: 0 taken, 78 something is wrong, 69 the daemon is not running.

\b
Example:
  proxyd reload
"""


@click.command(epilog=EPILOG)
@with_places
@click.pass_context
def reload(ctx: click.Context, places: Places) -> None:
    """Let the daemon read its configuration anew."""
    try:
        with daemon_link(places) as link:
            problems = link.reload()
    except NotRunning as error:
        note(f"proxyd: {error}")
        ctx.exit(EXIT_NOT_RUNNING)
    for problem in problems:
        click.echo(problem)
    if problems:
        note("proxyd: for these files the old settings stay in force")
        ctx.exit(EXIT_CONFIG)
    click.echo("The new settings are in force.")
