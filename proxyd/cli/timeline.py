"""`proxyd timeline`: what is logged, as a person reads it."""

from __future__ import annotations

import re
from typing import Any

import click
from rich.console import Group
from rich.table import Table

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, local, person, plain, print_json, table
from proxyd.places import Places

EXCERPT = 160  # characters of a text that the table shows
CRM_WORDS = {"failed": "refused", "waiting": "waits"}
STATES = {"submitting": "not sent yet"}  # the others say it themselves
NARROW = 100  # columns; with fewer a table would break every address
_MESSAGE_ID = re.compile(r"<[^<>]+@[^<>]+>")  # long, and `explain` has them

EPILOG = """\b
Newest first. CONTACT is an e-mail address, any one of a contact's; C is a company's
name or domain.

\b
Examples:
  proxyd timeline
  proxyd timeline grace@customer.example
  proxyd timeline --company customer.example
  proxyd timeline --account ada@example.com --limit 5 --json
"""


@click.command(epilog=EPILOG)
@click.argument("contact", required=False)
@click.option("--account", metavar="A", help="Only of this account, an address.")
@click.option("--company", metavar="C", help="Only with the people of this company.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most N.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def timeline(
    places: Places, contact: str | None, account: str | None, company: str | None, limit: int, as_json: bool
) -> None:
    """Show what is logged: every message of every conversation, or those with CONTACT."""
    if contact is not None and company is not None:
        raise click.UsageError("a contact or --company, not both")
    with records(places) as known:
        document = known.timeline(contact, account, limit, company)
    if as_json:
        print_json(document)
    elif not document["messages"]:
        click.echo(f"Nothing is logged{f' with {contact or company}' if contact or company else ''} yet.")
    else:
        out = console()
        out.print(timeline_shown(document["messages"], out.width))


def timeline_shown(messages: list[dict[str, Any]], width: int) -> Table | Group:
    """Newest first, as the document has them: a table, or one below the other where the terminal is narrow."""
    return timeline_table(messages) if width >= NARROW else timeline_list(messages)


def timeline_list(messages: list[dict[str, Any]]) -> Group:
    shown: list[str] = []
    for each in messages:
        head = f"{local(each['date'])} {_arrow(each)} {_others(each)}"
        shown += [head, _what(each), _state(each), ""]
    return Group(*shown[:-1])


def timeline_table(messages: list[dict[str, Any]]) -> Table:
    shown = table("When", "", "With", "What", "State")
    shown.columns[0].no_wrap = shown.columns[1].no_wrap = True
    shown.columns[3].ratio = 1
    for each in messages:
        shown.add_row(local(each["date"]), _arrow(each), _others(each), _what(each), _state(each))
    return shown


def _arrow(message: dict[str, Any]) -> str:
    return "[cyan]→[/]" if message["direction"] == "outgoing" else "[green]←[/]"


def _others(message: dict[str, Any]) -> str:
    outgoing = message["direction"] == "outgoing"
    others = [*message["to"], *message["cc"], *message["bcc"]] if outgoing else [message["from"]]
    return plain(", ".join(map(person, others)))


def _what(message: dict[str, Any]) -> str:
    words = " ".join(message["new_text"].split())
    lines = [f"[bold]{plain(message['subject'] or '(no subject)')}[/]"]
    if words:
        lines.append(plain(words if len(words) <= EXCERPT else words[:EXCERPT].rstrip() + " …"))
    files = [f"{each['name']} ({size(each['size'])})" for each in message["attachments"] if not each["inline"]]
    if files:
        lines.append(f"[dim]{plain('attached: ' + ', '.join(files))}[/]")
    lines.append(f"[dim]{plain(_MESSAGE_ID.sub('<…>', message['because']))}[/]")
    return "\n".join(lines)


def _state(message: dict[str, Any]) -> str:
    notice = (message["notice"] or message["kind"]).replace("_", " ")
    state = STATES.get(message["state"], message["state"])
    lines = [plain(state if notice == "message" else f"{state}: {notice}")]
    for each in message["delivery"]:
        lines.append(f"[dim]{plain(' '.join(filter(None, (each['address'], each['state'], each['status']))))}[/]")
    if message["participant"] == "unknown":
        lines.append("[dim]new in this conversation[/]")
    if (copy := message["sent_copy"]) is not None:
        lines.append(f"[dim]{plain(copy_words(copy))}[/]")
    if (dropbox := message["dropbox"]) is not None:
        lines.append(f"[dim]dropbox: {plain(dropbox['state'])}[/]")
    for each in message["crm"]:
        if each["state"] != "delivered":
            lines.append(f"[dim]{plain(each['name'])}: {CRM_WORDS.get(each['state'], each['state'])}[/]")
    return "\n".join(lines)


def copy_words(copy: dict[str, Any]) -> str:
    """`in Sent, by client`."""
    match copy["state"]:
        case "present":
            count = "" if copy["copies"] == 1 else f" ({copy['copies']} copies)"
            return f"in {copy['folder']}, by {copy['by']}{count}"
        case "not_wanted":
            return "no Sent copy wanted"
        case state:
            return f"Sent copy {state}"


def size(octets: int) -> str:
    if octets < 1000:
        return f"{octets} B"
    return f"{octets / 1000:.0f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
