"""`proxyd token`: who may ask the HTTP API."""

from __future__ import annotations

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, note, plain, print_json, table
from proxyd.places import Places

EPILOG = """\b
A token belongs to a person: the owner of an account. It shows that person's conversations and those that colleagues
let the team see (visible_to), and sends as that person alone.

\b
Examples:
  proxyd token make crm --account ada@example.com
  proxyd token make reports --everybody --read-only
  proxyd token list
  proxyd token revoke crm
"""


@click.group(cls=Several, epilog=EPILOG)
def token() -> None:
    """The HTTP API's tokens: make, list, revoke."""


@token.command()
@click.argument("name")
@click.option("--account", metavar="A", help="The account whose owner it belongs to, an address.")
@click.option("--everybody", is_flag=True, help="It belongs to nobody in particular and sees and sends for all.")
@click.option("--read-only", is_flag=True, help="It sends nothing and changes nothing.")
@with_places
def make(places: Places, name: str, account: str | None, everybody: bool, read_only: bool) -> None:
    """Make the token NAME and print it, this once."""
    if (account is None) is not everybody:
        raise click.UsageError("say whose it is: --account ADDRESS, or --everybody")
    with records(places) as known:
        made = known.make_token(name, account, "read" if read_only else "send")
    note("This is shown once; it is used as: Authorization: Bearer TOKEN")
    click.echo(made["token"])


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def list_(places: Places, as_json: bool) -> None:
    """Every token's name and whose it is."""
    with records(places) as known:
        document = known.tokens()
    if as_json:
        print_json(document)
        return
    if not document["tokens"]:
        click.echo("There are no tokens.")
        return
    shown = table("Name", "Of", "May", "Made")
    for each in document["tokens"]:
        shown.add_row(plain(each["name"]), plain(each["person"] or "everybody"), each["may"], local(each["made"]))
    console().print(shown)


@token.command()
@click.argument("name")
@with_places
def revoke(places: Places, name: str) -> None:
    """From now on nobody is let in by the token NAME."""
    with records(places) as known:
        known.revoke_token(name)
    click.echo(f"The token {name} is revoked.")
