"""JSON Schemas of both files, made from the settings, for editors.

`python -m proxyd.config.schema FOLDER` writes them; a test holds the shipped ones against the settings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from proxyd.config import preset
from proxyd.config.crm import Crm
from proxyd.config.fields import Endpoint, duration_text
from proxyd.config.settings import AccountFile, Daemon
from proxyd.config.sources import Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsWritten(GenerateJsonSchema):
    """Shows a default as a person would write it in the file; a section's defaults stand at its own keys."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, Section):
            return None
        if isinstance(dft, Endpoint):
            return str(dft)
        if isinstance(dft, float):
            return duration_text(dft)
        if isinstance(dft, Crm):
            return dft.kind
        if isinstance(dft, Mapping):
            return dict(dft)
        return [self.encode_default(each) for each in dft] if isinstance(dft, tuple) else dft

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", "") is None:
            made.pop("default")
            if made.get("pattern", "").endswith("|none)$"):
                made["default"] = "none"
        return made


def daemon_schema() -> dict[str, Any]:
    """Of proxyd.yaml. The whole file may be comments."""
    return _schema(Daemon, "proxyd.yaml")


def account_schema() -> dict[str, Any]:
    """Of a file in accounts.d."""
    schema = _schema(AccountFile, "accounts.d/*.yaml")
    schema["properties"]["provider"]["oneOf"][0]["enum"] = list(preset.names())
    return schema


SCHEMAS = {"proxyd.schema.json": daemon_schema, "account.schema.json": account_schema}


def _schema(model: type[Section], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_AsWritten)
    without_titles = _untitled(schema)
    assert isinstance(without_titles, dict)
    return {"$schema": DIALECT, "title": title, **without_titles}


def _untitled(node: Any) -> Any:
    """Without pydantic's titles, which repeat the keys, and without null where a key may only be left out."""
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    if not isinstance(node, dict):
        return node
    left = {key: _untitled(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    kinds = left.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        kinds = [kind for kind in kinds if kind != {"type": "null"}]
        left["anyOf"] = kinds
        if len(kinds) == 1:
            left.pop("anyOf")
            left = {**kinds[0], **left}
    return left


def text(schema: dict[str, Any]) -> str:
    """As it is shipped."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write both schemas into `folder`. Raises OSError."""
    for name, schema in SCHEMAS.items():
        (folder / name).write_text(text(schema()), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
