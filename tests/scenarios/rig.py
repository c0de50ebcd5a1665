"""One person's whole situation: a real provider, the daemon as a process of its own, and the commands they would type.

Nothing here knows the inside of proxyd: it writes configuration files, runs the command, speaks SMTP and IMAP.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any

import httpx

from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.waiting import eventually

PATIENCE = 60.0  # seconds; a busy machine is slow
CLIENT_PASSWORD = "what the mail client was given"
LISTEN = 'listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: off, imaps: off, web: off}\n'


class Rig:
    """`more` are further lines of the account's file."""

    def __init__(self, folder: Path, provider: Provider, *, more: str = "") -> None:
        self.folder = folder
        self.provider = provider
        self.config = folder / "config"
        self.data = folder / "data"
        self._daemon: subprocess.Popen[bytes] | None = None
        (self.config / "accounts.d").mkdir(parents=True)
        self.data.mkdir(mode=0o700)
        key = self.data / "store.key"
        key.touch(mode=0o600)
        key.write_text("5a" * 32 + "\n")
        self.client_password = folder / "client.password"
        self.client_password.touch(mode=0o600)
        self.client_password.write_text(CLIENT_PASSWORD + "\n")
        (self.config / "proxyd.yaml").write_text(LISTEN)
        self.write_account(provider.account_yaml(client_password=self.client_password, more=more))
        self.log = folder / "daemon.log"
        self.more_environment: dict[str, str] = {}
        self.before: tuple[str, ...] = ()  # a program that starts the daemon, with its arguments

    def write_account(self, text: str, name: str = "ada") -> None:
        (self.config / f"accounts.d/{name}.yaml").write_text(text)

    # --- the daemon -------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        ours = {"PROXYD_CONFIG": str(self.config), "PROXYD_DATA": str(self.data), "NO_COLOR": "1"}
        ours["DBUS_SESSION_BUS_ADDRESS"] = (
            "unix:path=/nowhere"  # whoever runs the tests wants no notifications of theirs
        )
        return {**os.environ, **ours, **self.more_environment}

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [*self.before, sys.executable, "-m", "proxyd", "run"], env=self.environment, stderr=log, stdout=log
            )
        if wait:
            self.becomes_ready()

    def becomes_ready(self) -> None:
        eventually(self._ready, f"the daemon to be ready, it says: {self.log.read_text()[-3000:]}", within=2 * PATIENCE)

    def _ready(self) -> bool:
        assert self._daemon is not None
        if self._daemon.poll() is not None:
            raise AssertionError(f"the daemon ended with {self._daemon.returncode}: {self.log.read_text()[-3000:]}")
        return self.status(may_fail=True) is not None

    @property
    def runs(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    @property
    def pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def kill(self) -> None:
        """kill -9: no goodbye of any kind."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = PATIENCE) -> int:
        assert self._daemon is not None
        return self._daemon.wait(seconds)

    def stop(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                assert self._daemon.wait(PATIENCE) == 0, self.log.read_text()[-3000:]
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                raise

    def hang_up(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    def connections_to(self, port: int) -> int:
        """How many TCP connections the daemon has to this port now (proc(5))."""
        own = set()
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                own.add(str(descriptor.readlink()))
        count = 0
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                remote, state, inode = fields[2], fields[3], fields[9]
                count += int(remote.rpartition(":")[2], 16) == port and state == "01" and f"socket:[{inode}]" in own
        return count

    # --- the commands -----------------------------------------------------------------------------------------

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "proxyd", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            input=input,
        )

    def json(self, *arguments: str, codes: Sequence[int] = (0,)) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode in codes, f"{arguments}: exit {done.returncode}: {done.stderr} {done.stdout}"
        return json.loads(done.stdout)

    def asked(self, path: str) -> Any:
        """What the daemon answers on its control socket, None where none runs; the documents are the commands' own. For
        looking again and again, where a command each time would leave the daemon no processor to get on with."""
        return asked(self.data, path)

    def status(self, *, may_fail: bool = False) -> Any:
        document = self.asked("status")
        assert may_fail or document is not None, f"the daemon does not answer: {self.log.read_text()[-3000:]}"
        return document

    def account_status(self) -> Any:
        return self.status()["accounts"][0]

    def connected(self) -> None:
        eventually(lambda: self.account_status()["state"] == "connected", "the account to be connected", every=0.1)

    def timeline(self, contact: str = "") -> list[dict[str, Any]]:
        document = self.asked(f"contacts/{contact}/timeline?limit=1000" if contact else "messages?limit=1000")
        if document is None:  # the command knows without a daemon
            document = self.json("timeline", "--limit", "1000", *([contact] if contact else []))
        messages: list[dict[str, Any]] = document["messages"]
        return messages

    def explain(self, message_id: str) -> Any:
        return self.json("explain", message_id)

    def add_contact(self, email: str = CUSTOMER) -> None:
        done = self.run("contact", "add", email, "--name", "Grace Hopper")
        assert done.returncode == 0, done.stderr

    # --- the mail client --------------------------------------------------------------------------------------

    def port(self, listener: str) -> int:
        return int(self.status()["daemon"]["listening"][listener].rpartition(":")[2])

    @contextlib.contextmanager
    def client(self, *, timeout: float = 2 * PATIENCE, user: str = PERSON) -> Iterator[smtplib.SMTP]:
        trust = ssl.create_default_context(cafile=str(self.data / "ca.pem"))
        with smtplib.SMTP_SSL("localhost", self.port("smtps"), context=trust, timeout=timeout) as smtp:
            smtp.login(user, CLIENT_PASSWORD)
            yield smtp

    def send(
        self,
        message: EmailMessage | bytes,
        recipients: Sequence[str] = (CUSTOMER,),
        sender: str = PERSON,
        user: str = PERSON,
    ) -> Any:
        """As `user`'s mail client does."""
        octets = (
            message if isinstance(message, bytes) else message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
        )
        with self.client(user=user) as smtp:
            return smtp.sendmail(sender, list(recipients), octets)

    # --- the mailbox ------------------------------------------------------------------------------------------

    def sent(self, message_id: str, folder: str = "Sent") -> list[Any]:
        """The copies of a message in the person's Sent folder."""
        return [each for each in self.provider.dovecot.messages(PERSON, folder) if message_id.encode() in each.octets]

    def inbox_of(self, who: str, message_id: str) -> list[Any]:
        return [each for each in self.provider.dovecot.messages(who) if message_id.encode() in each.octets]

    def reply(self, to: EmailMessage | bytes | str, *, subject: str = "Re: Offer", sender: str = CUSTOMER) -> str:
        """The customer answers; returns the answer's Message-ID."""
        answered = to if isinstance(to, str) else message_id(to)
        answer = letter(subject, sender=sender, to=PERSON, body="Yes, please.\n\n> Here it is.\n")
        answer["In-Reply-To"] = answered
        answer["References"] = answered
        self.provider.dovecot.deliver(PERSON, answer.as_bytes(), sender)
        return str(answer["Message-ID"])


def asked(data: Path, path: str) -> Any:
    """What the daemon of this data folder answers on its control socket, None where none runs."""
    wire = httpx.HTTPTransport(uds=str(data / "control.sock"))
    with httpx.Client(transport=wire, base_url="http://proxyd/api/v1/", timeout=2 * PATIENCE) as daemon:
        try:
            answer = daemon.get(path)
        except httpx.TransportError:
            return None
    assert answer.status_code == 200, f"{path}: {answer.status_code}: {answer.text}"
    return answer.json()


def letter(
    subject: str = "Offer",
    *,
    sender: str = PERSON,
    to: str = CUSTOMER,
    body: str = "Here it is.\n",
    attach: bytes = b"",
) -> EmailMessage:
    made = EmailMessage()
    made["From"] = sender
    made["To"] = to
    made["Subject"] = subject
    made["Date"] = "Mon, 23 Nov 2026 10:00:00 +0000"
    made["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    made.set_content(body)
    if attach:
        made.add_attachment(attach, maintype="application", subtype="pdf", filename="offer.pdf")
    return made


def message_id(of: EmailMessage | bytes) -> str:
    if isinstance(of, bytes):
        import email

        return str(email.message_from_bytes(of)["Message-ID"])
    return str(of["Message-ID"])
