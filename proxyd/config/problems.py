"""What is wrong in the configuration: one `Problem` per fault, each at its place in a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proxyd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1, the column in characters."""

    line: int
    column: int


START = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `message` is one printable line that holds no secret; `str()` is what editors can jump to."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        file = str(self.file).encode("utf-8", "backslashreplace").decode()  # a name need not be UTF-8
        return f"{file}:{self.line}:{self.column}: {self.message}"


class ConfigErrors(ConfigError):
    """Everything that is wrong in all files of a configuration, sorted by file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(
            sorted(problems, key=lambda p: (str(p.file), p.line, p.column, p.message))
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotAccepted(ValueError):
    """A value that a setting does not take.

    `accepted` says what it does take; `problem` says what is wrong with this one, "" where the value itself shows it.
    """

    def __init__(self, accepted: str, problem: str = "") -> None:
        super().__init__(problem or accepted)
        self.accepted = accepted
        self.problem = problem


def shown(text: str, limit: int = 60) -> str:
    """Text of a file as it may stand in a message: in quotes, one printable line, at most `limit` characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'
