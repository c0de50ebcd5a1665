"""The manual pages, made from the commands themselves: `python packaging/man.py FOLDER`.

click-man gives each page its form. It finds no commands in a group that imports them when they are typed, and leaves
out what stands below the options (exit statuses, examples): both are added here.
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from pathlib import Path

import click
from click_man.man import ManPage

from proxyd import __version__
from proxyd.cli import COMMANDS, proxyd


def pages(command: click.Command, name: str, parent: click.Context | None = None) -> dict[str, str]:
    """File name → page, of a command and of every command below it."""
    context = click.Context(command, info_name=name, parent=parent)
    page = ManPage(context.command_path)
    page.version = __version__
    page.short_help = command.get_short_help_str(1000)
    page.description = cleandoc(command.help or "")
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    options = [each.get_help_record(context) for each in command.params if isinstance(each, click.Option)]
    page.options = [each for each in options if each is not None]
    found = {}
    if isinstance(command, click.Group):
        below = {each: command.get_command(context, each) for each in command.list_commands(context)}
        page.commands = [
            (each, COMMANDS.get(each) or made.get_short_help_str(1000)) for each, made in below.items() if made
        ]
        for each, made in below.items():
            if made is not None:
                found |= pages(made, each, context)
    return {f"{context.command_path.replace(' ', '-')}.1": str(page) + _notes(command.epilog)} | found


def _notes(epilog: str | None) -> str:
    """What stands below the options, line by line as it was written."""
    if not epilog:
        return ""
    lines = []
    for line in cleandoc(epilog.replace("\b", "")).splitlines():
        escaped = line.replace("\\", "\\e").replace("-", "\\-")
        lines.append(f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped)
    return "\n".join([".SH NOTES", ".nf", *lines, ".fi", ""])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(proxyd, "proxyd").items():
        (folder / name).write_text(text, encoding="utf-8")
