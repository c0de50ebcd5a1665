"""A command of several, such as `proxyd contact`: its help says what each does in a whole sentence."""

from __future__ import annotations

import click

WHOLE = 1000  # characters; click by itself cuts a sentence where the line ends


class Several(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(WHOLE)) for name, command in sorted(self.commands.items())]
            )
