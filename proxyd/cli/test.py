"""`proxyd test`: does it work, as a mail client sees it?"""

from __future__ import annotations

from dataclasses import asdict

import click

from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.round_trip import Leg, RoundTrip
from proxyd.cli.showing import note, plain, print_json
from proxyd.config import Account, Settings, load, read_secret
from proxyd.errors import ProxydError
from proxyd.places import Places

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 69

EPILOG = """\b
Without --send it logs in to the listeners as a mail client does. With it a real mail goes to ADDRESS itself, and each
leg of its way is timed: log in, hand in, arrive in INBOX, be recorded, Sent copy. The mail is not deleted afterwards,
nor is its Sent copy: proxyd deletes nobody's messages. It is recorded as any mail marked by hand is, and so goes to
the account's dropbox and CRM too; --no-log leaves that out.
Exit status: 0 every leg was seen, 1 one was not, 69 the daemon is not running.

\b
Examples:
  proxyd test ada@example.com
  proxyd test ada@example.com --send
  proxyd test ada@example.com --send --no-log --json
"""


@click.command(epilog=EPILOG)
@click.argument("address")
@click.option("--send", is_flag=True, help="Send a real mail to ADDRESS itself.")
@click.option("--log/--no-log", "log", default=True, help="Whether that mail is to be recorded.  [default: log]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
@click.pass_context
def test(ctx: click.Context, places: Places, address: str, send: bool, log: bool, as_json: bool) -> None:
    """See that an account works: log in as a mail client does, and send a real mail."""
    settings = load(places.config)
    account = _account(settings, address)
    password = read_secret(account.client.password, "client.password")
    try:
        with daemon_link(places) as link:
            listening = link.status()["daemon"]["listening"]
            trip = RoundTrip(places, settings, account, password, listening, link.explain)
            legs = []
            for leg in trip.send(log=log) if send else trip.log_in():
                legs.append(leg)
                if not as_json:
                    _show(leg)
    except NotRunning as error:
        note(f"proxyd: {error}")
        ctx.exit(EXIT_NOT_RUNNING)
    ok = all(leg.ok for leg in legs)
    if as_json:
        print_json({"ok": ok, "message_id": trip.message_id if send else None, "legs": [asdict(each) for each in legs]})
    elif send and any(leg.name == "hand in" and leg.ok for leg in legs):
        click.echo(f"The test mail stays where it arrived, and in Sent: {trip.message_id}")
    ctx.exit(0 if ok else EXIT_FAILED)


def _account(settings: Settings, address: str) -> Account:
    account = settings.accounts.get(address.strip().lower())
    if account is None:
        known = ", ".join(settings.accounts) or "none"
        raise ProxydError(f"no account has the address {plain(address)}; there are: {known}")
    return account


def _show(leg: Leg) -> None:
    took = "-" if leg.seconds is None else f"{leg.seconds:.2f} s"
    click.echo(f"{'ok    ' if leg.ok else 'FAILED'} {leg.name:<16} {took:>9}  {plain(leg.detail)}")
