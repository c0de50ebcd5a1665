"""One daemon for one data folder. Two would each file a Sent copy, and take the control socket from each other.

Why flock(2): the kernel lets go of it when the process ends, however it ends; a file that is left over is in nobody's
way.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from proxyd.errors import ProxydError

FILE = "daemon.lock"


class AlreadyRuns(ProxydError):
    """Another daemon has these records."""


def hold(data: Path) -> int:
    """Be the one daemon of the folder, until the descriptor that is returned is closed. Raises AlreadyRuns."""
    descriptor = os.open(data / FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").partition("\n")[0]
        os.close(descriptor)
        who = f" (process {holder})" if holder.isdigit() else ""
        raise AlreadyRuns(
            f"a daemon{who} already runs with the records in {data}; proxyd status asks it, proxyd reload lets it read"
            " its configuration anew"
        ) from None
    say(descriptor)
    return descriptor


def say(descriptor: int, what: str = "") -> None:
    """Beside the process, what it waits for before it can answer anybody; nothing where it does not."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{what}".encode(), 0)


def waits(data: Path) -> str:
    """What a daemon of the folder, which runs, waits for; "" where none runs or it waits for nothing. The lock is not
    asked for: a daemon that starts in that moment would not get it."""
    try:
        process, _, what = (data / FILE).read_text(errors="replace").partition("\n")
        os.kill(int(process), 0)
    except (OSError, ValueError, OverflowError):
        return ""
    return what
