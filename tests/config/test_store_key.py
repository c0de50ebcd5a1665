"""The store's key: where it is found, that it is made once, and never for a store that exists."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend

from proxyd.config import desktop_keyring, make_key_file, store_key
from proxyd.errors import ConfigError
from tests.config.keyrings import Keeping, Locked, Silent

KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def key_file(data: Path, octets: bytes, mode: int = 0o600) -> Path:
    path = data / "store.key"
    path.write_bytes(octets)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "octets",
    [KEY, KEY.hex().encode() + b"\n", base64.b64encode(KEY) + b"\n"],
    ids=["as it is", "in hex", "in base64"],
)
def test_a_key_file(data: Path, octets: bytes) -> None:
    key_file(data, octets)
    assert store_key(data, env={}) == KEY


@pytest.mark.parametrize("octets", [b"", b"short", KEY[:31], KEY.hex().encode() + b"00"])
def test_a_key_file_that_holds_no_key(data: Path, octets: bytes) -> None:
    path = key_file(data, octets)
    with pytest.raises(ConfigError, match="does not hold 32 random octets"):
        store_key(data, env={})
    assert path.read_bytes() == octets


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_file_that_others_can_read(data: Path, mode: int) -> None:
    key_file(data, KEY, mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
        store_key(data, env={})


def test_a_key_file_that_points_nowhere(data: Path) -> None:
    (data / "store.key").symlink_to(data / "gone")
    with pytest.raises(ConfigError, match="is missing"):
        store_key(data, env={})


@pytest.mark.parametrize("name", ["proxyd-store-key", "master-key"])
def test_a_credential_comes_first(data: Path, tmp_path: Path, name: str) -> None:
    key_file(data, bytes(32))
    (tmp_path / name).write_text(KEY.hex())
    assert store_key(data, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == KEY


def test_other_credentials_are_none_of_ours(data: Path, tmp_path: Path) -> None:
    key_file(data, KEY)
    (tmp_path / "ada").write_text("hunter2")
    assert store_key(data, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == KEY


def test_without_a_keyring_a_key_file_is_made_once(data: Path) -> None:
    key = store_key(data, env={})
    assert len(key) == 32
    assert store_key(data, env={}) == key == make_key_file(data)
    assert stat.S_IMODE((data / "store.key").stat().st_mode) == 0o600


def test_the_keyring_keeps_a_key_for_each_folder(data: Path, tmp_path: Path, kept: Keeping) -> None:
    other = tmp_path / "other"
    other.mkdir()
    key = store_key(data, env={})
    assert store_key(data, env={}) == key != store_key(other, env={})
    assert not (data / "store.key").exists()
    assert kept.get_password("proxyd", f"store-key {data}") == key.hex()


def test_a_key_file_comes_before_the_keyring(data: Path, kept: Keeping) -> None:
    key_file(data, KEY)
    assert store_key(data, env={}) == KEY
    assert not Path(os.environ["TEST_KEYRING"]).exists()


def test_the_system_service_asks_no_desktop(data: Path, use_keyring: Callable[[KeyringBackend], None]) -> None:
    """A slow machine takes longer to look for a keyring than a keyring has to answer."""
    use_keyring(Silent())
    environment = {"STATE_DIRECTORY": str(data)}
    key = store_key(data, env=environment)
    assert (data / "store.key").read_text() == f"{key.hex()}\n"
    assert store_key(data, env=environment) == key


# --- a store that exists -----------------------------------------------------------------------------------


def test_no_new_key_for_a_store_that_exists(data: Path, use_keyring: Callable[[KeyringBackend], None]) -> None:
    (data / "store.db").touch()
    with pytest.raises(ConfigError, match=r"exists, but its key .* this machine has no keyring"):
        store_key(data, env={})
    use_keyring(Keeping())
    with pytest.raises(ConfigError, match=r"exists, but its key .* the keyring has no entry"):
        store_key(data, env={})
    assert not (data / "store.key").exists()
    assert not Path(os.environ["TEST_KEYRING"]).exists()


@pytest.mark.parametrize("backend", [Locked, Silent])
@pytest.mark.parametrize("exists", [True, False])
def test_a_keyring_that_will_not_open_is_no_missing_keyring(
    data: Path,
    backend: type[KeyringBackend],
    exists: bool,
    use_keyring: Callable[[KeyringBackend], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key may lie in it: a second one in a file would win from then on."""
    if exists:
        (data / "store.db").touch()
    use_keyring(backend())
    monkeypatch.setattr(desktop_keyring, "LIMIT", 0.1)
    with pytest.raises(ConfigError, match="the store's key: the keyring"):
        store_key(data, env={})
    assert not (data / "store.key").exists()


def test_a_data_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        store_key(tmp_path / "gone", env={})


# --- two at once -------------------------------------------------------------------------------------------

_ASK = """
import sys
from pathlib import Path
from proxyd.config import store_key
sys.stdin.readline()
print(store_key(Path(sys.argv[1]), env={}).hex())
"""


@pytest.mark.parametrize("backend", ["keyring.backends.fail.Keyring", "tests.config.keyrings.Keeping"])
def test_processes_that_start_at_once_agree(data: Path, backend: str) -> None:
    env = os.environ | {"PYTHON_KEYRING_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert len(keys) == 1
    assert len(keys.pop().strip()) == 64
