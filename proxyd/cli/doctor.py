"""`proxyd doctor`: every failing thing in one sentence, with the one command that cures it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from proxyd.cli import findings
from proxyd.cli.daemon_link import NotOurs, NotRunning, Waiting, daemon_link, records
from proxyd.cli.findings import Finding
from proxyd.cli.folders import with_places
from proxyd.cli.showing import console, plain, print_json
from proxyd.errors import ProxydError
from proxyd.places import Places

EXIT_ILL = 1

EPILOG = """\b
Looks at the configuration, the records' folder and key, free space, certificates, the clock, the ports, the running
daemon, every account's health, and what was given up or is unknown. Changes nothing.
Exit status: 0 nothing is wrong, 1 something is.

\b
Examples:
  proxyd doctor
  proxyd doctor --json
"""


@click.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_places
@click.pass_context
def doctor(ctx: click.Context, places: Places, as_json: bool) -> None:
    """Look for everything that is wrong, and name its cure."""
    found = examined(places)
    if as_json:
        print_json({"findings": [asdict(each) for each in found]})
    else:
        _show(found)
    ctx.exit(EXIT_ILL if any(each.grave for each in found) else 0)


def examined(places: Places) -> list[Finding]:
    status = _status(places)
    running = not isinstance(status, NotRunning)  # be it that it does not answer
    settings, found = findings.configuration(places, running=running)
    if settings is not None:
        found += findings.no_account(settings, places)
        found += findings.passwords(settings, places)
        found += findings.certificate(settings, places, findings.now(), running=running)
    found += [*findings.folder(places), *findings.space(places), *findings.clock()]
    if isinstance(status, ProxydError):
        found.append(_of_the_daemon(status))
    else:
        found += findings.daemon(status, settings)
    if not running:
        found += findings.key(places)  # a running daemon has it, perhaps from systemd, which gives it to nobody else
        if settings is not None:
            found += findings.ports(settings.daemon.listen)
    if findings.store_there(places.data):
        try:
            with records(places) as opened:
                found += findings.records(opened.troubles())
        except ProxydError as error:
            found.append(Finding("records", "records", f"The records cannot be opened: {error}."))
    return found


def _of_the_daemon(error: ProxydError) -> Finding:
    said = str(error)
    starts = isinstance(error, NotRunning) and not isinstance(error, NotOurs | Waiting)
    words = said.partition(";")[0] if starts else said
    return Finding("daemon", "daemon", f"{words[:1].upper()}{words[1:]}.", "proxyd run" if starts else "")


def _status(places: Places) -> dict[str, Any] | ProxydError:
    try:
        with daemon_link(places) as link:
            return link.status()
    except ProxydError as error:
        return error


def _show(found: list[Finding]) -> None:
    out = console()
    for each in found:
        colour = "bold red" if each.grave else "yellow"
        out.print(f"[{colour}]{plain(each.about)}[/]: {plain(each.what)}", soft_wrap=True)
        if each.cure:
            out.print(f"    {plain(each.cure)}", soft_wrap=True)
    if not any(each.grave for each in found):
        out.print("Nothing is wrong.")
