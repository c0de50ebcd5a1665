"""`proxyd forget`: a contact and everything with them is erased, here and in the CRMs."""

from __future__ import annotations

from typing import Any

import click

from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import local, print_json
from proxyd.places import Places

EPILOG = """\b
Erases the contact and every logged message that they had part in, in every account; each CRM that can is told to erase
what was logged there. Mailboxes are not touched. A report is kept that holds nothing of the person.

\b
Examples:
  proxyd forget grace@customer.example
  proxyd forget grace@customer.example --yes --json
  proxyd forget --reports grace@customer.example
"""


@click.command(epilog=EPILOG)
@click.argument("contact", required=False)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--reports", is_flag=True, help="Erase nothing: show the reports, of CONTACT or all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def forget(places: Places, contact: str | None, yes: bool, reports: bool, as_json: bool) -> None:
    """Erase a contact and every logged message with them."""
    if contact is None and not reports:
        raise click.UsageError("say whom: forget CONTACT, an e-mail address")
    with records(places) as known:
        if reports:
            document = known.erasures(contact)
            listed = document["erasures"]
        else:
            assert contact is not None
            if not yes:
                click.confirm(f"Erase {contact} and every logged message with them? This cannot be undone", abort=True)
            document = known.forget(contact)
            listed = [document]
    if as_json:
        print_json(document)
    elif not listed:
        click.echo("Nobody was forgotten.")
    for each in listed if not as_json else []:
        click.echo(_sentence(each))


def _sentence(report: dict[str, Any]) -> str:
    count = report["messages"]
    said = f"Report {report['id']}, {local(report['at'])}: {count} message{'' if count == 1 else 's'} erased"
    if report["shared"]:
        said += f", {report['shared']} of them with other contacts too"
    if report["accounts"]:
        said += f", of {', '.join(report['accounts'])}"
    crms = [f"{each['name']} ({each['messages']})" for each in report["crm"]]
    said += f"; told to erase: {', '.join(crms)}." if crms else "."
    if waiting := report.get("to_be_sent"):
        mails = "1 mail to them waits" if waiting == 1 else f"{waiting} mails to them wait"
        said += f" {mails} here to be sent, and will be, unlogged: proxyd spool"
    return said
