"""`proxyd rekey`, typed."""

from __future__ import annotations

import os
from pathlib import Path

from proxyd.config import store_key
from proxyd.daemon.alone import hold
from tests.cli.typed import typed


def test_the_key_is_another_and_the_records_are_there(tmp_path: Path) -> None:
    assert typed("contact", "add", "grace@customer.example", folder=tmp_path).code == 0
    before = store_key(tmp_path / "data")
    done = typed("rekey", folder=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "another key" in done.err
    assert store_key(tmp_path / "data") != before
    assert "grace@customer.example" in typed("contact", "list", folder=tmp_path).out


def test_the_key_stays_while_a_daemon_has_the_records(tmp_path: Path) -> None:
    """One that cannot be asked yet, too: it has opened the store with the key that is."""
    assert typed("contact", "add", "grace@customer.example", folder=tmp_path).code == 0
    before = store_key(tmp_path / "data")
    held = hold(tmp_path / "data")
    try:
        done = typed("rekey", folder=tmp_path)
    finally:
        os.close(held)
    assert (done.code, "the daemon is running" in done.err) == (1, True)
    assert store_key(tmp_path / "data") == before
    assert typed("rekey", folder=tmp_path).code == 0
