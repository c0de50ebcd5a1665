"""What is waited for before there is a key, and what is not. The keyring for real: tests/scenarios/test_keyring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from proxyd.config import desktop_keyring, make_key_file
from proxyd.daemon.unlocking import ASK_EVERY, LOOK_EVERY, opened_once_unlocked
from proxyd.errors import ConfigError
from tests.config.keyrings import Keeping, Locked, Silent
from tests.daemon.bus import session_bus


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")  # also when they are looked for anew
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(desktop_keyring, "LIMIT", 0.1)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    keyring.set_keyring(NoKeyring())
    yield
    keyring.set_keyring(NoKeyring())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize(("backend", "wait"), [(Locked, LOOK_EVERY), (Silent, ASK_EVERY)])
def test_a_keyring_that_does_not_open_is_waited_for(data: Path, backend: type[Keeping], wait: float) -> None:
    """One that says that it is locked is looked at often; one that says nothing may show a prompt each time."""
    keyring.set_keyring(backend())
    told: list[tuple[str, float]] = []

    def pause(seconds: float) -> None:
        assert seconds == wait
        if len(told) == 3:
            keyring.set_keyring(Keeping())

    database, seal = opened_once_unlocked(data, lambda what, seconds: told.append((what, seconds)), pause)
    database.close()
    assert seal.works
    assert told == [("for the keyring to be unlocked", wait)] * 3


def test_a_store_without_its_key_is_not_waited_for_where_no_keyring_can_come(data: Path) -> None:
    (data / "store.db").touch()
    with pytest.raises(ConfigError, match="its key is not to be found"):
        opened_once_unlocked(data, _never, _never)


def test_nor_for_ever_in_a_session(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "store.db").touch()
    waited: list[float] = []
    with session_bus() as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setattr("proxyd.daemon.unlocking.monotonic", lambda: sum(waited))
        with pytest.raises(ConfigError, match="its key is not to be found"):
            opened_once_unlocked(data, lambda what, seconds: None, waited.append)
    assert sum(waited) == 300


def test_what_is_wrong_with_the_key_is_not_waited_for(data: Path) -> None:
    make_key_file(data)
    (data / "store.key").chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        opened_once_unlocked(data, _never, _never)


def _never(*_: object) -> None:
    raise AssertionError("nothing is waited for")
