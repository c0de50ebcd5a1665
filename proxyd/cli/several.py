"""A command of several, such as `proxyd contact`: its help says what each does in a whole sentence."""

from __future__ import annotations

import click

WHOLE = 1000  # characters; click by itself cuts a sentence where the line ends


LIST = "list"


class Several(click.Group):
    """One that shows a list where it is given no command takes `list` for that too, as its neighbours do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.invoke_without_command and LIST not in self.commands and args[:1] == [LIST]:
            args = args[1:]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(WHOLE)) for name, command in sorted(self.commands.items())]
            )
