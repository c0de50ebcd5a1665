"""`--config DIR` and `--data DIR`, before the command's name or behind it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def folder_options(command: F) -> F:
    config = click.option(
        "--config",
        metavar="DIR",
        type=click.Path(),
        help="Folder of the configuration.  [default: $PROXYD_CONFIG, ~/.config/proxyd]",
    )
    data = click.option(
        "--data",
        metavar="DIR",
        type=click.Path(),
        help="Folder of the records and of the control socket.  [default: $PROXYD_DATA, ~/.local/share/proxyd]",
    )
    return config(data(command))


def remember_folders(ctx: click.Context, config: str | None, data: str | None) -> None:
    """What is named behind the command wins over what is named before it."""
    before: dict[str, str] = ctx.find_root().meta.setdefault("proxyd.folders", {})
    before.update({name: value for name, value in (("config", config), ("data", data)) if value})


def with_places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command both options and hand it a config.Places as `places`. Goes below the other options."""

    @folder_options
    @click.pass_context
    @functools.wraps(command)
    def run(ctx: click.Context, /, config: str | None, data: str | None, **rest: Any) -> Any:
        from proxyd.places import find_places  # late: the group's own help needs none of it

        remember_folders(ctx, config, data)
        named = ctx.find_root().meta["proxyd.folders"]
        paths = [Path(named[name]) if name in named else None for name in ("config", "data")]
        return command(places=find_places(*paths), **rest)

    return run
