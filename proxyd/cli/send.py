"""`proxyd send`: a message from a file or composed by options, through an account's own provider."""

from __future__ import annotations

import base64
import mimetypes
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import click

from proxyd.cli.daemon_link import Answered, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note, print_json
from proxyd.places import Places

EXIT_UNKNOWN = 75  # EX_TEMPFAIL of sysexits.h: it is not known yet whether the provider took it

EPILOG = """\b
FILE is a whole message (RFC 5322), - reads it from standard input; or it is composed of the options. It goes through
the account's provider, is logged and filed in Sent by the same rules as a mail client's.
Exit status: 0 sent, or kept here to be sent (on_outage: spool), 1 nobody got it, 75 it is being found out and not
sent again.

\b
Examples:
  proxyd send --account ada@example.com letter.eml
  proxyd send --to grace@customer.example --subject Offer --text "Dear Grace, ..." --attach offer.pdf
  proxyd send --account ada@example.com --reply-to-message 01JD... --text-file answer.txt
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--account", metavar="A", help="The account that sends, an address; not needed where there is one.")
@click.option("--from", "author", metavar="ADDRESS", help="One of the account's addresses; default: its own.")
@click.option("--to", multiple=True, metavar="ADDRESS", help='"Grace <grace@customer.example>"; may be repeated.')
@click.option("--cc", multiple=True, metavar="ADDRESS", help="As --to.")
@click.option("--bcc", multiple=True, metavar="ADDRESS", help="As --to, unseen by the others.")
@click.option("--subject", metavar="TEXT", help="Default for an answer: Re: and the subject of what is answered.")
@click.option("--text", metavar="TEXT", help="The text.")
@click.option("--text-file", type=click.File("rb"), help="The text from a file in UTF-8; - is standard input.")
@click.option("--html-file", type=click.File("rb"), help="The HTML beside the text, in UTF-8.")
@click.option("--attach", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file.")
@click.option("--reply-to-message", metavar="ID", help="The logged message that this one answers.")
@click.option("--log/--no-log", default=None, help="Log it, or not; default: the account's rules decide.")
@click.option("--idempotency-key", metavar="KEY", help="With the same one again, nothing is sent a second time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
def send(places: Places, file: BinaryIO | None, as_json: bool, **said: Any) -> None:
    """Send a message from the CRM, through an account's own provider."""
    ctx = click.get_current_context()
    key = said.pop("idempotency_key") or str(uuid.uuid4())
    account = said.pop("account")
    composed = {name: value for name, value in _composed(said).items() if value not in (None, [], "")}
    if (file is None) is not bool(composed):
        raise click.UsageError("give a FILE, or options that compose a message, and not both")
    with daemon_link(places) as daemon:
        try:
            told = (
                daemon.send(file.read(), account, key)
                if file is not None
                else daemon.send(composed | ({"account": account} if account else {}), None, key)
            )
        except Answered as answer:
            if not as_json or "state" not in answer.document:
                raise
            print_json(answer.document)
            ctx.exit(1)
    if as_json:
        print_json(told)
    elif told["state"] == "sent":
        where = f"; logged as {told['message']}" if told["message"] else "; not logged"
        click.echo(f"Sent {told['message_id'] or ''}: {told['reply'] or 'taken'}{where}")
    elif told["spooled"]:
        note(f"Kept here, to be sent as soon as the provider takes it: {told['message_id']}; see: proxyd spool")
    else:
        note(f"It is not known yet whether the provider has it; see: proxyd explain '{told['message_id']}'")
    ctx.exit(0 if told["state"] == "sent" or told["spooled"] else EXIT_UNKNOWN)


def _composed(said: dict[str, Any]) -> dict[str, Any]:
    text_file, html_file = said["text_file"], said["html_file"]
    if text_file is not None and said["text"] is not None:
        raise click.UsageError("give --text or --text-file, and not both")
    return {
        "from": said["author"],
        "to": list(said["to"]),
        "cc": list(said["cc"]),
        "bcc": list(said["bcc"]),
        "subject": said["subject"],
        "text": text_file.read().decode("utf-8", "replace") if text_file else said["text"],
        "html": html_file.read().decode("utf-8", "replace") if html_file else None,
        "attachments": [_attached(each) for each in said["attach"]],
        "reply_to_message": said["reply_to_message"],
        "log": said["log"],
    }


def _attached(path: Path) -> dict[str, str]:
    type, encoding = mimetypes.guess_type(path.name)
    known = type if type and not encoding else "application/octet-stream"
    return {"name": path.name, "type": known, "content": base64.b64encode(path.read_bytes()).decode()}
