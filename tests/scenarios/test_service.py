"""The daemon under a service manager: what it tells, what it takes over, and when it is not alive."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.store.database import Database
from tests.scenarios.manager import Manager
from tests.scenarios.rig import Rig
from tests.servers.waiting import eventually


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_what_is_told_to_systemd_and_what_feeds_its_watchdog(make_rig, manager: Manager) -> None:
    rig: Rig = make_rig(start=False)
    rig.more_environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"}
    rig.start()
    manager.hears("READY=1")
    manager.hears("STATUS=1 accounts connected")
    manager.hears("WATCHDOG=1")
    rig.hang_up()
    assert int(manager.hears("MONOTONIC_USEC=").partition("=")[2]) > 0
    manager.hears("READY=1")
    # The loop turns, but nothing can be committed: not alive.
    database = Database(rig.data, bytes.fromhex("5a" * 32))
    with database.writing():
        while manager.listen(0):
            pass
        manager.listen(0.6)  # one that was under way
        assert not [each for _ in range(2) for each in manager.listen(1) if each == "WATCHDOG=1"]
    database.close()
    manager.hears("WATCHDOG=1")
    # It can be committed, but the loop does not turn: not alive either.
    os.kill(rig.pid, signal.SIGSTOP)
    while manager.listen(0):
        pass
    assert manager.listen(1.5) == []
    os.kill(rig.pid, signal.SIGCONT)
    manager.hears("WATCHDOG=1")
    rig.stop()
    manager.hears("STOPPING=1")


def test_garbage_is_collected_once_it_is_ready(make_rig) -> None:
    """Not while it starts, which would take a tenth longer; but a daemon that never did would grow for ever."""
    rig: Rig = make_rig(start=False)
    collected = rig.folder / "collected"
    seen = f"import gc, pathlib\ngc.callbacks.append(lambda *_: pathlib.Path({str(collected)!r}).touch())\n"
    (rig.folder / "sitecustomize.py").write_text(seen)
    rig.more_environment = {"PYTHONPATH": str(rig.folder)}
    rig.start()
    collected.unlink(missing_ok=True)
    eventually(lambda: rig.status() and collected.exists(), "garbage to be collected")


def test_sockets_that_systemd_opened_are_taken_over_by_name(make_rig) -> None:
    rig: Rig = make_rig(start=False)
    free = []
    for _ in range(2):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            free.append(taken.getsockname()[1])
    smtps, imaps = free
    text = 'listen: {smtp: off, smtps: "127.0.0.1:1465", imap: off, imaps: "127.0.0.1:1993", web: off}\n'
    (rig.config / "proxyd.yaml").write_text(text)
    listen = [f"--listen=127.0.0.1:{port}" for port in (imaps, smtps)]
    passed = [f"--setenv={name}" for name in ("PROXYD_CONFIG", "PROXYD_DATA", "DBUS_SESSION_BUS_ADDRESS", "HOME")]
    rig.before = ("systemd-socket-activate", *listen, *passed, "--fdname=imaps:smtps")
    rig.start(wait=False)

    def first_connection() -> bool:
        try:
            socket.create_connection(("127.0.0.1", smtps), 1).close()
        except OSError:
            return False
        return True

    eventually(first_connection, "the sockets")
    status = eventually(lambda: rig.status(may_fail=True), "the daemon", every=0.2)
    assert status["daemon"]["listening"] == {"smtps": f"127.0.0.1:{smtps}", "imaps": f"127.0.0.1:{imaps}"}
    rig.connected()
    with rig.client() as smtp:
        assert smtp.noop()[0] == 250


def test_what_is_not_started_again(make_rig) -> None:
    rig: Rig = make_rig(start=False)
    (rig.config / "proxyd.yaml").write_text("listne: {}\n")
    done = subprocess.run([sys.executable, "-m", "proxyd", "run"], env=rig.environment, capture_output=True, text=True)
    assert done.returncode == 78
    assert "proxyd.yaml:1:1" in done.stderr
