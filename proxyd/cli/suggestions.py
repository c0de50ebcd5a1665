"""`proxyd suggestions`: mail that may belong to a logged conversation, to accept or refuse."""

from __future__ import annotations

from typing import Any

import click

from proxyd.cli.daemon_link import Records, records
from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, local, note, person, plain, print_json, table
from proxyd.places import Places

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

EPILOG = """\b
Mail from people in a logged conversation that names no other message, as Outlook
sends it when its user edits the subject. Its text is read if you accept it, and
never if you refuse; what is refused is forgotten and does not come again. The
account's setting `suggestions: false` ends all of it.

\b
Examples:
  proxyd suggestions
  proxyd suggestions --ask          one key for each: a accept, r refuse
  proxyd suggestions accept 01KABC
  proxyd suggestions refuse 01KABC 01KABD
"""


@click.group(cls=Several, invoke_without_command=True, epilog=EPILOG)
@click.option("--account", metavar="A", help="Only of this account, an address.")
@click.option("--ask", is_flag=True, help="Show one after the other and ask for a key.")
@json_option
@with_places
@click.pass_context
def suggestions(ctx: click.Context, places: Places, account: str | None, ask: bool, as_json: bool) -> None:
    """Mail that may belong to a conversation: list it, accept it, refuse it."""
    if ctx.invoked_subcommand is not None:
        return
    with records(places) as known:
        document = known.suggestions(account)
        if ask and not as_json:
            _ask(known, document["suggestions"])
            return
    if as_json:
        print_json(document)
    elif not document["suggestions"]:
        click.echo("Nothing is suggested.")
    else:
        console().print(_table(document["suggestions"]))
        click.echo("Accept or refuse: proxyd suggestions accept ID, refuse ID, or one after the other with --ask.")


def _table(listed: list[dict[str, Any]]) -> Any:
    shown = table("Id", "When", "From", "What")
    shown.columns[1].no_wrap = True
    shown.columns[3].ratio = 1
    for each in listed:
        what = f"[bold]{plain(each['subject'] or '(no subject)')}[/]\n[dim]{plain(each['because'])}[/]"
        shown.add_row(each["id"], local(each["date"]), plain(person(each["from"])), what)
    return shown


def _ask(known: Records, listed: list[dict[str, Any]]) -> None:
    if not listed:
        click.echo("Nothing is suggested.")
    for each in listed:
        console().print(
            f"{local(each['date'])}  {plain(person(each['from']))} <{plain(each['from']['address'])}>\n"
            f"[bold]{plain(each['subject'] or '(no subject)')}[/]\n[dim]{plain(each['because'])}[/]"
        )
        click.echo("a accept, r refuse, s leave it, q quit: ", nl=False)
        key = click.getchar().lower()
        click.echo(key if key.isprintable() else "")
        if key == "a":
            known.accept_suggestion(each["id"])
        elif key == "r":
            known.refuse_suggestion(each["id"])
        elif key in ("q", "\x03", "\x04"):
            return


@suggestions.command(epilog="\b\nExample:\n  proxyd suggestions accept 01KABC\n")
@click.argument("ids", metavar="ID", nargs=-1, required=True)
@json_option
@with_places
@click.pass_context
def accept(ctx: click.Context, places: Places, ids: tuple[str, ...], as_json: bool) -> None:
    """Log the message into its conversation: now it is fetched.

    ID may be the end of one, where no other ends like it. Exit status: 0 done, 1 there is none.
    """
    _decide(ctx, places, ids, as_json, "accept")


@suggestions.command(epilog="\b\nExample:\n  proxyd suggestions refuse 01KABC\n")
@click.argument("ids", metavar="ID", nargs=-1, required=True)
@json_option
@with_places
@click.pass_context
def refuse(ctx: click.Context, places: Places, ids: tuple[str, ...], as_json: bool) -> None:
    """Forget the message: nothing of it is fetched, and it is not suggested again.

    ID may be the end of one, where no other ends like it. Exit status: 0 done, 1 there is none.
    """
    _decide(ctx, places, ids, as_json, "refuse")


def _decide(ctx: click.Context, places: Places, ids: tuple[str, ...], as_json: bool, word: str) -> None:
    decided: list[dict[str, Any]] = []
    with records(places) as known:
        listed = [each["id"] for each in known.suggestions(None)["suggestions"]]
        for said in ids:
            meant = [each for each in listed if each.endswith(said.upper())]
            if len(meant) != 1:
                note(f"proxyd: {'no suggestion has' if not meant else 'more than one suggestion has'} the id {said!r}")
                continue
            done = known.accept_suggestion(meant[0]) if word == "accept" else known.refuse_suggestion(meant[0])
            decided.append(done)
    if as_json:
        print_json({"suggestions": decided})
    else:
        for each in decided:
            click.echo(f"{each['state'].capitalize()}: {each['subject'] or '(no subject)'}")
    ctx.exit(0 if len(decided) == len(ids) else 1)
