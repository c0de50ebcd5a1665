"""`proxyd search`: the full text of what is logged."""

from __future__ import annotations

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, print_json
from proxyd.cli.timeline import timeline_table
from proxyd.places import Places

EPILOG = """\b
WORDS are names, words, "phrases in quotes" and -words that must not be there; every word may be the beginning of one.
  from:grace  to:customer.example  subject:offer  file:pdf   in that place alone
  has:attachment                                             with a file that is no picture in the text
  after:2026-10  before:2026-11-23                           a year, a month or a day
  account:ada@example.com                                    of this account alone

\b
Examples:
  proxyd search grace offer
  proxyd search '"delivery in May"' from:grace has:attachment
  proxyd search invoice after:2026 --json
"""


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most N.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def search(places: Places, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find what is logged by its words, newest first."""
    with records(places) as known:
        document = known.search(" ".join(words), limit)
    if as_json:
        print_json(document)
    elif not document["messages"]:
        click.echo("Nothing that is logged says this.")
    else:
        shown = [each | {"new_text": each["excerpt"]} for each in document["messages"]]
        console().print(timeline_table(shown))
