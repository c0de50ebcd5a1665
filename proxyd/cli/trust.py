"""`proxyd trust install | remove | show`: whether this machine's programs trust the certificate of proxyd."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from proxyd.cli.folders import with_places
from proxyd.cli.several import Several
from proxyd.cli.showing import console, plain, print_json, table
from proxyd.cli.trust_stores import Authority, NotDone, Store, authority, stores
from proxyd.config import load
from proxyd.errors import ProxydError
from proxyd.places import Places
from proxyd.web import certificate_lines as lines

EXIT_LEFT_TO_DO = 1

EPILOG = """\b
Which store a program looks into: Thunderbird and Chromium into an NSS database in the home folder,
most others into the system's.

\b
Examples:
  proxyd trust show
  proxyd trust install
  proxyd trust install --only nss
  proxyd trust remove
"""

only_option = click.option("--only", type=click.Choice(["system", "nss"]), help="Only the stores of this kind.")
root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="Another system's root folder, for its system store.",
)


@click.group(cls=Several, epilog=EPILOG)
def trust() -> None:
    """Whether this machine trusts the certificate of proxyd: install, remove, show."""


@trust.command(
    epilog="""\b
Exit status: 0 it is trusted everywhere, 1 something is left to be done by hand, and is printed.

\b
Examples:
  proxyd trust install
  proxyd trust install --only nss
"""
)
@only_option
@root_option
@with_places
@click.pass_context
def install(ctx: click.Context, places: Places, only: str | None, root: Path) -> None:
    """Let this machine's programs trust the certificate, in every store that is found."""
    if load(places.config).daemon.certificate != "auto":
        raise ProxydError("proxyd.yaml names a certificate of your own; who signed that one is to be trusted, not we")
    ours = _authority(places)
    complete = True
    for store in _found(only, root):
        try:
            there = store.trusts(ours)
            if not there:
                store.trust(ours)
            _tell(store, "trusted already" if there else "trusted now")
        except NotDone as left:
            complete = False
            _tell_left(store, left)
    _tell_elsewhere(lines.windows_install(str(ours.file)), lines.macos_install(str(ours.file)))
    ctx.exit(0 if complete else EXIT_LEFT_TO_DO)


@trust.command(
    epilog="""\b
Certificates that you imported by hand stay.
Exit status: 0 nothing of proxyd is left, 1 something is left to be done by hand, and is printed.

\b
Example:
  proxyd trust remove
"""
)
@only_option
@root_option
@with_places
@click.pass_context
def remove(ctx: click.Context, places: Places, only: str | None, root: Path) -> None:
    """Undo what `install` did, for earlier certificates of proxyd too."""
    try:
        ours = authority(_file(places))
    except (OSError, ValueError):
        ours = None  # what was installed is found by its name
    complete = True
    for store in _found(only, root):
        try:
            count = store.forget(ours)
            _tell(store, f"{count} removed" if count else "nothing of proxyd there")
        except NotDone as left:
            complete = False
            _tell_left(store, left)
    if ours is not None:
        _tell_elsewhere(lines.windows_remove(ours.sha1), lines.macos_remove(ours.sha1))
    ctx.exit(0 if complete else EXIT_LEFT_TO_DO)


@trust.command(epilog="\b\nExamples:\n  proxyd trust show\n  proxyd trust show --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@root_option
@with_places
def show(places: Places, as_json: bool, root: Path) -> None:
    """Show where the certificate is, its fingerprint, when it ends, and who trusts it already."""
    document = _document(_authority(places), _found(None, root))
    if as_json:
        print_json(document)
        return
    out = console()
    out.print(f"Certificate  {plain(document['file'])}", soft_wrap=True)
    out.print(f"SHA-256      {document['sha256']}", soft_wrap=True)
    left = (datetime.fromisoformat(document["ends"]) - datetime.now(UTC)).days
    out.print(f"Ends         {document['ends'][:10]}, in {left} days; proxyd makes a new one 30 days before\n")
    shown = table("Store", "Trusted", "Where")
    for store in document["stores"]:
        word = {True: "[green]yes[/]", False: "no", None: f"unknown: {plain(store['why'] or '')}"}[store["trusted"]]
        shown.add_row(plain(store["name"]), word, plain(store["place"]))
    out.print(shown)
    _tell_elsewhere(*(document["by_hand"][system]["install"] for system in ("windows", "macos")))


def _file(places: Places) -> Path:
    return places.data / "ca.pem"


def _authority(places: Places) -> Authority:
    """It is never made here: asked as another user (sudo), that would be one which no listener uses."""
    try:
        return authority(_file(places))
    except PermissionError:
        raise ProxydError(
            f"{_file(places)} may not be read; type the command as the daemon's user, or as root"
        ) from None
    except (OSError, ValueError):
        raise ProxydError(
            f"there is no certificate in {places.data}; it is made by proxyd run and by proxyd client-settings. "
            "Another user's data folder is named by --data"
        ) from None


def _found(only: str | None, root: Path) -> list[Store]:
    return stores(Path.home(), root, only)


def _document(ours: Authority, found: list[Store]) -> dict[str, Any]:
    file = str(ours.file)
    return {
        "file": file,
        "sha256": _with_colons(ours.sha256),
        "sha1": _with_colons(ours.sha1),
        "ends": ours.ends.isoformat().replace("+00:00", "Z"),
        "stores": [_store_document(store, ours) for store in found],
        "by_hand": {
            "windows": {"install": lines.windows_install(file), "remove": lines.windows_remove(ours.sha1)},
            "macos": {"install": lines.macos_install(file), "remove": lines.macos_remove(ours.sha1)},
        },
    }


def _store_document(store: Store, ours: Authority) -> dict[str, Any]:
    trusted, why = None, None
    try:
        trusted = store.trusts(ours)
    except NotDone as error:
        why = f"{error}; {error.by_hand}" if error.by_hand else str(error)
    return {"kind": store.kind, "name": store.name, "place": str(store.place), "trusted": trusted, "why": why}


def _with_colons(fingerprint: str) -> str:
    return bytes.fromhex(fingerprint).hex(":").upper()


def _tell(store: Store, what: str) -> None:
    click.echo(f"{store.name}: {what} ({store.place})")


def _tell_left(store: Store, left: NotDone) -> None:
    click.echo(f"{store.name}: {left}{':' if left.by_hand else ''} ({store.place})", err=True)
    if left.by_hand:
        click.echo(f"    {left.by_hand}", err=True)


def _tell_elsewhere(windows: str, macos: str) -> None:
    click.echo(f"\nOn Windows, in a command prompt:\n    {windows}\nOn macOS, in Terminal:\n    {macos}")
