"""`proxyd run`: the daemon in the foreground."""

from __future__ import annotations

import gc

import click

from proxyd.cli.folders import with_places
from proxyd.places import Places

EPILOG = """\b
SIGTERM and Ctrl-C stop it, SIGHUP (or proxyd reload) reads the configuration anew.
Exit status: 0 stopped, 78 the configuration is wrong, 69 nothing could be listened on, or another daemon runs with
these records already.

\b
Examples:
  proxyd run
  proxyd run --config ./config --data ./data
"""


@click.command(epilog=EPILOG)
@with_places
@click.pass_context
def run(ctx: click.Context, places: Places) -> None:
    """Run the daemon in the foreground."""
    gc.disable()  # nothing of what is imported and built now is ever garbage; the daemon turns it on when it is ready
    from proxyd.daemon import running  # late: it brings the reactor, which --help has no use for

    ctx.exit(running.run(places))
