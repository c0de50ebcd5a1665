"""`proxyd crm`: what a CRM refused or has not taken yet, in its own words; try it again, or leave it out."""

from __future__ import annotations

from typing import Any

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, plain, print_json, table
from proxyd.places import Places

EXIT_NEEDS_A_PERSON = 1

EPILOG = """\b
A message that the CRM refused (failed) is not tried again by itself: mend what the
CRM complains of, then let it be tried. What waits is tried by itself.
Exit status: 0 nothing needs you, 1 a CRM refused something.

\b
Examples:
  proxyd crm
  proxyd crm retry --crm hubspot      everything that it refused, and what waits
  proxyd crm retry 01KABC             one message
  proxyd crm skip 01KABC              never to that CRM; it stays in proxyd's records
"""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
account_option = click.option("--account", metavar="A", help="Only of this account, an address.")
crm_option = click.option("--crm", "name", metavar="NAME", help="Only of the CRM of this name.")


@click.group(cls=Several, invoke_without_command=True, epilog=EPILOG)
@account_option
@crm_option
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most N.")
@json_option
@with_places
@click.pass_context
def crm(ctx: click.Context, places: Places, account: str | None, name: str | None, limit: int, as_json: bool) -> None:
    """What a CRM refused or has not taken yet: list it, try it again, skip it."""
    if ctx.invoked_subcommand is not None:
        return
    with records(places) as known:
        document = known.crm_entries(account, name, limit)
    if as_json:
        print_json(document)
    else:
        _show(document)
    ctx.exit(EXIT_NEEDS_A_PERSON if any(each["cure"] for each in document["crm"]) else 0)


def _show(document: dict[str, Any]) -> None:
    out = console()
    if not document["crm"]:
        click.echo("Every CRM has everything.")
        return
    if document["entries"]:
        shown = table("Id", "CRM", "State", "Message", "In the CRM's words")
        shown.columns[3].ratio = shown.columns[4].ratio = 1
        for each in document["entries"]:
            state = "[bold red]refused[/]" if each["state"] == "failed" else f"waits until {local(each['due'])}"
            about = f"[bold]{plain(each['subject'] or '(no subject)')}[/]\n"
            about += f"[dim]{plain(', '.join(each['contacts']))}, {local(each['date'])}[/]"
            shown.add_row(each["id"], plain(each["crm"]), state, about, plain(each["error"] or "-"))
        out.print(shown)
    for each in document["erasures"]:
        word = "will not erase" if each["due"] is None else "is still to erase"
        out.print(f"{plain(each['crm'])} {word} {plain(each['address'])}: {plain(each['error'] or 'not tried yet')}")
    for each in document["crm"]:
        counts = f"{each['failed']} refused, {each['waiting']} waiting"
        out.print(
            f"{plain(each['name'])} of {plain(each['account'])}: {counts}. {plain(each['because'])}", soft_wrap=True
        )
        if each["cure"]:
            out.print(f"    once it is mended: {plain(each['cure'])}", soft_wrap=True)


@crm.command(epilog="\b\nExamples:\n  proxyd crm retry --crm hubspot\n  proxyd crm retry 01KABC 01KABD\n")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@account_option
@crm_option
@json_option
@with_places
def retry(places: Places, ids: tuple[str, ...], account: str | None, name: str | None, as_json: bool) -> None:
    """Ask the CRM again, now, once somebody has mended what it complained of.

    ID is one of the list or its end, or a Message-ID; without one everything is meant that the options name.
    """
    with records(places) as known:
        done = known.retry_crm_entries(list(ids) or None, account, name)
    _tell(done, as_json, "tried again now")


@crm.command(epilog="\b\nExamples:\n  proxyd crm skip 01KABC\n  proxyd crm skip --crm hubspot\n")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@account_option
@crm_option
@click.option("--waiting", is_flag=True, help="Those that only wait, too: the CRM is no longer used.")
@json_option
@with_places
def skip(
    places: Places, ids: tuple[str, ...], account: str | None, name: str | None, waiting: bool, as_json: bool
) -> None:
    """Leave out what the CRM refused: it is neither tried nor told of any more, and stays in proxyd's records.

    ID is one of the list or its end, or a Message-ID; or --crm for all that this CRM refused.
    """
    if not ids and name is None:
        raise click.UsageError("Which ones? Name their ids, or a CRM by --crm.")
    with records(places) as known:
        done = known.skip_crm_entries(list(ids) or None, account, name, waiting)
    _tell(done, as_json, "skipped")


def _tell(done: dict[str, int], as_json: bool, what: str) -> None:
    if as_json:
        print_json(done)
        return
    for count, one, more in ((done["entries"], "message", "messages"), (done["erasures"], "erasure", "erasures")):
        if count:
            click.echo(f"{count} {one if count == 1 else more} {what}.")
    if not any(done.values()):
        click.echo("There was nothing of that kind.")
