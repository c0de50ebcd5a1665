"""What a person sees: tables that fit the terminal, colours where there is one, local time."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

UNBROKEN = 1000  # columns


def console(*, error: bool = False) -> Console:
    """rich leaves colours out where the output is no terminal or NO_COLOR is set; `:AB:` stays what it is.

    Where it is no terminal nothing is broken into lines either: whoever looks for an address there finds it whole.
    """
    made = Console(stderr=error, highlight=False, emoji=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = UNBROKEN
    return made


def table(*columns: str, **more: Any) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", **more)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_json(document: Any) -> None:
    """Exactly one JSON document on standard output."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()


def note(text: str) -> None:
    click.echo(text, err=True)


def local(timestamp: str | None) -> str:
    """A document's instant in this machine's time: `2026-11-23 10:02`, today only the time with its seconds."""
    if not timestamp:
        return "-"
    at = datetime.fromisoformat(timestamp).astimezone()
    today = datetime.now(at.tzinfo).date() == at.date()
    return at.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def plain(text: str) -> str:
    """A stranger's text on a terminal: printable, and no markup of ours."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in text))


def person(address: dict[str, str]) -> str:
    return address["name"] or address["address"]


def since(seconds: float) -> str:
    """A span as a person says it: `3 days`, `2 hours`, `5 minutes`, `40 seconds`."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count != 1 else ''}"
    return f"{seconds:.0f} seconds"
