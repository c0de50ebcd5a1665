"""A server process in a group of its own, free ports, and waiting until something listens.

Why a guard: a server must end with the interpreter that started it, even when that one is killed by SIGKILL and runs
no exit code. A waiting shell holds the other end of a pipe; when the pipe closes, it ends the server's group by its id.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY_WITHIN = 60.0  # seconds; a loaded machine is slow, a broken configuration is found by the process having ended
PAUSE = 0.01  # seconds between two looks
PORTS = range(15000, 32000)  # below the range that the system takes for outgoing connections

GUARD = 'read -r _; kill -TERM "-$0"; sleep 1; kill -KILL "-$0"'  # dash's kill knows no `--`


class ServerFailed(Exception):
    """A server did not come up; the text holds the end of its log."""


class Ports:
    """The ports that this process alone tries, one after the other, so that two runs side by side never take the same.

    A port that was found free is bound a moment later, by a server that starts: only a share of one's own keeps others
    from finding it free meanwhile. The share is held by a lock, which ends with the process, whatever ends it.
    """

    SHARE = 250

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o777, exist_ok=True)
        shares = [range(first, first + self.SHARE) for first in range(PORTS.start, PORTS.stop, self.SHARE)]
        random.shuffle(shares)
        for mine in shares:
            with contextlib.suppress(BlockingIOError, PermissionError):
                self._held = _locked(folder / str(mine.start))
                break
        else:
            raise ServerFailed(f"every share of ports is taken, by {len(shares)} processes; see {folder}")
        self._next = itertools.cycle(mine)

    def free(self) -> int:
        """A TCP port that nothing on 127.0.0.1 or ::1 listens on now."""
        for port in itertools.islice(self._next, self.SHARE):
            with contextlib.ExitStack() as stack:
                try:
                    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                        probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                        probe.bind((address, port))
                except OSError:
                    continue
            return port
        raise ServerFailed("no free port found")


def _locked(path: Path) -> int:
    """Raises BlockingIOError where another process has it."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@functools.cache
def _ports() -> Ports:
    return Ports(Path(tempfile.gettempdir()) / "proxyd-test-ports")


def free_port() -> int:
    """A TCP port that nothing on 127.0.0.1 or ::1 listens on now, and that no other run of the tests will take."""
    return _ports().free()


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until_free(*ports: int) -> None:
    """What a killed server started may live a moment longer than itself, and hold its ports."""
    end = time.monotonic() + READY_WITHIN
    while any(listens(port) for port in ports):
        if time.monotonic() > end:
            raise ServerFailed(f"something still listens on one of {ports}")
        time.sleep(PAUSE)  # noqa: TID251 - there is no event to wait for


def need_root(server: str) -> None:
    if os.geteuid() != 0:
        raise ServerFailed(f"{server} has to be started as root: it changes to users of its own")


def need_program(path: str, package: str) -> str:
    """The program's path, or an error that names the Debian package it comes from."""
    found = shutil.which(path) or shutil.which(Path(path).name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise ServerFailed(f"{path} is not installed: apt-get install --no-install-recommends {package}")
    return found


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter, with a path short enough for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="proxyd-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_open(folder: Path) -> None:
    """Servers read the folder as users of their own: say so before they fail in a less clear way."""
    for part in (folder, *folder.resolve().parents):
        if not part.stat().st_mode & 0o001:
            raise ServerFailed(f"{part} is closed to other users; take a folder from open_folder()")


class ServerProcess:
    """One running server: a leader and whatever it starts, all in one process group."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        grace: float = 1.0,
    ) -> None:
        """Start it. `log` takes its output; `grace` is how many seconds it has between SIGTERM and SIGKILL."""
        self.log = log
        self._grace = grace
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Of the leader, and of the group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Until `ready()`; raises ServerFailed when the process ends first or time runs out."""
        for _ in range(int(READY_WITHIN / PAUSE)):
            if ready():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=PAUSE)
                raise ServerFailed(f"{what}: ended with {self._process.returncode}\n{self.last_words()}")
        raise ServerFailed(f"{what}: not ready after {READY_WITHIN:.0f} s\n{self.last_words()}")

    def last_words(self, lines: int = 30) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number: int) -> None:
        """To the leader alone."""
        self._process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """To the leader and all it started; SIGSTOP makes a provider that stalls."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """SIGTERM to the leader, SIGKILL to what is left of the group after the grace. May be called twice."""
        atexit.unregister(self.stop)
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self._grace)
        self.signal_group(signal.SIGKILL)
        self._process.wait()


class Server:
    """What every server here has in common: started and stopped, as often as wished, on the same ports."""

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
