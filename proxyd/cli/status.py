"""`proxyd status`: how the daemon and every account are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, local, note, plain, print_json, since, table
from proxyd.places import Places
from proxyd.rules import record_troubles
from proxyd.rules.record_troubles import cure_of

EXIT_NEEDS_A_PERSON = 1
EXIT_NOT_RUNNING = 69

WELL = ("connected", "connecting")
COLOURS = {"connected": "green", "connecting": "yellow", "throttled": "yellow", "unreachable": "yellow"}

ALL_THE_TIME = "all the time"
NEW = timedelta(days=7)  # in which a new account's earlier mail is offered to be logged

EPILOG = """\b
States: connected, connecting, unreachable, throttled, password_refused, access_revoked, misconfigured.
Exit status: 0 all well, 1 something is not, 69 the daemon is not running.

\b
Examples:
  proxyd status
  proxyd status --json
"""


@click.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
@click.pass_context
def status(ctx: click.Context, places: Places, as_json: bool) -> None:
    """Tell how the daemon and every account are: cause, evidence, what waits."""
    try:
        with daemon_link(places) as link:
            document = link.status()
    except NotRunning as error:
        if as_json:
            print_json({"daemon": None, "accounts": []})
        note(f"proxyd: {error}")
        ctx.exit(EXIT_NOT_RUNNING)
    if as_json:
        print_json(document)
    else:
        _show(document)
    ctx.exit(0 if all_well(document) else EXIT_NEEDS_A_PERSON)


def all_well(document: dict[str, Any]) -> bool:
    """Nothing that a person should look at: no account in trouble, no mail of unknown outcome or that could not be
    delivered, nothing that a CRM refused, no copy that was given up, no bad file, no closed port, room for what
    comes."""
    accounts = document["accounts"]
    fine = all(each["state"] in WELL and not each.get("unknown") for each in accounts)
    fine = fine and not any(mail["state"] == "failed" for each in accounts for mail in each.get("spool", ()))
    fine = fine and not any(crm["cure"] for each in accounts for crm in each.get("crm", ()))
    fine = fine and not any(each.get("given_up") for each in accounts)
    daemon = document["daemon"]
    return fine and not any(daemon.get(each) for each in ("config_problem", "not_listening", "no_room"))


def _show(document: dict[str, Any]) -> None:
    out = console()
    daemon = document["daemon"]
    places = ", ".join(f"{name} on {address}" for name, address in daemon["listening"].items())
    out.print(f"proxyd {daemon['version']}, up for {since(daemon['uptime'])}, listening: {plain(places) or 'nowhere'}")
    for why in daemon.get("not_listening", {}).values():
        out.print(f"[bold red]{plain(why)}[/]")
    if no_room := daemon.get("no_room"):
        out.print(f"[bold red]{plain(no_room)}[/]")
    if problem := daemon.get("config_problem"):
        out.print("[bold red]Not all of the configuration is in force:[/]")
        out.print(plain(problem))
    if not document["accounts"]:
        out.print("No account yet.")
        return
    shown = table("Account", "State", "Since", "Last seen", "Waiting", "Cure")
    for account in document["accounts"]:
        colour = COLOURS.get(account["state"], "red")
        state = f"[{colour}]{plain(account['state'])}[/]"
        shown.add_row(
            plain(account["address"]),
            state,
            local(account["since"]),
            local(account["last_seen"]),
            _waiting(account),
            plain(account.get("cure") or "-"),
        )
    out.print(shown)
    for account in document["accounts"]:
        for line in _concerns(account):
            out.print(f"{plain(account['address'])}: {plain(line)}")


def _waiting(account: dict[str, Any]) -> str:
    words = {"sent_copies": "Sent copies", "crm": "for the CRM", "spool": "in the spool"}
    waiting = account["waiting"]
    return ", ".join(f"{waiting[key]} {word}" for key, word in words.items() if waiting.get(key)) or "nothing"


def _concerns(account: dict[str, Any]) -> list[str]:
    """One sentence for each thing that is not as it should be."""
    lines = []
    if account["state"] != "connected" or account["evidence"]:
        lines.append(account["sentence"])
    if earlier := _earlier(account):
        lines.append(earlier)
    if account.get("watching", ALL_THE_TIME) != ALL_THE_TIME:
        lines.append(f"watching the mailbox: {account['watching']}")
    for crm in account.get("crm", []):
        if crm["because"]:
            cure = f"; once that is mended: {crm['cure']}" if crm["cure"] else ""
            lines.append(crm["sentence"] + cure)
    for copies in account.get("given_up", []):
        lines.append(f"{copies['sentence'].rstrip('.')}; once that is mended: {copies['cure']}")
    if mails := account.get("spool"):
        for found in record_troubles.spool(mails, account["address"], datetime.now(UTC)):
            lines.append(f"{found.sentence.rstrip('.')}; {found.cure}")
    for mail in account.get("unknown", []):
        looked = (
            f"not found when last looked for, {local(mail['looked_at'])}" if mail["looked_at"] else "looked for now"
        )
        lines.append(
            f"nobody knows whether the mail of {local(mail['since'])} was sent ({mail['why']}; {looked}); "
            f"ask its recipient before sending it again: {cure_of(mail['message_id'] or mail['id'])}"
        )
    return lines


def _earlier(account: dict[str, Any]) -> str | None:
    """What is not read of the mailbox, and how it can be; of a new account it is said for some days."""
    going, began, lost = (account.get(each) for each in ("backfill", "read_from", "positions_lost"))
    if going is not None and going["state"] in ("asked", "running"):
        done = f"{going['read']} of {going['total']} messages" if going["total"] else "nothing yet"
        waits = f"; waits: {going['waits_for']}" if going["waits_for"] else ""
        return f"earlier mail, since {going['since']}, is gone through: {done}{waits}"
    new = began is not None and datetime.now(UTC) - datetime.fromisoformat(began) < NEW
    if began is None or (going is not None and going["asked_at"] >= began) or not (lost or new):
        return None
    what = "how far it was read is lost; it is read" if lost else "the mailbox is read"
    return (
        f"{what} from {local(began)} on; to log earlier mail with your contacts: "
        f"proxyd backfill {account['address']} --since 90d"
    )
