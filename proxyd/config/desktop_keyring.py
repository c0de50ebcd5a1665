"""The desktop's keyring (Secret Service, KWallet …) behind two blocking calls with a time limit.

A keyring that is locked may ask the person and wait for ever, and one whose bus is gone may hang: each call runs in a
daemon thread that is left behind when its time is up. Before it, the library has more: a slow machine that boots takes
seconds to find out what there is, and that is no locked keyring.

A program that goes on asking would show one prompt after the other. So where the keyring can say that it is locked
(the Secret Service can), the person is asked once, and no more until it was open or `ask_again` says so.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, TypeVar

from proxyd.errors import ConfigError

T = TypeVar("T")

LIMIT = 5.0  # seconds
LIBRARY_LIMIT = 60.0  # seconds
DEFAULT = "/org/freedesktop/secrets/aliases/default"  # the Secret Service's own name of the collection that is meant

CURE = "name another source, e.g. {file: FILE} or {credential: NAME}"

_asked = threading.Event()  # a prompt was shown, or is, and the keyring was not open since


class NoKeyring(ConfigError):
    """This machine has no keyring at all."""


class KeyringSilent(ConfigError):
    """There is a keyring, but it did not answer or would not open."""


class KeyringLocked(KeyringSilent):
    """It is locked. A person may have been asked to unlock it, and once they have, it answers."""


def read(service: str, user: str, what: str) -> str | None:
    """The entry, None where there is none. Raises NoKeyring or KeyringSilent."""

    def ask() -> str | None:
        import keyring

        return keyring.get_password(service, user)

    return _within(ask, what)


def write(service: str, user: str, secret: str, what: str) -> None:
    """Make or replace the entry, and see that it is there. Raises NoKeyring or KeyringSilent."""

    def put() -> str | None:
        import keyring

        keyring.set_password(service, user, secret)
        return keyring.get_password(service, user)

    if _within(put, what) != secret:
        raise KeyringSilent(f"{what}: the keyring did not keep it; {CURE}")


def remove(service: str, user: str, what: str) -> bool:
    """Take the entry out; False = there was none. Raises NoKeyring or KeyringSilent."""

    def take() -> bool:
        import keyring

        if keyring.get_password(service, user) is None:
            return False
        keyring.delete_password(service, user)
        return True

    return _within(take, what)


def ask_again() -> None:
    """A person is there: a keyring that is locked may ask them once more."""
    _asked.clear()


def may_come() -> bool:
    """There is no keyring, and this is a session with a bus, where one may be started yet: it is looked for anew."""
    import keyring

    with suppress(KeyError):  # nothing is remembered yet
        keyring.backend.get_all_keyring.reset()
    keyring.core.init_backend()
    try:
        import secretstorage

        with closing(secretstorage.dbus_init()):
            return True
    except Exception:  # no bus, or no such library: another kind of machine
        return False


def _within(ask: Callable[[], T], what: str) -> T:
    answers: list[T] = []
    errors: list[Exception] = []
    loaded, locked = threading.Event(), threading.Event()

    def run() -> None:
        try:
            try:
                importlib.import_module("keyring")  # late: it looks for every backend then
            finally:
                loaded.set()
            if _is_locked():
                locked.set()
                if _asked.is_set():
                    return
                _asked.set()
            answers.append(ask())
            _asked.clear()
        except Exception as error:  # backends raise whatever their bus raises
            errors.append(error)

    thread = threading.Thread(target=run, name="keyring", daemon=True)
    thread.start()
    loaded.wait(LIBRARY_LIMIT)
    thread.join(LIMIT)
    if answers:
        return answers[0]
    # Only the error's kind is told: its text is a backend's and may hold anything.
    kind = type(errors[0]).__name__ if errors else ""
    if locked.is_set() or kind == "KeyringLocked":
        raise KeyringLocked(f"{what}: the keyring is locked; unlock it, or {CURE}")
    if not errors:
        raise KeyringSilent(f"{what}: the keyring did not answer within {LIMIT:g} s; unlock it, or {CURE}")
    if kind == "NoKeyringError":
        raise NoKeyring(f"{what}: this machine has no keyring; {CURE}")
    raise KeyringSilent(f"{what}: the keyring refused ({kind}); unlock it, or {CURE}")


def _is_locked() -> bool:
    """Without asking anybody to unlock it. False where it is open, or of a kind that does not say."""
    import keyring

    backend: Any = keyring.get_keyring()
    several = getattr(backend, "backends", [backend])
    ours = [each for each in several if type(each).__module__ == "keyring.backends.SecretService"]
    if not ours:
        return False
    import secretstorage

    path = getattr(ours[0], "preferred_collection", DEFAULT)
    with closing(secretstorage.dbus_init()) as bus:
        try:
            return bool(secretstorage.Collection(bus, path).is_locked())
        except secretstorage.ItemNotFoundException:  # there is none yet: making it asks for a password
            return True
