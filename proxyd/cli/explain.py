"""`proxyd explain`: why a message was or was not logged, and what became of it."""

from __future__ import annotations

from typing import Any

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, local, note, plain, print_json, table
from proxyd.places import Places

EXIT_UNKNOWN = 1

EPILOG = """\b
MESSAGE-ID is the message's own, with or without < and >; every mail client shows it in the message's source.
Exit status: 0 known, 1 nothing is known of it.

\b
Examples:
  proxyd explain '<5f3c@example.com>'
  proxyd explain 5f3c@example.com --json
"""


@click.command(epilog=EPILOG)
@click.argument("message_id", metavar="MESSAGE-ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
@click.pass_context
def explain(ctx: click.Context, places: Places, message_id: str, as_json: bool) -> None:
    """Tell why a message was or was not logged, and what became of its copies."""
    with records(places) as known:
        found = known.explain(message_id)
    if found is None:
        because = f"nothing is known of {message_id!r}: it did not go through proxyd, and answers nothing logged"
        if as_json:
            print_json({"message_id": message_id, "logged": False, "because": because, "at": None, "steps": []})
        note(f"proxyd: {because}")
        ctx.exit(EXIT_UNKNOWN)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    verdict = "[green]logged[/]" if found["logged"] else "not logged"
    out = console()
    out.print(f"{plain(found['message_id'])}: [bold]{verdict}[/], because {plain(found['because'])}")
    steps = table("When", "What", "Detail")
    steps.columns[0].no_wrap = True
    for step in found["steps"]:
        steps.add_row(local(step["at"]), plain(step["what"]), plain(step["detail"]))
    out.print(steps)
