"""A service manager's ear: what a daemon tells systemd."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.servers.waiting import eventually


class Manager:
    """systemd's side of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def close(self) -> None:
        self._socket.close()

    def listen(self, seconds: float) -> list[str]:
        """The lines of the next message; none where there is none in time."""
        self._socket.settimeout(seconds)
        try:
            lines = self._socket.recv(65536).decode().splitlines()
        except (TimeoutError, BlockingIOError):
            return []
        self.heard += lines
        return lines

    def hears(self, start: str, within: float = 20) -> str:
        found: list[str] = []

        def look() -> str | None:
            found.extend(each for each in self.listen(0.2) if each.startswith(start))
            return found[0] if found else None

        return str(eventually(look, f"{start} of {self.heard}", within=within, every=0))
