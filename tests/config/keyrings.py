"""Keyrings for tests, as the library takes them: one that keeps, one that is locked, one that never answers."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class Keeping(KeyringBackend):
    """Keeps its entries in the file named by $TEST_KEYRING, so that processes can share it."""

    priority = -1  # type: ignore[assignment]  # taken where a test sets it, never found by the library as the best there is

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        with self._path().with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self._entries() | {f"{service}/{username}": password}
            fresh = self._path().with_suffix(".new")
            fresh.write_text(json.dumps(entries))
            fresh.replace(self._path())

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError

    def _entries(self) -> dict[str, str]:
        return dict(json.loads(self._path().read_text())) if self._path().exists() else {}

    @staticmethod
    def _path() -> Path:
        return Path(os.environ["TEST_KEYRING"])


class Locked(Keeping):
    """Refuses, with the secret in its words, as a careless backend might."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("hunter2")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked(password)


class Forgetful(Keeping):
    """Takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Silent(Keeping):
    """Waits for a person who never comes."""

    def get_password(self, service: str, username: str) -> str | None:
        threading.Event().wait(60)
        return None
