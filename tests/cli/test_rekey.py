"""`proxyd rekey`, typed."""

from __future__ import annotations

from pathlib import Path

from proxyd.config import store_key
from tests.cli.typed import typed


def test_the_key_is_another_and_the_records_are_there(tmp_path: Path) -> None:
    assert typed("contact", "add", "grace@customer.example", folder=tmp_path).code == 0
    before = store_key(tmp_path / "data")
    done = typed("rekey", folder=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "another key" in done.err
    assert store_key(tmp_path / "data") != before
    assert "grace@customer.example" in typed("contact", "list", folder=tmp_path).out
