"""What holds for every command: help, folders, exit statuses, and that no fault shows its inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from proxyd import cli
from proxyd.errors import ConfigError, TryLater
from tests.cli.typed import typed


def run(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner(env=env).invoke(cli.proxyd, list(words), prog_name="proxyd")
    return result.exit_code, result.stdout, result.stderr


def commands() -> list[tuple[str, ...]]:
    below = {
        "contact": ("add", "list", "import", "merge", "split"),
        "company": ("list", "set"),
        "trust": ("install", "remove", "show"),
    }
    parts = [(name, part) for name, known in below.items() for part in known]
    return [*((name,) for name in cli.COMMANDS), *parts]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself_with_examples_and_takes_both_folders(words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Example" in out
    assert f"  proxyd {' '.join(words)}" in out
    if words not in [("contact",), ("company",), ("trust",), ("token",), ("demo",)]:
        assert "--config DIR" in out
        assert "--data DIR" in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_says(name: str) -> None:
    command = cli.proxyd.get_command(click.Context(cli.proxyd), name)
    assert command is not None
    said, listed = command.get_short_help_str(200), cli.COMMANDS[name]
    assert said.startswith(listed.rstrip(".").partition(":")[0])


@pytest.mark.parametrize("name", ["company", "contact", "crm", "suggestions", "token", "trust"])
def test_the_help_of_several_commands_cuts_no_sentence(name: str) -> None:
    _, out, _ = run(name, "--help", env={"COLUMNS": "60"})
    assert "..." not in out.partition("Commands:")[2]


def test_the_first_help_imports_nothing_that_takes_time() -> None:
    code = "import sys, proxyd.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rich", "pydantic", "sqlalchemy", "twisted", "httpx", "pymap"} & set(loaded)


@pytest.mark.parametrize("name", ["status", "timeline", "contact", "search", "explain", "crm", "reload", "run"])
def test_what_the_daemon_is_asked_needs_none_of_what_the_daemon_is_made_of(name: str) -> None:
    code = f"import sys, proxyd.cli.{name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"proxyd.config", "pydantic", "yaml", "sqlalchemy", "twisted", "keyring"} & set(loaded)


def test_a_word_that_is_no_command_gets_the_nearest() -> None:
    code, _, err = run("tmeline")
    assert code == 2
    assert "Did you mean 'timeline'?" in err


def test_folders_are_taken_before_the_command_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert run("--config", str(tmp_path / "a"), "--data", str(tmp_path), "check")[0] == 0
    assert run("--config", str(tmp_path / "none"), "check", "--config", str(tmp_path / "a"))[0] == 0
    code, _, err = run("--config", str(tmp_path / "none"), "check")
    assert (code, err.startswith("proxyd: ")) == (78, True)


def test_folders_are_taken_from_the_environment(tmp_path: Path) -> None:
    code, out, _ = run("check", env={"PROXYD_CONFIG": str(tmp_path), "PROXYD_DATA": str(tmp_path)})
    assert (code, str(tmp_path) in out) == (0, True)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("the key is missing; bring it back"), 78, "proxyd: the key is missing; bring it back"),
        (TryLater("the disk is full"), 1, "proxyd: the disk is full"),
        (UnicodeEncodeError("utf-8", "J\udcf6rg", 1, 2, ""), 2, r"'J\udcf6rg' is not text in UTF-8"),
        (FileNotFoundError(2, "No such file", "/x"), 1, "proxyd: /x: No such file"),
        (KeyError("x"), 70, "a fault of proxyd itself (KeyError: 'x')"),
    ],
    ids=["config", "later", "no text", "a place", "our fault"],
)
def test_what_a_command_raises_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: int, words: str
) -> None:
    import proxyd.cli.check

    def fail(_: Path) -> None:
        raise error

    monkeypatch.setattr(proxyd.cli.check, "load", fail)
    monkeypatch.delenv("PROXYD_TRACEBACK", raising=False)
    seen = typed("check", folder=tmp_path)
    assert seen.code == code
    assert words in seen.err
    assert "Traceback" not in seen.err + seen.out


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    """As in `proxyd timeline | head`."""
    typed("contact", "list", folder=tmp_path)
    folders = ["--config", str(tmp_path / "config"), "--data", str(tmp_path / "data")]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        command = [sys.executable, "-m", "proxyd", "contact", "list", "--json", *folders]
        ended = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def in_a_process(
    folder: Path, *words: str, output: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """What `typed` cannot show: the encodings and the output of a real process."""
    folders = ["--config", str(folder / "config"), "--data", str(folder / "data")]
    command = [sys.executable, "-m", "proxyd", *words, *folders]
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "PYTHONIOENCODING")}
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env=plain | environment, check=False)


def test_a_terminal_that_knows_ascii_alone_ends_no_command(tmp_path: Path) -> None:
    typed("contact", "add", "grace@customer.example", folder=tmp_path)
    in_c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    added = in_a_process(tmp_path, "contact", "add", "jörg@customer.example", "--name", "Jörg → 日本", **in_c)
    assert (added.returncode, added.stderr) == (0, b"")
    assert typed("contact", "list", "--json", folder=tmp_path).json["contacts"][1]["name"] == "Jörg → 日本"
    listed = in_a_process(tmp_path, "contact", "list", **in_c)
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert b"J?rg -> ??" in listed.stdout


def test_where_no_more_can_be_written_it_is_the_place_that_is_told(tmp_path: Path) -> None:
    typed("contact", "list", folder=tmp_path)
    with Path("/dev/full").open("wb") as full:
        ended = in_a_process(tmp_path, "contact", "list", output=full)
    assert (ended.returncode, ended.stderr) == (1, b"proxyd: No space left on device\n")
    nowhere = tmp_path / "nowhere" / "grace.mbox"
    seen = typed("export", "grace@customer.example", "--format", "mbox", "--output", str(nowhere), folder=tmp_path)
    assert (seen.code, seen.err) == (1, f"proxyd: {nowhere}: No such file or directory\n")


def test_in_a_pipe_no_line_is_broken(tmp_path: Path) -> None:
    long = "a.very.long.name.of.somebody@a.very.long.name.of.a.customer.example"
    typed("contact", "add", long, "--name", "N" * 60, "--company", "C" * 60, folder=tmp_path)
    assert long.encode() in in_a_process(tmp_path, "contact", "list").stdout


@pytest.mark.parametrize("name", ["crm", "copies", "spool", "suggestions"])
def test_what_shows_a_list_takes_the_word_for_it(name: str, tmp_path: Path) -> None:
    alone, named = typed(name, "--json", folder=tmp_path), typed(name, "list", "--json", folder=tmp_path)
    assert (named.code, named.json) == (alone.code, alone.json)
    assert typed(name, "lost", folder=tmp_path).code == 2
