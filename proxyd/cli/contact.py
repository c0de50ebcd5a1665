"""`proxyd contact add | list | import | merge | split`: the people whose conversations are logged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, note, plain, print_json, table
from proxyd.errors import ProxydError
from proxyd.places import Places

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

EPILOG = """\b
Examples:
  proxyd contact add grace@customer.example --name "Grace Hopper" --company Navy
  proxyd contact list
  proxyd contact import contacts.csv
  proxyd contact import contacts.vcf
  proxyd contact merge grace@customer.example hopper@home.example
"""

IMPORT_EPILOG = """\b
Examples:
  proxyd contact import people.csv
  proxyd contact import people.vcf
  proxyd contact import - < people.csv
"""


@click.group(cls=Several, epilog=EPILOG)
def contact() -> None:
    """The people whose conversations are logged: add, list, import, merge, split."""


@contact.command(
    epilog='\b\nExamples:\n  proxyd contact add grace@customer.example --name "Grace Hopper"\n'
    "  proxyd contact add grace@customer.example --alias hopper@home.example\n"
)
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option("--company", default="", help="Where they work.  [default: told by the address's domain]")
@click.option(
    "--alias", "aliases", multiple=True, metavar="ADDRESS", help="Another address of theirs; may be repeated."
)
@json_option
@with_places
def add(places: Places, email: str, name: str, company: str, aliases: tuple[str, ...], as_json: bool) -> None:
    """Make EMAIL a contact, or complete the one that has this address."""
    with records(places) as known:
        added = known.add_contact(email, name, company, aliases)
    if as_json:
        print_json(added)
        return
    click.echo(f"{'Added' if added['new'] else 'Completed'} {_described(added)}")


@contact.command(epilog="\b\nExample:\n  proxyd contact merge grace@customer.example hopper@home.example\n")
@click.argument("email")
@click.argument("other")
@json_option
@with_places
def merge(places: Places, email: str, other: str, as_json: bool) -> None:
    """The contacts EMAIL and OTHER are one person: one contact with all addresses of both.

    EMAIL's name and company win. `proxyd contact split OTHER` takes them apart again, as they were.
    """
    with records(places) as known:
        merged = known.merge_contacts(email, other)
    if as_json:
        print_json(merged)
        return
    click.echo(f"One contact: {_described(merged)}. Taken apart again by: proxyd contact split {other}")


@contact.command(epilog="\b\nExample:\n  proxyd contact split hopper@home.example\n")
@click.argument("address")
@json_option
@with_places
def split(places: Places, address: str, as_json: bool) -> None:
    """ADDRESS is a contact of its own: what was merged is as it was before, an alias is taken from its contact."""
    with records(places) as known:
        made = known.split_contact(address)
    if as_json:
        print_json(made)
        return
    click.echo(f"A contact of its own: {_described(made)}")


@contact.command("list", epilog="\b\nExamples:\n  proxyd contact list\n  proxyd contact list --json\n")
@json_option
@with_places
def list_contacts(places: Places, as_json: bool) -> None:
    """Show every contact, how many messages are logged with each, and the newest one's date."""
    with records(places) as known:
        document = known.contacts()
    if as_json:
        print_json(document)
        return
    if not document["contacts"]:
        click.echo("No contact yet. Add one with: proxyd contact add EMAIL")
        return
    shown = table("E-mail", "Name", "Company", "Messages", "Last")
    shown.columns[3].justify = "right"
    for each in document["contacts"]:
        row = ("\n".join(each["addresses"]), each["name"], each["company"], str(each["messages"]), local(each["last"]))
        shown.add_row(*map(plain, row))
    console().print(shown)


@contact.command("import", epilog=IMPORT_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--kind", type=click.Choice(["csv", "vcard"]), help="What the file is.  [default: told by its content]")
@json_option
@with_places
@click.pass_context
def import_contacts(ctx: click.Context, places: Places, file: Path, kind: str | None, as_json: bool) -> None:
    """Take in the contacts of FILE (CSV or vCard); each line that is not usable is named.

    - is standard input. Exit status: 0 where at least one contact was found.
    """
    try:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ProxydError(f"{file} cannot be read: {error.strerror}") from None
    with records(places) as known:
        outcome = known.import_contacts(octets, kind or "")
    if as_json:
        print_json(outcome)
    else:
        _tell(file, outcome)
    taken = outcome["new"] + outcome["updated"] + outcome["unchanged"]
    ctx.exit(0 if taken else 1)


def _tell(file: Path, outcome: dict[str, Any]) -> None:
    for problem in sorted(outcome["problems"] + outcome["remarks"], key=lambda each: int(each["line"])):
        note(f"{file}:{problem['line']}: {problem['why']}")
    left = len(outcome["problems"])
    counts = f"{outcome['new']} new, {outcome['updated']} updated, {outcome['unchanged']} unchanged"
    click.echo(counts + (f", {left} line{'s' if left != 1 else ''} not usable" if left else ""))


def _described(contact: dict[str, Any]) -> str:
    others = contact["addresses"][1:]
    also = f"also {', '.join(others)}" if others else ""
    more = ", ".join(each for each in (contact["name"], contact["company"], also) if each)
    return f"{contact['email']} ({more})" if more else str(contact["email"])
