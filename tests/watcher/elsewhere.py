"""The mailbox of the one whose mail is watched, at a server that is not Dovecot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.mailprovider import PASSWORD, PERSON


@dataclass
class Elsewhere:
    """`watched` takes it for a provider. What its sessions say is in no log of the server's."""

    server: Courier | Cyrus
    folder: Path  # for the password
    sent: str = "Sent"
    log: str = "CRM/Log"
    dovecot: Any = field(init=False)

    def __post_init__(self) -> None:
        self.dovecot = self
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD + "\n")

    def sessions(self, user: str) -> list[Any]:
        return []

    def account_yaml(self, more: str = "") -> str:
        return (
            f"address: {PERSON}\nprovider:\n"
            f"  imap: {{host: localhost, port: {self.server.imaps_port}, tls: implicit}}\n"
            f"  smtp: {{host: localhost, port: {self.server.imaps_port}, tls: implicit}}\n"
            f"  ca: {self.server.ca.ca}\nsign_in:\n  password: {{file: {self.folder / 'password'}}}\n" + more
        )
