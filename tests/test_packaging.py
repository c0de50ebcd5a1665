"""What is made from the commands: help with examples, and manual pages that man itself can read."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from proxyd.cli import COMMANDS, proxyd

ROOT = Path(__file__).parents[1]


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from leaves(below, (*words, name))


EVERY = list(leaves(proxyd))
BY_WORDS = dict(EVERY)


@pytest.mark.parametrize(("words", "command"), EVERY, ids=[" ".join(words) or "proxyd" for words, _ in EVERY])
def test_every_command_tells_what_it_does_with_an_example(words: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    around = BY_WORDS[words[:-1]] if len(words) > 1 else command
    examples = f"{command.epilog}\n{around.epilog}"
    assert " ".join(("proxyd", *words)) in examples, "an example, of its own or of the group's"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("man", ROOT / "packaging/man.py")
    assert spec is not None
    assert spec.loader is not None
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    found: dict[str, str] = made.pages(proxyd, "proxyd")
    return found


def test_every_command_has_its_page(pages: dict[str, str]) -> None:
    assert set(pages) == {f"{'-'.join(('proxyd', *words))}.1" for words, _ in EVERY}
    for name in COMMANDS:
        assert f"\\fB{name}\\fP" in pages["proxyd.1"]
    assert ".SH NOTES" in pages["proxyd-status.1"]
    assert "proxyd status \\-\\-json" in pages["proxyd-status.1"]


def test_man_reads_them(pages: dict[str, str], tmp_path: Path) -> None:
    groff = subprocess.run(["which", "groff"], capture_output=True, check=False).returncode == 0
    if not groff:
        pytest.skip("no groff here")
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
        read = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert read.returncode == 0, name
        assert "proxyd" in read.stdout, name
