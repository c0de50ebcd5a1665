"""Every command that the documentation shows can be typed as it stands; those that only look are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from proxyd.cli import proxyd
from tests.cli.typed import typed
from tests.rigged import ACCOUNT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# These only look; whatever they find, they end without a fault. The others ask, listen, write elsewhere or wait.
COMMAND = r"^(?:\(umask 077; )?(?:sudo -u proxyd )?(proxyd [a-z].*)"
RUN = {
    "check",
    "status",
    "timeline",
    "explain",
    "search",
    "doctor",
    "reload",
    "crm",
    "contact list",
    "company list",
    "trust show",
}


def shown(text: str) -> Iterator[str]:
    """The lines of a page's code blocks that begin with our command, joined where they go on."""
    fenced = False
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield from re.findall(COMMAND, line.strip())


def words_of(line: str) -> list[str]:
    """Without a comment, a pipe, a redirection, or a second column that explains."""
    line = re.split(r"\s{2,}(?!-)|\s#|\s\||\s>", line)[0].rstrip(") ")
    return shlex.split(line)[1:]


COMMANDS = sorted({(page.name, *words_of(line)) for page in PAGES for line in shown(page.read_text())})


def test_the_pages_show_some() -> None:
    assert len(COMMANDS) > 10
    assert ("privacy.md", "explain", "MESSAGE-ID") in COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_it_can_be_typed(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = list(command[1:])
    for word in words:  # a file that a command wants to be there
        if re.fullmatch(r"[\w.-]+\.(csv|eml|vcf|txt|json)", word):
            Path(word).touch()
    leaf: click.Command = proxyd
    context = click.Context(proxyd, info_name="proxyd")
    path = []
    while isinstance(leaf, click.Group) and words and not words[0].startswith("-"):
        found = leaf.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        path.append(words.pop(0))
        leaf, context = found, click.Context(found, info_name=path[-1], parent=context)
    leaf.make_context(path[-1], words, parent=context.parent)  # raises UsageError for what it does not take
    if " ".join(path) in RUN:
        (tmp_path / "config/accounts.d").mkdir(parents=True)
        (tmp_path / "config/accounts.d/ada.yaml").write_text(ACCOUNT.replace("ada@example.test", "ada@example.com"))
        ended = typed(*command[1:], folder=tmp_path)
        assert ended.code in (0, 1, 69, 78), ended.err
        assert "fault of proxyd" not in ended.err
