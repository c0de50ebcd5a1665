"""`proxyd company list | set`: where contacts work, by the domain of their address or by hand."""

from __future__ import annotations

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, plain, print_json, table
from proxyd.places import Places

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

EPILOG = """\b
A contact belongs to a company by the domain of its address, never by one where
anybody may have an address (gmail.com), or by hand:
proxyd contact add EMAIL --company NAME.

\b
Examples:
  proxyd company list
  proxyd company set "Customer Ltd" --domain customer.example
  proxyd timeline --company "Customer Ltd"
"""


@click.group(cls=Several, epilog=EPILOG)
def company() -> None:
    """The companies that contacts belong to: list, set."""


@company.command("list", epilog="\b\nExample:\n  proxyd company list\n")
@json_option
@with_places
def list_companies(places: Places, as_json: bool) -> None:
    """Show every company, its domains, how many contacts it has and when the newest message with them was."""
    with records(places) as known:
        document = known.companies()
    if as_json:
        print_json(document)
        return
    if not document["companies"]:
        click.echo("No company yet: contacts bring theirs along.")
        return
    shown = table("Company", "Domains", "Contacts", "Last")
    shown.columns[2].justify = "right"
    for each in document["companies"]:
        row = (each["label"], ", ".join(each["domains"]), str(each["contacts"]), local(each["last"]))
        shown.add_row(*map(plain, row))
    console().print(shown)


@company.command(
    "set",
    epilog='\b\nExamples:\n  proxyd company set "Customer Ltd" --domain customer.example\n'
    '  proxyd company set customer.example --name "Customer Ltd"\n',
)
@click.argument("company")
@click.option("--name", help="What it is called from now on.")
@click.option("--domain", "domains", multiple=True, metavar="D", help="A domain of its addresses; may be repeated.")
@click.option("--no-domain", "without", multiple=True, metavar="D", help="No domain of its any more.")
@json_option
@with_places
def set_company(
    places: Places,
    company: str,
    name: str | None,
    domains: tuple[str, ...],
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a company of this name, or change the one that has this name or domain: its people follow its domains."""
    with records(places) as known:
        there = next((each for each in known.companies()["companies"] if _is(each, company)), None)
        if there is None:
            told = known.make_company(name or company, domains)
        else:
            kept = [each for each in there["domains"] if each not in without]
            given = list(dict.fromkeys((*kept, *domains))) if domains or without else None
            told = known.change_company(there["id"], name, given)
    if as_json:
        print_json(told)
        return
    domains_told = ", ".join(told["domains"]) or "no domain"
    people = f"{told['contacts']} contact{'s' if told['contacts'] != 1 else ''}"
    click.echo(f"{told['label']}: {domains_told}; {people}")


def _is(company: dict[str, object], word: str) -> bool:
    domains = company["domains"]
    assert isinstance(domains, list)
    return " ".join(word.split()).casefold() == str(company["name"]).casefold() or word.strip().lower() in domains
