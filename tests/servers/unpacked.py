"""Debian packages that conflict with Dovecot's: unpacked into a cache, run in a chroot, nothing is installed.

The .deb files are downloaded once. The cache is `$PROXYD_TEST_CACHE`, else `~/.cache/proxyd-tests`. Each server's
chroot is a copy of what was unpacked by hard links: what a server changes there has to be written in place of the link.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.processes import ServerFailed

NOT_NEEDED = ("usr/share", "usr/lib/x86_64-linux-gnu/gconv", "lib/systemd", "usr/lib/tmpfiles.d")


def cache_folder() -> Path:
    return Path(os.environ.get("PROXYD_TEST_CACHE") or Path.home() / ".cache" / "proxyd-tests")


def unpacked(name: str, packages: Sequence[str]) -> Path:
    """The packages, unpacked; downloads them the first time. Raises ServerFailed with apt's own words.

    `name` is the cache folder's: change it when `packages` change.
    """
    cache = cache_folder()
    root = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.exists():
            return root
        fresh = cache / f"{name}.unpacking"
        shutil.rmtree(fresh, ignore_errors=True)
        debs = fresh / "debs"
        debs.mkdir(parents=True)
        _run(["apt-get", "download", "-o", "APT::Sandbox::User=root", *packages], cwd=debs, what=name)
        for deb in debs.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(deb), str(fresh / "root")], cwd=debs, what=name)
        for each in NOT_NEEDED:
            shutil.rmtree(fresh / "root" / each, ignore_errors=True)
        (fresh / "root").rename(root)
        shutil.rmtree(fresh)
    return root


def _run(command: list[str], cwd: Path, what: str) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerFailed(
            f"{what} cannot be had: `{' '.join(command[:2])}` ended with {done.returncode}\n{done.stderr.strip()}\n"
            "apt needs its package lists and the way to a Debian mirror: apt-get update"
        )


def make_root(unpacked: Path, root: Path, *, folders: Sequence[str], people: Sequence[tuple[str, int]]) -> None:
    """A chroot with these empty folders, /dev/null, and `people` (name, user id) beside root in its passwd."""
    shutil.copytree(unpacked, root, symlinks=True, copy_function=_link)
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "dev").mkdir()
    for name, minor in (("null", 3), ("urandom", 9)):
        device = root / "dev" / name
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        device.chmod(0o666)
    everybody = [("root", 0), *people]
    write(root, "etc/passwd", "".join(f"{name}:x:{id}:{id}::/:/bin/sh\n" for name, id in everybody))
    write(root, "etc/group", "".join(f"{name}:x:{id}:\n" for name, id in everybody))


def write(root: Path, name: str, text: str) -> Path:
    """A file of the chroot, in place of what is there: that is shared with the cache."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    return path


def _link(source: str, target: str) -> None:
    """A hard link where both lie on one file system, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
