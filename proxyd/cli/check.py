"""`proxyd check`: the configuration's problems, all of them."""

from __future__ import annotations

import click

from proxyd.cli.folders import with_places
from proxyd.config import ConfigErrors, load
from proxyd.places import Places

EXIT_CONFIG = 78

EPILOG = """\b
Each problem is printed as FILE:LINE:COLUMN: what is wrong; accepted: what is.
Exit status: 0 all well, 78 something is wrong.

\b
Examples:
  proxyd check
  proxyd check --config /etc/proxyd
"""


@click.command(epilog=EPILOG)
@with_places
@click.pass_context
def check(ctx: click.Context, places: Places) -> None:
    """Read the configuration and print everything that is wrong in it."""
    try:
        settings = load(places.config)
    except ConfigErrors as errors:
        for problem in errors.problems:
            click.echo(str(problem))
        ctx.exit(EXIT_CONFIG)
    count = len(settings.accounts)
    if not count:
        click.echo(f"No account yet: put one file per mailbox into {places.config / 'accounts.d'}")
        return
    click.echo(f"{count} account{'s' if count != 1 else ''}, all well")
