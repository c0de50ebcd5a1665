"""Postfix's smtp-sink: a server without TLS and without AUTH that takes every message and keeps none."""

from __future__ import annotations

import smtplib
from pathlib import Path

from tests.servers.processes import Server, ServerProcess, free_port, need_program


class SmtpSink(Server):
    """On `port` of 127.0.0.1; `options` are smtp-sink's own, e.g. `("-Q", "0")`."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self._process: ServerProcess | None = None

    def start(self) -> None:
        program = need_program("/usr/sbin/smtp-sink", "postfix")
        self._process = ServerProcess(
            [program, "-u", "nobody", *self.options, f"127.0.0.1:{self.port}", "1000"],
            log=self.folder / f"smtp-sink-{self.port}.out",
        )
        self._process.wait_until(self._greets, "smtp-sink")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _greets(self) -> bool:
        try:
            smtplib.SMTP("127.0.0.1", self.port, timeout=60).quit()
        except (OSError, smtplib.SMTPException):
            return False
        return True
