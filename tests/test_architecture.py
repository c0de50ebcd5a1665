"""The house stands as its picture says: a machine checks the layers, and the two pictures are one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import proxyd

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "proxyd").rglob("*.py"))


def settings() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return found


def names(line: str) -> list[str]:
    return [name.strip() for name in line.split("|")]


def test_imports_keep_the_contracts() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_picture_for_people_is_the_picture_for_the_machine() -> None:
    assert proxyd.__doc__ is not None
    drawn = [names(re.split(r" {3,}", line.strip())[0]) for line in proxyd.__doc__.splitlines() if line[:4] == "    "]
    (layers,) = (contract["layers"] for contract in settings()["contracts"] if contract["type"] == "layers")
    assert drawn == [names(layer) for layer in layers]


def test_the_layers_are_exhaustive_and_purity_is_checked() -> None:
    contracts = settings()["contracts"]
    assert [contract.get("exhaustive") for contract in contracts if contract["type"] == "layers"] == [True]
    (pure,) = (c for c in contracts if "proxyd.rules" in c.get("source_modules", ()))
    assert {"proxyd.rules", "proxyd.formats", "proxyd.model", "proxyd.reported", "proxyd.errors"} <= set(
        pure["source_modules"]
    )
    assert {"twisted", "asyncio", "socket", "time", "os", "random", "logging"} <= set(pure["forbidden_modules"])


@pytest.mark.parametrize("library", ["imapclient", "yaml"])
def test_a_library_that_one_place_knows(library: str) -> None:
    """The contracts name who must not import it; everybody who is not named is meant to be the one place."""
    (contract,) = (c for c in settings()["contracts"] if c.get("forbidden_modules") == [library])
    named = {name.removeprefix("proxyd.") for name in contract["source_modules"]}
    layers = next(c["layers"] for c in settings()["contracts"] if c["type"] == "layers")
    pure = {"rules", "formats", "model", "reported", "errors"}
    free = {name for layer in layers for name in names(layer)} - named - pure
    assert free == {"imapclient": {"provider"}, "yaml": {"config"}}[library]


def test_within_the_provider_imap_alone_knows_imapclient() -> None:
    knowing = {path.relative_to(ROOT).as_posix() for path in MODULES if "imapclient" in imports(path)}
    assert all(re.fullmatch(r"proxyd/provider/(imap|parking)\w*\.py", path) for path in knowing), knowing


def imports(path: Path) -> set[str]:
    """By the lines' look: CPython 3.11's parser may fail where greenlets switch, as they do under pytest-twisted."""
    return set(re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_its_role(path: Path) -> None:
    opening = re.match(r'r?"""(.+?)"""', path.read_text(), re.DOTALL)
    assert opening, "a module opens with its role"
    assert len(opening[1].split()) >= 3
