"""The desktop's keyring for real: gnome-keyring, by D-Bus's Secret Service, on a bus of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.servers.processes import need_program

pytestmark = pytest.mark.servers

OPEN = "printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1"
LOCKED = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1"

WORK = """
from pathlib import Path
import sys
from proxyd.config import KeyringEntry, account_of, desktop_keyring, ensure_client_password, read_secret, store_key
from proxyd.config import remove_secret, write_secret
from proxyd.store.opening import opened, rekey

mail = KeyringEntry("ada@example.com/mail")
assert desktop_keyring.read("proxyd", mail.user, "x") is None
write_secret(mail, "pässword", "x")
assert read_secret(mail, "x") == "pässword"
account = account_of("address: ada@example.com\\nprovider: gmail\\n", Path("/config/accounts.d/ada.yaml"))
assert ensure_client_password(account) == ensure_client_password(account)
data = Path(sys.argv[1])
opened(data).close()
before = store_key(data)
rekey(data)
assert store_key(data) != before
opened(data).close()
assert remove_secret(mail, "x")
assert not remove_secret(mail, "x")
assert sorted(path.name for path in data.iterdir() if "key" in path.name) == [".store.key.lock"]
print("kept")
"""

SILENT = """
from proxyd.config import desktop_keyring
try:
    desktop_keyring.write("proxyd", "x", "hunter2", "the password")
except desktop_keyring.KeyringSilent as error:
    assert "hunter2" not in str(error)
    print("silent:", error)
"""


def session(folder: Path, start: str, script: str) -> str:
    """What `script` printed, in a session with nothing but a bus and a keyring."""
    need_program("dbus-run-session", "dbus-daemon")
    need_program("gnome-keyring-daemon", "gnome-keyring")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**keep, "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(folder / "share")}
    (folder / "script.py").write_text(script)
    (folder / "data").mkdir()
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
    ]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_put_there_is_there(tmp_path: Path) -> None:
    """Passwords, the mail program's own, the store's key and its change; and no key lies in a file."""
    assert session(tmp_path, OPEN, WORK) == "kept\n"


def test_one_that_is_locked_holds_nobody_for_long(tmp_path: Path) -> None:
    began = monotonic()
    assert session(tmp_path, LOCKED, SILENT).startswith("silent: the password: the keyring ")
    assert monotonic() - began < 30
