"""A desktop's keyring for real: gnome-keyring on a session bus of its own, which is locked and unlocked at will.

Nobody is at a screen here: the prompt that a locked keyring shows comes to nothing at once, and is counted.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import secretstorage
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.wrappers import unwrap_msg
from secretstorage.util import DBusAddressWrapper, format_secret, open_session

from tests.servers.processes import Server, need_program
from tests.servers.waiting import eventually

MASTER = b"what the person logs in with"
PROMPTER = "org.gnome.keyring.SystemPrompter"
UNLOCKER = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"
STARTS_NOTHING = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class GnomeKeyring(Server):
    """`environment` is what a program of the session has of it."""

    def __init__(self, folder: Path, *, by_itself: bool = True) -> None:
        """`by_itself`: the bus starts what it takes where somebody asks for it, prompts among it; else a keyring is
        there only between `come` and `go`, as one that is a program of the person's own."""
        self.folder = folder
        self.by_itself = by_itself
        self.environment: dict[str, str] = {}
        self._running = ExitStack()
        self._keyring = ExitStack()

    def start(self) -> None:
        bus = need_program("dbus-daemon", "dbus-daemon")
        (self.folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        starts_nothing = self.folder / "bus.conf"
        starts_nothing.write_text(STARTS_NOTHING)
        config = "--session" if self.by_itself else f"--config-file={starts_nothing}"
        daemon = self._child(self._running, [bus, config, "--nofork", "--nopidfile", "--print-address=1"])
        assert daemon.stdout is not None
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = daemon.stdout.readline().decode().strip()
        self.come()

    def come(self) -> None:
        """Open."""
        keyring = need_program("gnome-keyring-daemon", "gnome-keyring")
        daemon = self._child(self._keyring, [keyring, "--foreground", "--unlock", "--components=secrets"])
        assert daemon.stdin is not None
        daemon.stdin.write(MASTER)
        daemon.stdin.close()
        # A look would have the bus start another one, that nobody has unlocked.
        eventually(self._is_there, "the keyring to come")
        eventually(self._is_open, "the keyring to be open")

    def go(self) -> None:
        self._keyring.close()

    def stop(self) -> None:
        self.go()
        self._running.close()

    def _child(self, stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
        own = {"HOME": self.folder, "XDG_RUNTIME_DIR": self.folder / "run", "XDG_DATA_HOME": self.folder / "share"}
        session = {"PATH": os.environ["PATH"], **{name: str(path) for name, path in own.items()}}
        log = stack.enter_context((self.folder / "bus.log").open("ab"))
        child = subprocess.Popen(
            command,
            env=session | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        stack.enter_context(child)
        stack.callback(child.terminate)
        return child

    @property
    def prompts(self) -> int:
        """How often somebody would have been asked to unlock it."""
        return (self.folder / "bus.log").read_text().count(f"Activating service name='{PROMPTER}'")

    def lock(self) -> None:
        with self._bus() as bus:
            secretstorage.get_default_collection(bus).lock()
        assert not self._is_open()

    def unlock(self) -> None:
        """As the desktop does when the person has typed their password."""
        with self._bus() as bus:
            place = DBusAddressWrapper("/org/freedesktop/secrets", UNLOCKER, bus)
            secret = format_secret(open_session(bus), MASTER, "text/plain")
            path = secretstorage.get_default_collection(bus).collection_path
            place.call("UnlockWithMasterPassword", "o(oayays)", path, secret)
        assert self._is_open()

    def put(self, user: str, secret: str) -> None:
        """As `keyring set proxyd USER` does."""
        with self._bus() as bus:
            collection = secretstorage.get_default_collection(bus)
            collection.create_item(user, {"service": "proxyd", "username": user}, secret.encode(), replace=True)

    def _is_there(self) -> bool:
        with self._bus() as bus:
            asked: Any = message_bus
            (there,) = unwrap_msg(bus.send_and_get_reply(asked.NameHasOwner("org.freedesktop.secrets"), timeout=10))
            return bool(there)

    def _is_open(self) -> bool:
        with self._bus() as bus:
            try:
                return not secretstorage.Collection(bus).is_locked()
            except secretstorage.SecretStorageException:
                return False

    def _bus(self) -> DBusConnection:
        return open_dbus_connection(self.environment["DBUS_SESSION_BUS_ADDRESS"])
