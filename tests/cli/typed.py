"""Commands as a person types them, in this process; beside or without a daemon."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from proxyd.cli import proxyd
from proxyd.config import make_key_file


@dataclass(frozen=True)
class Typed:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def typed(*words: str, folder: Path, width: int = 100, keys: str = "") -> Typed:
    """Run `proxyd WORDS --config folder/config --data folder/data`."""
    config, data = folder / "config", folder / "data"
    config.mkdir(exist_ok=True)
    if not data.exists():
        data.mkdir(mode=0o700)
        make_key_file(data)  # no test asks the keyring of whoever runs it
    arguments = [*words, "--config", str(config), "--data", str(data)]
    result = CliRunner(env={"COLUMNS": str(width), "NO_COLOR": "1"}).invoke(
        proxyd, arguments, input=keys, prog_name="proxyd"
    )
    return Typed(result.exit_code, result.stdout, result.stderr)


async def typed_beside(*words: str, folder: Path, width: int = 100, keys: str = "") -> Typed:
    """The same in a thread, while this loop serves the control socket in folder/data."""
    return await asyncio.to_thread(typed, *words, folder=folder, width=width, keys=keys)
