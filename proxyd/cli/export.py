"""`proxyd export`: everything that is logged with one contact, to be handed over."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.places import Places

EPILOG = """\b
mbox is what mail programs read; json holds what the log says of each message and its attachments in base64.

\b
Examples:
  proxyd export grace@customer.example --format mbox --output grace.mbox
  proxyd export grace@customer.example --format json > grace.json
"""


@click.command(epilog=EPILOG)
@click.argument("contact")
@click.option("--format", "kind", type=click.Choice(["mbox", "json"]), required=True, help="mbox or json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@with_places
def export(places: Places, contact: str, kind: str, output: Path | None) -> None:
    """Hand over everything that is logged with a contact, attachments and all."""
    with records(places) as known:
        chunks = known.export(contact, kind)
        if output is None:
            written = 0
            for chunk in chunks:
                written += sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            if not written:
                note(f"Nothing is logged with {contact}.")
            return
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
    note(f"Written to {output}, readable by you alone.")
