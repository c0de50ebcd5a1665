"""`proxyd copies`: those in Sent and those to the CRM's address that were given up; to be tried again, or left out."""

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
Of every mail that you send a copy is to be in your Sent folder, and one goes to the
CRM's address where the account has one (dropbox). What could not be done for a day or
two, or was refused for good, is given up: mend what hinders it, then let it be tried.
A Sent copy is looked for first, and filed where nobody has. The CRM's copy is sent:
where its outcome was not known, look there first, for it may arrive a second time.
Exit status: 0 nothing needs you, 1 something was given up.

\b
Examples:
  proxyd copies
  proxyd copies retry --account ada@example.com
  proxyd copies retry 01KABC          one of them
  proxyd copies skip 01KABC           it stays as it is, and is told of no more
"""

WORDS = {"sent_copies": "Sent", "dropbox": "CRM's address"}
_COUNTED = {"sent_copies": ("Sent copy", "Sent copies"), "dropbox": ("copy to the CRM", "copies to the CRM")}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
account_option = click.option("--account", metavar="A", help="Only of this account, an address.")
what_option = click.option("--what", type=click.Choice(list(WORDS)), help="Only those of one kind.")


@click.group(cls=Several, invoke_without_command=True, epilog=EPILOG)
@account_option
@what_option
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most N.")
@json_option
@with_places
@click.pass_context
def copies(
    ctx: click.Context, places: Places, account: str | None, what: str | None, limit: int, as_json: bool
) -> None:
    """Copies that were given up, in Sent or to the CRM's address: list them, try them again, skip them."""
    if ctx.invoked_subcommand is not None:
        return
    with records(places) as known:
        document = known.copies(account, what, limit)
    if as_json:
        print_json(document)
    else:
        _show(document)
    ctx.exit(EXIT_NEEDS_A_PERSON if document["copies"] else 0)


def _show(document: dict[str, Any]) -> None:
    if not document["copies"]:
        click.echo("No copy was given up.")
        return
    shown = table("Id", "Copy", "Message", "Why")
    shown.columns[2].ratio = shown.columns[3].ratio = 1
    for each in document["copies"]:
        subject = plain(each["subject"] or each["message_id"] or "(nothing is kept of it)")
        about = f"[bold]{subject}[/]\n[dim]{plain(each['account'])}{', ' + local(each['at']) if each['at'] else ''}[/]"
        shown.add_row(each["id"], WORDS[each["what"]], about, plain(each["error"] or "-"))
    console().print(shown)


@copies.command(epilog="\b\nExamples:\n  proxyd copies retry --account ada@example.com\n  proxyd copies retry 01KABC\n")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@account_option
@what_option
@json_option
@with_places
def retry(places: Places, ids: tuple[str, ...], account: str | None, what: str | None, as_json: bool) -> None:
    """Try them again, now, once somebody has mended what hindered them.

    ID is one of the list or its end, or a Message-ID; without one everything is meant that the options name.
    """
    with records(places) as known:
        done = known.retry_copies(list(ids) or None, account, what)
    _tell(done, as_json, "tried again now")
    if done["gone"] and not as_json:
        one = done["gone"] == 1
        click.echo(f"{done['gone']} skipped: {'its message is' if one else 'their messages are'} not kept any more.")


@copies.command(epilog="\b\nExamples:\n  proxyd copies skip 01KABC\n  proxyd copies skip --what dropbox\n")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@account_option
@what_option
@json_option
@with_places
def skip(places: Places, ids: tuple[str, ...], account: str | None, what: str | None, as_json: bool) -> None:
    """Leave out what was given up: it is neither tried nor told of any more.

    ID is one of the list or its end, or a Message-ID; or --what for all of that kind.
    """
    if not ids and what is None:
        raise click.UsageError("Which ones? Name their ids, or a kind by --what.")
    with records(places) as known:
        done = known.skip_copies(list(ids) or None, account, what)
    _tell(done, as_json, "skipped")


def _tell(done: dict[str, int], as_json: bool, ended: str) -> None:
    if as_json:
        print_json(done)
        return
    for what, (one, more) in _COUNTED.items():
        if count := done[what]:
            click.echo(f"{count} {one if count == 1 else more} {ended}.")
    if not any(done.values()):
        click.echo("There was nothing of that kind.")
