"""The keyring of these tests is never the machine's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from tests.config.keyrings import Keeping


@pytest.fixture(autouse=True)
def use_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[KeyringBackend], None]]:
    """Sets the keyring of a test; without a call there is none."""
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    keyring.set_keyring(NoKeyring())
    yield keyring.set_keyring
    keyring.set_keyring(NoKeyring())


@pytest.fixture
def kept(use_keyring: Callable[[KeyringBackend], None]) -> Keeping:
    backend = Keeping()
    use_keyring(backend)
    return backend
