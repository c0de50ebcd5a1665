"""The templates and static files, and what every template is given."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from proxyd.web.page import story, words

FOLDER = "proxyd.web.page"


def templates() -> Environment:
    """What strangers wrote is escaped without anybody asking for it; a name that does not exist is a fault."""
    made = Environment(
        loader=PackageLoader(FOLDER, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(words=words, story=story, when=_when)
    made.filters["size"] = words.size
    made.filters["in_path"] = functools.partial(quote, safe="@")
    return made


def _when(iso: str) -> words.When:
    return words.when(iso, datetime.now(UTC))


class Static:
    """The files beside the templates, held in memory. `version` changes where any of them does."""

    def __init__(self) -> None:
        folder = resources.files(FOLDER) / "static"
        self._files: Mapping[str, tuple[str, bytes]] = {
            each.name: (_type(each.name), each.read_bytes()) for each in folder.iterdir()
        }
        octets: Any = b"".join(octets for _, (_, octets) in sorted(self._files.items()))
        self.version = hashlib.sha256(octets).hexdigest()[:12]

    def get(self, name: str) -> tuple[str, bytes] | None:
        """A file's media type and octets."""
        return self._files.get(name)


def _type(name: str) -> str:
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
