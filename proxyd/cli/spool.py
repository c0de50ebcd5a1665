"""`proxyd spool`: mail that waits here for the provider, and mail that could not be delivered; what becomes of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from proxyd.cli.connect_questions import questions
from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, note, plain, print_json, table
from proxyd.places import Places

EXIT_NEEDS_A_PERSON = 1

EPILOG = """\b
Mail is kept here where the provider could not be given it and the account says
`sending: {on_outage: spool}`. What waits is tried by itself; what could not be delivered,
or may have been sent without anybody knowing, waits for you.
Exit status: 0 nothing needs you, 1 something does.

\b
Examples:
  proxyd spool
  proxyd spool retry                 everything, now
  proxyd spool show 01KABC > a.eml   the message
  proxyd spool drop 01KABC           never send it, and let go of it
"""

STATES = {
    "waiting": "waits until {due}",
    "unknown": "[bold red]may have been sent[/]",
    "failed": "[bold red]not delivered[/]",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
account_option = click.option("--account", metavar="A", help="Only of this account, an address.")


@click.group(cls=Several, invoke_without_command=True, epilog=EPILOG)
@account_option
@json_option
@with_places
@click.pass_context
def spool(ctx: click.Context, places: Places, account: str | None, as_json: bool) -> None:
    """Mail that waits here for the provider: list it, try it again, show it, drop it."""
    if ctx.invoked_subcommand is not None:
        return
    with records(places) as known:
        document = known.spooled(account)
    if as_json:
        print_json(document)
    else:
        _show(document["mails"])
    ctx.exit(EXIT_NEEDS_A_PERSON if any(each["state"] != "waiting" for each in document["mails"]) else 0)


def _show(mails: list[dict[str, Any]]) -> None:
    if not mails:
        click.echo("Nothing waits here for a provider.")
        return
    shown = table("Id", "Since", "State", "Message", "Why")
    shown.columns[3].ratio = shown.columns[4].ratio = 1
    for each in mails:
        state = STATES[each["state"]].format(due=local(each["due"]) if each["due"] else "")
        about = f"[bold]{plain(each['subject'] or '(no subject)')}[/]\n"
        about += f"[dim]{plain(each['account'])} to {plain(', '.join(each['recipients']))}[/]"
        shown.add_row(each["id"], local(each["since"]), state, about, plain(each["error"] or "-"))
    console().print(shown)


@spool.command(epilog="\b\nExamples:\n  proxyd spool retry\n  proxyd spool retry 01KABC 01KABD\n")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@account_option
@json_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_places
def retry(places: Places, ids: tuple[str, ...], account: str | None, as_json: bool, yes: bool) -> None:
    """Try again now, for as long as a mail that has just come.

    ID is one of the list or its end; without one everything is meant that waits or was not delivered. A mail that may
    have been sent is tried only where it is named: ask its recipients first.
    """
    with records(places) as known:
        mails = known.spooled(account)["mails"]
        sure = [each["id"] for each in mails if each["state"] != "unknown"]
        doubtful = [each for each in mails if any(each["id"].endswith(id.strip().upper()) for id in ids)]
        if any(each["state"] == "unknown" for each in doubtful):
            question = "It may have been sent: its recipients may get it twice. Send it again?"
            if not questions(yes=yes).confirm(question, "--yes", default=False):
                raise click.Abort
        chosen = list(ids) or sure
        done = known.retry_spooled(chosen, account) if chosen else {"mails": 0}
    _tell(done, as_json, "to be tried again")


@spool.command(epilog="\b\nExamples:\n  proxyd spool drop 01KABC\n  proxyd spool drop --yes 01KABC 01KABD\n")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_places
def drop(places: Places, ids: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Never send it, and let go of it; of a logged mail the record stays, as one that was not sent.

    ID is one of the list or its end.
    """
    what = "this mail" if len(ids) == 1 else f"these {len(ids)} mails"
    if not questions(yes=yes).confirm(f"Never send {what}, and keep nothing to send?", "--yes", default=False):
        raise click.Abort
    with records(places) as known:
        done = known.drop_spooled(list(ids))
    _tell(done, as_json, "dropped")


@spool.command(
    epilog="\b\nExamples:\n  proxyd spool show 01KABC > offer.eml\n  proxyd spool show 01KABC --output a.eml\n"
)
@click.argument("id", metavar="ID")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@with_places
def show(places: Places, id: str, output: Path | None) -> None:
    """Write the message as it was handed in, an .eml file that every mail program opens.

    ID is one of the list or its end.
    """
    with records(places) as known:
        chunks = known.spooled_octets(id)
        if output is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            return
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
    note(f"Written to {output}, readable by you alone.")


def _tell(done: dict[str, int], as_json: bool, what: str) -> None:
    count = done["mails"]
    if as_json:
        print_json(done)
    elif count:
        click.echo(f"{count} {'mail' if count == 1 else 'mails'} {what}.")
    else:
        click.echo("There was nothing of that kind.")
