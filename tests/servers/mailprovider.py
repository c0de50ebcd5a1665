"""A whole mail provider: Dovecot for IMAP, Postfix for submission, one CA, and people who have their mail there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix
from tests.servers.processes import Server
from tests.servers.tls import ThrowAwayCa

PERSON = "ada@example.test"
CUSTOMER = "grace@customer.test"
COLLEAGUE = "charles@example.test"
OTHER_CUSTOMER = "mary@customer.test"
DROPBOX = "4711@bcc.crm.test"
PASSWORD = "correct horse battery staple"


class Provider(Server):
    """`with Provider(folder) as provider:` is ready in about a fifth of a second."""

    def __init__(
        self,
        folder: Path,
        *,
        special_use: bool = True,
        sent_name: str | None = "Sent",
        files_sent: bool = False,
        hide: Sequence[str] = (),
        message_size_limit: int = 60_000_000,
        more_users: Mapping[str, str] | None = None,
        dovecot: Mapping[str, Any] | None = None,
        postfix: Mapping[str, Any] | None = None,
    ) -> None:
        """Everybody's password is PASSWORD; `dovecot` and `postfix` are further arguments of those two."""
        self.folder = folder
        everybody = (PERSON, CUSTOMER, COLLEAGUE, OTHER_CUSTOMER, DROPBOX)
        self.ca = ThrowAwayCa(folder / "ca")
        self.dovecot = Dovecot(
            folder / "dovecot",
            users=dict.fromkeys(everybody, PASSWORD) | dict(more_users or {}),
            ca=self.ca,
            special_use=special_use,
            sent_name=sent_name,
            hide=hide,
            **dict(dovecot or {}),
        )
        self.postfix = Postfix(
            folder / "postfix",
            self.dovecot,
            files_sent=files_sent,
            message_size_limit=message_size_limit,
            **dict(postfix or {}),
        )

    def start(self) -> None:
        self.folder.chmod(0o755)
        self.dovecot.start()
        try:
            self.postfix.start()
        except BaseException:
            self.dovecot.stop()
            raise

    def stop(self) -> None:
        self.postfix.stop()
        self.dovecot.stop()

    def password_file(self, address: str = PERSON) -> Path:
        """The address's password in a file of mode 0600, as an account's `password: {file: …}` wants it."""
        path = self.folder / f"{address}.password"
        path.touch(mode=0o600)
        path.write_text(self.dovecot.users[address] + "\n")
        return path

    def account_yaml(
        self,
        address: str = PERSON,
        *,
        name: str = "Ada Lovelace",
        host: str = "localhost",
        smtp_port: int | None = None,
        tls: str = "implicit",
        client_password: Path | None = None,
        files_sent: str | None = None,
        connections: int | None = None,
        more: str = "",
    ) -> str:
        """The text of an `accounts.d` file that points here. `tls` is implicit or starttls, for both protocols;
        `client_password` the file with what the mail client signs in with; `more` further lines of YAML."""
        implicit = tls == "implicit"
        imap_port = self.dovecot.imaps_port if implicit else self.dovecot.imap_port
        smtp_port = smtp_port or (self.postfix.smtps_port if implicit else self.postfix.submission_port)
        lines = [
            f"address: {address}",
            f"name: {name}",
            "provider:",
            f"  imap: {{host: {host}, port: {imap_port}, tls: {tls}}}",
            f"  smtp: {{host: {host}, port: {smtp_port}, tls: {tls}}}",
            f"  ca: {self.ca.ca}",
        ]
        if connections is not None:
            lines.append(f"  connections: {connections}")
        if files_sent is not None:
            lines.append(f'  files_sent: "{files_sent}"')
        lines += ["sign_in:", f"  password: {{file: {self.password_file(address)}}}"]
        if client_password is not None:
            lines += ["client:", f"  password: {{file: {client_password}}}"]
        return "\n".join(lines) + "\n" + more
