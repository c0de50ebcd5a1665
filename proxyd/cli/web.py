"""`proxyd web`: the one-time link that opens the page."""

from __future__ import annotations

import html
import os
import sys
from pathlib import Path

import click

from proxyd.cli.daemon_link import daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note, print_json
from proxyd.places import Places

EPILOG = """\b
The link works once and for ten minutes; the browser then stays signed in. It is the owner's, who sees every account;
with --account it is that person's, who sees what the team may see and their own.

\b
Examples:
  proxyd web
  proxyd web --account ada@example.com
  proxyd web --no-open
"""


OPENER = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=%s"><title>proxyd</title>
"""


@click.command(epilog=EPILOG)
@click.option("--account", metavar="A", help="The link of this account's person instead of the owner's.")
@click.option("--open/--no-open", "opens", default=None, help="Open the browser.  [default: on a desktop's terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def web(places: Places, account: str | None, opens: bool | None, as_json: bool) -> None:
    """Print the link that opens the page, signed in; on a terminal, open it."""
    with daemon_link(places) as link:
        url = link.login_link(account)
    if as_json:
        print_json({"url": url})
    else:
        click.echo(url)
    wanted = not as_json and sys.stdout.isatty() and _desktop() if opens is None else opens
    if wanted and not _open(places.control_socket.with_name("login.html"), url):
        note("No browser could be opened; open the link by hand.")


def _open(opener: Path, url: str) -> bool:
    """By way of a file that is ours alone: an address on a command line is for everybody on the machine to read."""
    opener.unlink(missing_ok=True)
    opener.touch(mode=0o600)
    opener.write_text(OPENER % html.escape(url))
    return click.launch(str(opener)) == 0


def _desktop() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
