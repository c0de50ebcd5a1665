"""What `proxyd connect` asks: of the person at the terminal, or of the options that stand for each answer.

Without a terminal nothing is asked: a question without an option's answer is an error that names the option.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from proxyd.config import Command, Credential, Env, KeyringEntry, SecretFile, Server, Source, is_loopback
from proxyd.config.fields import endpoint
from proxyd.config.problems import NotAccepted
from proxyd.errors import ProxydError


class Unanswered(ProxydError):
    """There is no terminal to ask at, and no option that answers."""


@dataclass(frozen=True, slots=True)
class Questions:
    """`yes`: every question that takes yes or no is answered with yes."""

    terminal: bool
    yes: bool = False

    def confirm(self, question: str, option: str, *, default: bool | None = True) -> bool:
        """`default` None: it must be answered."""
        if self.yes:
            return True
        self._need_terminal(question, option)
        return click.confirm(question, default=default, err=True)

    def secret(self, what: str, option: str) -> str:
        """Typed unseen; asked again while it is empty."""
        self._need_terminal(f"{what} is needed", option)
        answer: str = click.prompt(what, hide_input=True, err=True)
        return answer

    def line(self, question: str, option: str) -> str:
        self._need_terminal(question, option)
        answer: str = click.prompt(question, err=True)
        return answer.strip()

    def maybe(self, question: str) -> str:
        """What is typed, "" for Enter. Nothing hangs on it: where nobody is to be asked, it is "" too."""
        if self.yes or not self.terminal:
            return ""
        answer: str = click.prompt(question, default="", show_default=False, prompt_suffix=" ", err=True)
        return answer

    def _need_terminal(self, question: str, option: str) -> None:
        if not self.terminal:
            raise Unanswered(f"{question.rstrip('?')}: there is no terminal to ask at; answer by {option}")


def questions(*, yes: bool) -> Questions:
    return Questions(sys.stdin.isatty(), yes)


Callback = Callable[[click.Context, click.Parameter, Any], Any]

SERVER = "HOST[:PORT][+starttls]"
SOURCE = "keyring|env:NAME|file:PATH|credential:NAME|command:WORDS"


def server_option(implicit: int, starttls: int) -> Callback:
    """`HOST`, `HOST:PORT`, with `+starttls` or `+none` behind it where TLS does not come first. The ports are those
    that are meant where none is named; naming the second one means STARTTLS."""
    ports = {"implicit": implicit, "starttls": starttls, "none": starttls}

    def read(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Server | None:
        if value is None:
            return None
        text, _, tls = value.partition("+")
        bare = re.fullmatch(r"[^:\[\]]+|\[[0-9a-fA-F:.]+\]", text) is not None
        tls = tls or ("starttls" if text.endswith(f":{starttls}") and starttls != implicit else "implicit")
        if tls not in ports:
            raise click.BadParameter(
                f"{tls} is no kind of TLS; accepted: starttls, or nothing: TLS from the first byte"
            )
        try:
            place = endpoint(f"{text}:{ports[tls]}" if bare else text)
        except NotAccepted as error:
            raise click.BadParameter(f"{value!r} is no server ({error}); accepted: {SERVER}") from None
        if tls == "none" and not is_loopback(place.host):
            raise click.BadParameter("without TLS the password would cross the network in the clear")
        return Server.model_validate({"host": place.host, "port": place.port, "tls": tls})

    return read


def source_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Source | None:
    """Where a secret lies: `keyring`, `env:NAME`, `file:PATH`, `credential:NAME`, `command:PROGRAM ARGUMENT …`."""
    if value is None:
        return None
    kind, _, rest = value.partition(":")
    if value == "keyring":
        return KeyringEntry("")
    if rest and kind == "env":
        return Env(env=rest)
    if rest and kind == "file":
        return SecretFile(file=Path(rest).expanduser().absolute())
    if rest and kind == "credential":
        return Credential(credential=rest)
    if rest.split() and kind == "command":
        return Command(command=tuple(rest.split()))
    raise click.BadParameter(f"accepted: {SOURCE}")
