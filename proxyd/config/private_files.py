"""Files that hold a secret: opened only if nobody else can read them, made so from the first octet.

Everything is asked of the open file, not of its name, so that nothing can change in between.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from proxyd.config.problems import shown
from proxyd.errors import ConfigError

RANDOM = 8  # characters that mkstemp(3) puts behind the prefix


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; raises ConfigError that says why it cannot be."""
    name = shown(str(path), limit=200)
    try:
        # O_NONBLOCK: a FIFO without a writer must not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(f"the file {name} is missing") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise ConfigError(f"the file {name} cannot be read: {why}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{name} is not a file")
    return os.fdopen(descriptor, "rb")


def open_private(path: Path) -> BinaryIO:
    """Open a file that only we (or root) own and only its owner can read; raises ConfigError with the cure."""
    file = open_regular(path)
    status = os.fstat(file.fileno())
    name = shown(str(path), limit=200)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (os.geteuid(), 0):
        file.close()
        raise ConfigError(f"the file {name} belongs to another user (uid {status.st_uid}); make it your own: chown")
    if mode & 0o077:
        file.close()
        raise ConfigError(f"others can read the file {name} (mode {mode:04o}); make it private: chmod 600")
    return file


def create_private(path: Path, octets: bytes) -> bool:
    """Make a file of mode 0600 with these octets, whole or not at all; False = it was there already.

    Durable when it returns: the file and its folder are synced. Raises OSError.
    """
    written = _written(path, octets)
    try:
        os.link(written, path)  # fails where the name is taken: two makers cannot both win
    except FileExistsError:
        return False
    finally:
        written.unlink()
    _sync_folder(path.parent)
    return True


def replace_private(path: Path, octets: bytes) -> None:
    """Like `create_private`, but in the place of what is there. Raises OSError."""
    written = _written(path, octets)
    try:
        written.replace(path)
    except OSError:
        written.unlink()
        raise
    _sync_folder(path.parent)


def sweep(path: Path) -> None:
    """Remove what writers of this file left beside it when they were killed: it may be the secret, whole. Nobody may be
    writing it meanwhile."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'?' * RANDOM}"):
        with contextlib.suppress(OSError):
            left.unlink()


def _written(path: Path, octets: bytes) -> Path:
    """A new synced file beside `path`; mkstemp opens with O_EXCL and mode 0600."""
    for folder in [*reversed(path.parent.parents), path.parent]:  # mkdir(parents=True) opens those to everybody
        folder.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
