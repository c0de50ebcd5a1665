"""A desktop's session of its own: a bus and gnome-keyring, open or locked, and one program in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers.processes import need_program

OPEN = "printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1"
LOCKED = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1"


def session(folder: Path, start: str, script: str, *arguments: str, within: float = 60) -> str:
    """What `script` printed, in a session with a bus and a keyring alone; its first argument is the folder `data`."""
    need_program("dbus-run-session", "dbus-daemon")
    need_program("gnome-keyring-daemon", "gnome-keyring")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**keep, "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(folder / "share")}
    (folder / "script.py").write_text(script)
    (folder / "data").mkdir(exist_ok=True)
    line = f'{start}; exec "$0" "$@"'
    words = [
        "dbus-run-session",
        "--",
        "sh",
        "-c",
        line,
        sys.executable,
        str(folder / "script.py"),
        str(folder / "data"),
        *arguments,
    ]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=within, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
