"""Somebody who has proxyd and nothing else yet: an empty home, a mailbox, and a terminal if need be."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.processes import free_port
from tests.servers.resolver import Resolver
from tests.servers.waiting import eventually

PATIENCE = 120.0  # seconds; a busy machine is slow
LISTEN = 'listen: {{smtp: off, smtps: "127.0.0.1:{}", imap: off, imaps: "127.0.0.1:{}", web: off}}\n'


class NewUser:
    """A person with an empty home and a mailbox at `provider`, whom `resolver` leads there."""

    def __init__(self, folder: Path, provider: Provider, resolver: Resolver) -> None:
        self.folder = folder
        self.provider = provider
        self.resolver = resolver
        self.config, self.data = folder / "config", folder / "data"
        self.config.mkdir()
        (self.config / "proxyd.yaml").write_text(LISTEN.format(free_port(), free_port()))
        self.account = self.config / f"accounts.d/{PERSON}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        ours = {"PROXYD_CONFIG": str(self.config), "PROXYD_DATA": str(self.data), "NO_COLOR": "1", "COLUMNS": "100"}
        nobody = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        return {**os.environ, **ours, **nobody, "HOME": str(self.folder)}

    def run(self, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "proxyd", *words],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def connect(self, *more: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        words = ["connect", PERSON, *self.found, "--password-stdin", *more]
        return self.run(*words, input=password + "\n")

    @property
    def found(self) -> list[str]:
        return ["--nameserver", self.resolver.place, "--ca", str(self.provider.ca.ca)]

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxyd", "run"], env=self.environment, stdout=log, stderr=log
            )
        try:
            eventually(
                lambda: '"connected"' in self.run("status", "--json").stdout,
                "the account to be connected",
                within=PATIENCE,
            )
            yield
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0, (self.folder / "log").read_text()

    def everything(self) -> set[str]:
        """Every file below the configuration and the data, but those of the daemon itself."""
        ours = [path for folder in (self.config, self.data) for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder).as_posix() for path in ours} - {"config/proxyd.yaml"}


class Terminal:
    """`proxyd` at a terminal of its own: `type` answers when the question has come."""

    def __init__(self, user: NewUser, *words: str) -> None:
        self._ours, self._its = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxyd", *words],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env=user.environment,
            start_new_session=True,
        )
        # `_its` stays open here: the kernel may drop what was written last when its last holder goes.
        self.screen = ""
        self._seen = 0

    def type(self, when: str, answer: str) -> None:
        self.wait_for(when)
        os.write(self._ours, answer.encode() + b"\n")

    def wait_for(self, text: str) -> None:
        """`text` is to come behind what was waited for before."""
        end = monotonic() + PATIENCE
        while text not in self.screen[self._seen :] and self._read(end):
            pass
        assert text in self.screen[self._seen :], self.screen
        self._seen = self.screen.index(text, self._seen) + len(text)

    def give_up(self) -> None:
        """Ctrl-C until it is heard: one that comes just before the terminal is read is heard only with the next."""
        end = monotonic() + PATIENCE
        while "Aborted!" not in self.screen and monotonic() < end:
            self.process.send_signal(signal.SIGINT)
            soon = monotonic() + 20
            while "Aborted!" not in self.screen and self._read(soon):
                pass
        assert "Aborted!" in self.screen, self.screen

    def end(self) -> int:
        end = monotonic() + PATIENCE
        while self.process.poll() is None and monotonic() < end:
            self._read(monotonic() + 0.1)
        while self._read(monotonic() + 0.1):
            pass
        os.close(self._ours)
        os.close(self._its)
        return self.process.wait(1)

    def _read(self, end: float) -> bool:
        if select.select([self._ours], [], [], max(0.0, end - monotonic()))[0]:
            self.screen += os.read(self._ours, 65536).decode(errors="replace")
            return True
        return False
