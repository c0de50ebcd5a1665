"""What the demo happens in: a temporary folder, the provider, and the real daemon as a child process."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TypeVar

from proxyd.cli.daemon_link import DaemonLink, Document, NotRunning, daemon_link
from proxyd.cli.demo_provider import HOST, DemoProvider, Person
from proxyd.config import Account, ensure_client_password, load, make_key_file
from proxyd.errors import ProxydError, TryLater
from proxyd.places import Places

T = TypeVar("T")

STOP_WITHIN = 10.0  # seconds that the daemon has to end
LOG_LINES = 15  # of the daemon's log that are shown when it fails

DAEMON = """\
listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: "127.0.0.1:0", imaps: "127.0.0.1:0", web: "127.0.0.1:0"}
"""

ACCOUNT = """\
address: %(address)s
name: %(name)s
provider:
  imap: {host: %(host)s, port: %(imap)d, tls: none}
  smtp: {host: %(host)s, port: %(smtp)d, tls: none}
sign_in:
  password: {file: provider.password}
client:
  password: {file: client.password}
sent_copy:
  settle: 1s
"""


class NotSeen(ProxydError):
    """Something that was to happen was looked for and not found."""


class Ended(Exception):
    """Somebody wants it to end."""


class DemoHouse:
    """Ada's account at the demo's provider, served by a daemon of its own. Leaves nothing behind when it is left.

    `ended` is set by a signal and looked at between two steps and in every wait: an exception out of a signal handler
    could strike anywhere, also while the daemon is being started or something is being put away.
    """

    def __init__(self, ended: Event | None = None) -> None:
        self.ended = ended or Event()
        self.ada = Person("ada@proxyd.example", "Ada Lovelace", secrets.token_urlsafe(12))
        self.grace = Person("grace@customer.example", "Grace Hopper", secrets.token_urlsafe(12))
        self.provider = DemoProvider((self.ada, self.grace))
        self.folder = Path(tempfile.mkdtemp(prefix="proxyd-demo-"))
        self.places = Places(self.folder, self.folder, self.folder)
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoHouse:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.ExitStack() as each:  # whatever of it fails, the rest is done
            each.callback(shutil.rmtree, self.folder, ignore_errors=True)
            each.callback(self.provider.stop)
            each.callback(self._stop_daemon)

    def go_on(self) -> None:
        """Raises Ended where it shall not."""
        if self.ended.is_set():
            raise Ended

    def until(self, seconds: float, what: str, look: Callable[[], T | None]) -> T:
        """Look until there is something to see; raises NotSeen after `seconds`, and Ended."""
        end = monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            self.go_on()
            if monotonic() > end:
                raise NotSeen(f"{what}: not seen within {seconds:g} s")
            self.ended.wait(0.02)

    # --- the daemon ------------------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start `proxyd run` with a configuration for Ada; returns when its control socket answers."""
        self._write_config()
        with (self.folder / "daemon.log").open("wb") as log:
            # A session of its own: Ctrl-C is for us, and we end it in our own order.
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "proxyd", "run", "--config", str(self.folder), "--data", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.until(15, "the daemon answers on its control socket", self._answers)

    def _write_config(self) -> None:
        (self.folder / "accounts.d").mkdir()
        (self.folder / "proxyd.yaml").write_text(DAEMON)
        words = {"address": self.ada.address, "name": self.ada.name, "host": HOST}
        ports = {"imap": self.provider.imap_port, "smtp": self.provider.smtp_port}
        (self.folder / "accounts.d/ada.yaml").write_text(ACCOUNT % (words | ports))
        password = self.folder / "provider.password"
        password.touch(mode=0o600)
        password.write_text(f"{self.ada.password}\n")
        make_key_file(self.folder)  # or the demo's key would be put into the person's keyring

    def _answers(self) -> bool:
        if self._daemon is not None and self._daemon.poll() is not None:
            raise NotSeen(f"the daemon ended with {self._daemon.returncode}; its last words:\n{self.last_words()}")
        try:
            with self.daemon() as link:
                return bool(link.status())
        except (NotRunning, TryLater):
            return False

    @contextlib.contextmanager
    def daemon(self) -> Iterator[DaemonLink]:
        with daemon_link(self.places) as link:
            yield link

    def record(self) -> Document:
        """What `proxyd timeline grace@customer.example --json` prints."""
        with self.daemon() as link:
            return link.timeline(self.grace.address, None, 50)

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.folder / "daemon.log").read_text("utf-8", "replace").splitlines()
            return "\n".join(lines[-LOG_LINES:])
        return ""

    def _stop_daemon(self) -> None:
        if self._daemon is None:
            return
        self._daemon.terminate()
        try:
            self._daemon.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()

    # --- what Ada's mail client is set to ----------------------------------------------------------------------

    @property
    def account(self) -> Account:
        return load(self.folder).accounts[self.ada.address]

    @property
    def client_password(self) -> str:
        return ensure_client_password(self.account)

    def trusting_context(self) -> ssl.SSLContext:
        """Trusts what Ada's client was told to trust, and nothing else."""
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
