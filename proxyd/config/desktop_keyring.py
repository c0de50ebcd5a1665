"""The desktop's keyring (Secret Service, KWallet …) behind two blocking calls with a time limit.

A keyring that is locked may ask the person and wait for ever, and one whose bus is gone may hang: each call runs in a
daemon thread that is left behind when its time is up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from proxyd.errors import ConfigError

T = TypeVar("T")

LIMIT = 5.0  # seconds

CURE = "name another source, e.g. {file: FILE} or {credential: NAME}"


class NoKeyring(ConfigError):
    """This machine has no keyring at all."""


class KeyringSilent(ConfigError):
    """There is a keyring, but it did not answer or would not open."""


def read(service: str, user: str, what: str) -> str | None:
    """The entry, None where there is none. Raises NoKeyring or KeyringSilent."""

    def ask() -> str | None:
        import keyring  # late: it looks for every backend when it is imported

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


def _within(ask: Callable[[], T], what: str) -> T:
    answers: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # backends raise whatever their bus raises
            errors.append(error)

    thread = threading.Thread(target=run, name="keyring", daemon=True)
    thread.start()
    thread.join(LIMIT)
    if answers:
        return answers[0]
    if not errors:
        raise KeyringSilent(f"{what}: the keyring did not answer within {LIMIT:g} s; unlock it, or {CURE}")
    # Only the error's kind is told: its text is a backend's and may hold anything.
    kind = type(errors[0]).__name__
    if kind == "NoKeyringError":
        raise NoKeyring(f"{what}: this machine has no keyring; {CURE}")
    raise KeyringSilent(f"{what}: the keyring refused ({kind}); unlock it, or {CURE}")
