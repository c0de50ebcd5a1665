"""`proxyd backfill`: earlier mail with known contacts goes into the log; the daemon does it, here it is watched."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from proxyd.cli.daemon_link import DaemonLink, NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, note, plain, print_json, since
from proxyd.errors import TryLater
from proxyd.places import Places

EXIT_STOPPED = 1
EXIT_NOT_RUNNING = 69
ENDED = ("done", "stopped")
BEFORE = "a span such as 90d or 52w, or a day such as 2026-08-25"

EPILOG = """\b
What is read: of every message of that time, in all folders but Junk, Trash and
Drafts, the fields From, Sender, To, Cc, Date and those that hold ids; of many
messages and few contacts only what the server finds for your contacts. Whole
messages are read of those alone that are from or to a known contact and not on
never_log; they are logged. Nothing is marked read. --dry-run reads no message.

\b
Ctrl-C stops it; the same command goes on where it was. If the daemon is stopped
or killed, it goes on by itself when it runs again. It has a connection only
while the mail clients leave one.

\b
Exit status: 0 all gone through, 1 stopped, 69 the daemon is not running.

\b
Examples:
  proxyd backfill ada@example.com --since 90d --dry-run
  proxyd backfill ada@example.com --since 90d
"""


def _day(ctx: click.Context, param: click.Parameter, value: str) -> date:
    today = datetime.now(UTC).date()
    try:
        if found := re.fullmatch(r"([0-9]{1,5})([dw])", value):
            return today - timedelta(days=int(found[1]) * (7 if found[2] == "w" else 1))
        day = date.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is neither; accepted: {BEFORE}") from None
    if day > today:
        raise click.BadParameter(f"{value} has not come yet; accepted: {BEFORE}")
    return day


@click.command(epilog=EPILOG)
@click.argument("account")
@click.option("--since", "since_day", callback=_day, metavar="SPAN", required=True, help=f"How far back: {BEFORE}.")
@click.option("--dry-run", is_flag=True, help="Only count what would be logged.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document when it has ended.")
@with_places
@click.pass_context
def backfill(ctx: click.Context, places: Places, account: str, since_day: date, dry_run: bool, as_json: bool) -> None:
    """Log earlier mail with known contacts: of ACCOUNT, received and sent, each message once."""
    begun = False
    try:
        with daemon_link(places) as link:
            link.ask_backfill(account, since_day.isoformat(), dry_run)
            begun = True
            ended = _watch(link, account, dry_run)
    except (NotRunning, TryLater) as error:
        note(f"proxyd: {error}")
        if begun:
            note("Nothing is lost: it goes on where it was when the daemon runs again.")
        ctx.exit(EXIT_NOT_RUNNING)
    if as_json:
        print_json(ended)
    else:
        console().print(plain(told(ended)))
    ctx.exit(0 if ended["state"] == "done" else EXIT_STOPPED)


def _watch(link: DaemonLink, account: str, dry_run: bool) -> dict[str, Any]:
    """Until it has ended; Ctrl-C ends it. The bar goes to standard error, and only to a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}"),
        console=console(error=True),
        transient=True,
        disable=not console(error=True).is_terminal,
    )
    try:
        with bar:
            task = bar.add_task("looking", total=None, more="")
            while (going := link.backfill(account, dry_run))["state"] not in ENDED:
                total = going["total"] or None
                bar.update(
                    task, description=_doing(going), total=total, completed=going["read"], more=plain(_pace(going))
                )
    except KeyboardInterrupt:
        return link.stop_backfill(account, dry_run)
    return going


def _doing(going: dict[str, Any]) -> str:
    return "counting" if going["dry_run"] else "logging earlier mail"


def _pace(going: dict[str, Any]) -> str:
    if going["waits_for"]:
        return f"waits: {going['waits_for']}"
    words = [_found(going)]
    if going["rate"]:
        words.append(f"{going['rate']:.0f}/s")
    if going["remaining"] is not None:
        words.append(f"{since(going['remaining'])} left")
    return ", ".join(words)


def _found(going: dict[str, Any]) -> str:
    found = going["found"]
    return f"{found['incoming']} received and {found['outgoing']} sent with contacts"


def told(ended: dict[str, Any]) -> str:
    """What came of it, for a person."""
    span = f"{ended['since']} to {ended['until']}"
    if ended["state"] != "done":
        return (
            f"Stopped; {ended['gone_through_to']} is where it goes on: the same command once more. "
            f"Until now: {_found(ended)}, {ended['logged']} logged."
        )
    if ended["dry_run"]:
        return f"{span}: {_found(ended)}, of {ended['total']} messages. Nothing was logged."
    return f"{span}: {_found(ended)}, of {ended['total']} messages; {ended['logged']} of them are new in the log."
