"""Where a client is pointed at: the provider itself, or proxyd in front of it.

What a client did is always read at the provider's own mailbox, past proxyd.
"""

from __future__ import annotations

import imaplib
import os
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.processes import need_program

PATIENCE = 60  # seconds for one run of a client


@dataclass(frozen=True)
class Place:
    """Ports on `host`, what signs in there, and the certificate to trust. `folder` is the client's home."""

    name: str
    folder: Path
    provider: Provider
    rig: Rig | None
    ca: Path
    imap: int  # STARTTLS
    imaps: int
    smtp: int  # STARTTLS
    smtps: int
    password: str
    user: str = PERSON
    host: str = "localhost"

    def command(self, program: str, *arguments: str, input: bytes = b"", check: bool = True) -> bytes:
        """Its standard output; a failure shows everything it said."""
        done = subprocess.run(
            [need_program(program, program), *arguments],
            input=input,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, f"{program}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def signed_in(self) -> imaplib.IMAP4_SSL:
        client = imaplib.IMAP4_SSL(self.host, self.imaps, ssl_context=self.context, timeout=60)
        client.login(self.user, self.password)
        return client

    def write(self, name: str, text: str) -> Path:
        """A file in the client's home that nobody else may read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    # --- past proxyd ----------------------------------------------------------------------------------------

    def fill(self, count: int, folder: str = "INBOX", *, start: int = 1) -> None:
        """So many messages of the customer, in one connection."""
        with self.provider.dovecot.imap(self.user) as imap:
            for n in range(start, start + count):
                octets = plain(f"Number {n}", sender=CUSTOMER, to=self.user)
                assert imap.append(folder, "", "", octets)[0] == "OK"

    def subjects(self, folder: str = "INBOX", *, who: str | None = None) -> list[str]:
        """What lies in a folder, by subject, in order of UID."""
        return [subject(each.octets) for each in self.provider.dovecot.messages(who or self.user, folder)]

    def flags(self, folder: str = "INBOX") -> dict[str, frozenset[str]]:
        return {subject(each.octets): each.flags for each in self.provider.dovecot.messages(self.user, folder)}


def plain(about: str, *, sender: str = PERSON, to: str = CUSTOMER, body: str = "Here it is.\n") -> bytes:
    made: EmailMessage = letter(about, sender=sender, to=to, body=body)
    return made.as_bytes(policy=made.policy.clone(linesep="\r\n"))


def subject(octets: bytes) -> str:
    for line in octets.splitlines():
        if line.lower().startswith(b"subject:"):
            return line[8:].strip().decode()
    return ""


def at_the_provider(folder: Path, provider: Provider) -> Place:
    dovecot, postfix = provider.dovecot, provider.postfix
    return Place(
        "direct",
        folder,
        provider,
        None,
        provider.ca.ca,
        imap=dovecot.imap_port,
        imaps=dovecot.imaps_port,
        smtp=postfix.submission_port,
        smtps=postfix.smtps_port,
        password=PASSWORD,
    )


def through_proxyd(folder: Path, rig: Rig, ports: Mapping[str, int]) -> Place:
    """`ports` are the daemon's listeners by their names."""
    return Place("proxyd", folder, rig.provider, rig, rig.data / "ca.pem", password=CLIENT_PASSWORD, **ports)
