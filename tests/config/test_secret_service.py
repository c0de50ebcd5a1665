"""The desktop's keyring for real: gnome-keyring, by D-Bus's Secret Service, on a bus of its own."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from tests.config.keyring_session import LOCKED, OPEN, session

pytestmark = pytest.mark.servers

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


def test_what_is_put_there_is_there(tmp_path: Path) -> None:
    """Passwords, the mail program's own, the store's key and its change; and no key lies in a file."""
    assert session(tmp_path, OPEN, WORK) == "kept\n"


def test_one_that_is_locked_holds_nobody_for_long(tmp_path: Path) -> None:
    began = monotonic()
    assert session(tmp_path, LOCKED, SILENT).startswith("silent: the password: the keyring ")
    assert monotonic() - began < 30
