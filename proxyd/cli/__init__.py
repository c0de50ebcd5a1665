"""The commands a person types.

Why the table: `proxyd --help` names every command without importing one, so it answers at once; each command's module
imports what it needs, at its top, when it is the one that was typed.
"""

from __future__ import annotations

import codecs
import importlib
import io
import os
import sys
from typing import Any

import click

from proxyd import __version__
from proxyd.cli.folders import folder_options, remember_folders
from proxyd.errors import ConfigError, ProxydError

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_FAULT = 70  # EX_SOFTWARE
EXIT_USAGE = 2  # as click has it

IN_ASCII = {"→": "->", "←": "<-", "…": "...", "✓": "*", "✗": "x", "·": "-", "–": "-"}

COMMANDS = {
    "demo": "Show all of it on this machine: a provider, a sent message, the reply, the record.",
    "connect": "Connect the mailbox ADDRESS: find its servers, sign in, write its file.",
    "reconnect": "Sign the account ADDRESS in anew: after a new password, or a grant that was taken back.",
    "disconnect": "Serve the account ADDRESS no more, and remove its passwords; what was logged is kept.",
    "run": "Run the daemon in the foreground.",
    "check": "Read the configuration and print everything that is wrong in it.",
    "reload": "Let the daemon read its configuration anew.",
    "status": "Tell how the daemon and every account are.",
    "trace": "Show what crosses the wire to ACCOUNT's provider for TIME.",
    "doctor": "Look for everything that is wrong, and name its cure.",
    "test": "See that an account works: log in as a mail client does, and send a real mail.",
    "contact": "The people whose conversations are logged: add, list, import, merge, split.",
    "company": "The companies that contacts belong to: list, set.",
    "timeline": "Show what is logged.",
    "send": "Send a message from the CRM, through an account's own provider.",
    "search": "Find what is logged by its words.",
    "backfill": "Log earlier mail with known contacts.",
    "suggestions": "Mail that may belong to a conversation: list, accept, refuse.",
    "crm": "What a CRM refused or has not taken yet: list it, try it again, skip it.",
    "settle": "Say whether a mail was sent whose outcome is unknown.",
    "copies": "Copies that were given up, in Sent or to the CRM's address: list them, try them again, skip them.",
    "spool": "Mail that waits here for the provider: list it, try it again, show it, drop it.",
    "export": "Hand over everything that is logged with a contact.",
    "forget": "Erase a contact and every logged message with them.",
    "explain": "Tell why a message was or was not logged, and what became of it.",
    "web": "Print the link that opens the page, signed in; on a terminal, open it.",
    "token": "The HTTP API's tokens: make, list, revoke.",
    "rekey": "Give the store another key.",
    "client-settings": "Print what a mail client is to be set to.",
    "trust": "Whether this machine trusts the certificate of proxyd: install, remove, show.",
}

EXAMPLES = """\b
Examples:
  proxyd demo
  proxyd connect ada@example.com
  proxyd contact add grace@customer.example --name "Grace Hopper"
  proxyd status
  proxyd timeline grace@customer.example
"""


class Commands(click.Group):
    """Every command by its name in `COMMANDS`; what a command raises becomes one sentence and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        try:
            module = importlib.import_module(f"proxyd.cli.{name}")
        except ModuleNotFoundError as error:
            if name != "demo":
                raise
            raise click.ClickException(f"the demo needs {error.name}: pip install 'proxyd[demo]'") from None
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else " See 'proxyd --help'."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except BrokenPipeError:
            # Whoever read our output has seen enough (`proxyd timeline | head`).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's last flush
            ctx.exit(0)
        except ProxydError as error:
            click.echo(f"proxyd: {error}", err=True)
            ctx.exit(EXIT_CONFIG if isinstance(error, ConfigError) else 1)
        except UnicodeEncodeError as error:
            click.echo(f"proxyd: {error.object!r} is not text in UTF-8", err=True)
            ctx.exit(EXIT_USAGE)
        except OSError as error:
            if os.environ.get("PROXYD_TRACEBACK") or not error.strerror:
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"proxyd: {where}{error.strerror}", err=True)
            ctx.exit(1)
        except Exception as error:
            if os.environ.get("PROXYD_TRACEBACK"):
                raise
            kind = type(error).__name__
            click.echo(f"proxyd: a fault of proxyd itself ({kind}: {error})", err=True)
            click.echo("Please report it with what PROXYD_TRACEBACK=1 shows for the same command.", err=True)
            ctx.exit(EXIT_FAULT)


@click.command(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="proxyd")
@folder_options
@click.pass_context
def proxyd(ctx: click.Context, config: str | None, data: str | None) -> None:
    """Relays a person's mail to their provider and writes the conversations that matter into the CRM."""
    remember_folders(ctx, config, data)


def main() -> None:
    codecs.register_error("proxyd", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="proxyd")
    proxyd([_as_utf8(word) for word in sys.argv[1:]], prog_name="proxyd")


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a terminal cannot show must not end a command: the nearest that it can, else a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(each, "?") for each in lost), error.end


def _as_utf8(word: str) -> str:
    """What was typed in a terminal that says UTF-8 and a program that was told `LC_ALL=C` reads as octets."""
    try:
        return os.fsencode(word).decode() if not word.isascii() else word
    except UnicodeError:
        return word
