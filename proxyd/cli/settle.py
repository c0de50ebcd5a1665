"""`proxyd settle MESSAGE-ID`: whether a mail was sent whose outcome nobody knew; its recipient was asked."""

from __future__ import annotations

import click

from proxyd.cli.connect_questions import questions
from proxyd.cli.daemon_link import daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import print_json
from proxyd.places import Places

EPILOG = """\b
Where the connection to the provider broke behind a mail, and the mail is not found in
Sent, nobody knows whether it went: proxyd does not send it again, and status names it
for a week. Ask its recipient, then say here what you have heard. Nothing is sent by
that: a mail that went gets its Sent copy and is in the CRM, one that did not may be
sent again.
Exit status: 0 settled, 1 not (and why).

\b
Examples:
  proxyd settle '<5f3c@example.com>'
  proxyd settle '<5f3c@example.com>' --sent
"""


@click.command(epilog=EPILOG)
@click.argument("message_id", metavar="MESSAGE-ID")
@click.option("--sent/--not-sent", default=None, help="What its recipient says; asked for at a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def settle(places: Places, message_id: str, sent: bool | None, as_json: bool) -> None:
    """Say whether a mail was sent whose outcome is unknown."""
    if sent is None:
        sent = questions(yes=False).confirm("Has its recipient got it?", "--sent or --not-sent", default=None)
    with daemon_link(places) as link:
        document = link.settle(message_id, sent=sent)
    if as_json:
        print_json(document)
    elif document["state"] == "sent":
        click.echo("It counts as sent.")
    elif document["spooled"]:
        click.echo(f"It counts as not sent, and is kept here; to send it: proxyd spool retry {document['id']}")
    else:
        click.echo("It counts as not sent: send it again.")
