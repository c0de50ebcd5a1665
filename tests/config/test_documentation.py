"""docs/configuration.md: every setting and every preset is in it, and every default is the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from proxyd.config import preset
from proxyd.config.schema import account_schema, daemon_schema

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
ROWS = {
    key: cells[1].strip(" `")
    for line in PAGE.splitlines()
    if line.startswith("| `") and len(cells := line.strip("|").split("|")) == 3
    for key in re.findall(r"`([a-z_.]+)`", cells[0])
}


def settings(schema: dict[str, Any]) -> dict[str, Any]:
    """Dotted key → default (None where there is none), one level of sections opened."""
    found = {}
    for key, field in schema["properties"].items():
        section = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2])
        if section is None:
            found[key] = field.get("default")
        else:
            found |= {f"{key}.{inner}": f.get("default") for inner, f in section["properties"].items()}
    return found


@pytest.mark.parametrize("schema", [daemon_schema(), account_schema()], ids=["proxyd.yaml", "accounts.d"])
def test_every_setting_and_its_default(schema: dict[str, Any]) -> None:
    for key, default in settings(schema).items():
        assert key in ROWS, key
        if isinstance(default, str) and default:
            assert ROWS[key] == default, key
        elif isinstance(default, list):
            assert ROWS[key] == f"[{', '.join(default)}]", key


def test_every_preset() -> None:
    listed = re.search(r"^Presets: ((?:`[^`]+`\s*)+)\.", PAGE, re.MULTILINE)
    assert listed is not None
    assert re.findall(r"`([^`]+)`", listed[1]) == list(preset.presets())
