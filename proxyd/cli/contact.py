"""`proxyd contact add | list | import`: the people whose conversations are logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, local, note, plain, print_json, table
from proxyd.config import Places
from proxyd.errors import ProxydError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

EPILOG = """\b
Examples:
  proxyd contact add grace@customer.example --name "Grace Hopper" --company Navy
  proxyd contact list
  proxyd contact import contacts.csv
  proxyd contact import contacts.vcf
"""


@click.group(epilog=EPILOG)
def contact() -> None:
    """The people whose conversations are logged: add, list, import."""


@contact.command(epilog='\b\nExample:\n  proxyd contact add grace@customer.example --name "Grace Hopper"\n')
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option("--company", default="", help="Where they work.")
@json_option
@with_places
def add(places: Places, email: str, name: str, company: str, as_json: bool) -> None:
    """Make EMAIL a contact, or complete the one that is there."""
    with records(places) as known:
        added = known.add_contact(email, name, company)
    if as_json:
        print_json(added)
        return
    click.echo(f"{'Added' if added['new'] else 'Completed'} {_described(added)}")


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
        row = (each["email"], each["name"], each["company"], str(each["messages"]), local(each["last"]))
        shown.add_row(*map(plain, row))
    console().print(shown)


@contact.command(
    "import", epilog="\b\nExamples:\n  proxyd contact import people.csv\n  proxyd contact import people.vcf\n"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice(["csv", "vcard"]), help="What the file is.  [default: told by its content]")
@json_option
@with_places
@click.pass_context
def import_contacts(ctx: click.Context, places: Places, file: Path, kind: str | None, as_json: bool) -> None:
    """Take in the contacts of FILE (CSV or vCard); each line that is not usable is named.

    Exit status: 0 where at least one contact was found.
    """
    try:
        octets = file.read_bytes()
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
    for problem in outcome["problems"]:
        note(f"{file}:{problem['line']}: {problem['why']}")
    left = len(outcome["problems"])
    counts = f"{outcome['new']} new, {outcome['updated']} updated, {outcome['unchanged']} unchanged"
    click.echo(counts + (f", {left} line{'s' if left != 1 else ''} not usable" if left else ""))


def _described(contact: dict[str, Any]) -> str:
    more = ", ".join(each for each in (contact["name"], contact["company"]) if each)
    return f"{contact['email']} ({more})" if more else str(contact["email"])
