"""Secrets: every source, every way in which it fails, and that no failure tells the secret."""

from __future__ import annotations

import os
import re
import select
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend

from proxyd.config import (
    Account,
    Client,
    Command,
    Credential,
    Env,
    KeyringEntry,
    Provider,
    SecretFile,
    Server,
    SignIn,
    Source,
    desktop_keyring,
    ensure_client_password,
    new_client_password,
    read_secret,
    secrets,
    write_secret,
)
from proxyd.errors import ConfigError
from tests.config.keyrings import Forgetful, Keeping, Locked, Silent

WHAT = "the mail password of ada@example.com"
ENTRY = KeyringEntry("ada@example.com/mail")


def account(password: Source) -> Account:
    server = Server(host="127.0.0.1", port=1, tls="none")
    return Account(
        address="ada@example.com",
        provider=Provider(imap=server, smtp=server),
        sign_in=SignIn(imap_user="ada", smtp_user="ada", password=ENTRY),
        client=Client(password=password),
    )


def failure(source: Source, **env: str) -> str:
    """The message of a reading that fails; nothing of the secret stands in the whole traceback."""
    with pytest.raises(ConfigError) as caught:
        read_secret(source, WHAT, env=env)
    chained = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__cause__)
    assert "hunter2" not in chained
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    message = str(caught.value)
    assert message.startswith(f"{WHAT}: ")
    assert message.isprintable()
    return message.removeprefix(f"{WHAT}: ")


def private(path: Path, octets: bytes, mode: int = 0o600) -> SecretFile:
    path.write_bytes(octets)
    path.chmod(mode)
    return SecretFile(file=path)


# --- environment -------------------------------------------------------------------------------------------


def test_from_the_environment() -> None:
    assert read_secret(Env(env="ADA"), WHAT, env={"ADA": " hünter2 "}) == " hünter2 "


def test_the_daemons_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADA", "hunter2")
    assert read_secret(Env(env="ADA"), WHAT) == "hunter2"


@pytest.mark.parametrize("env", [{}, {"ADA": ""}], ids=["unset", "empty"])
def test_no_such_variable(env: dict[str, str]) -> None:
    assert failure(Env(env="ADA"), **env) == 'the environment variable "ADA" is not set where proxyd runs'


def test_a_variable_of_two_lines() -> None:
    assert "more than one line" in failure(Env(env="ADA"), ADA="hunter2\r\nX")


def test_a_variable_that_is_no_utf_8() -> None:
    assert "not UTF-8" in failure(Env(env="ADA"), ADA=os.fsdecode(b"hunter2\xff"))


# --- file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_from_a_file(tmp_path: Path, octets: bytes) -> None:
    assert read_secret(private(tmp_path / "ada", octets), WHAT) == "hunter2"


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n", "is empty", id="an empty line"),
        pytest.param(b"hunter2\nhunter3\n", "has more than one line", id="two lines"),
        pytest.param(b"hunter2\0", "has more than one line", id="NUL"),
        pytest.param(b"hunter2\xff", "is not UTF-8 text", id="Latin-1"),
        pytest.param(b"hunter2" * 20_000, "is larger than 64 KiB", id="large"),
    ],
)
def test_a_file_that_is_no_secret(tmp_path: Path, octets: bytes, why: str) -> None:
    assert why in failure(private(tmp_path / "ada", octets))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_reach(tmp_path: Path, mode: int) -> None:
    source = private(tmp_path / "ada", b"hunter2", mode)
    assert f"(mode {mode:04o}); make it private: chmod 600" in failure(source)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert failure(SecretFile(file=tmp_path / "ada")) == f'the file "{tmp_path}/ada" is missing'


# --- command -----------------------------------------------------------------------------------------------


def python(code: str) -> Command:
    return Command(command=(sys.executable, "-c", code))


def test_from_a_command_the_first_line() -> None:
    assert read_secret(python("print('hunter2\\nuser: ada')"), WHAT) == "hunter2"


def test_what_a_command_complains_of_is_no_secret() -> None:
    assert read_secret(python("import sys; print('warning', file=sys.stderr, flush=True); print('hunter2')"), WHAT) == (
        "hunter2"
    )


def test_no_shell_reads_the_command() -> None:
    assert read_secret(Command(command=("echo", "$HOME;id")), WHAT) == "$HOME;id"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        pytest.param(Command(command=("/no/such/program",)), "cannot be started: No such file", id="no such program"),
        pytest.param(Command(command=("echo", "\0")), "its arguments are no text", id="NUL in an argument"),
        pytest.param(python("print('hunter2'); raise SystemExit(3)"), "ended with 3; try it by hand", id="fails"),
        pytest.param(python("import sys; sys.exit('hunter2')"), "ended with 1", id="complains"),
        pytest.param(python("pass"), "is empty", id="prints nothing"),
        pytest.param(python("import sys; sys.stdin.read() or sys.exit(7)"), "ended with 7", id="asks nobody"),
    ],
)
def test_a_command_that_gives_no_secret(command: Command, why: str) -> None:
    assert why in failure(command)


def test_a_command_that_never_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "COMMAND_LIMIT", 0.5)
    # What it started lives as long as it holds the FIFO open: the whole session must go.
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    words = ("sh", "-c", f"exec 3>{tmp_path}/alive; sleep 20 & sleep 20")
    assert "did not end within" in failure(Command(command=words))
    assert select.select([reader], [], [], 10)[0] == [reader]
    os.close(reader)


# --- credential --------------------------------------------------------------------------------------------


def test_from_a_credential(tmp_path: Path) -> None:
    (tmp_path / "ada").write_text("hunter2\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret(Credential(credential="ada"), WHAT, env=env) == "hunter2"


def test_no_credential(tmp_path: Path) -> None:
    source = Credential(credential="ada")
    assert "systemd handed over no credentials" in failure(source)
    assert 'no credential "ada"' in failure(source, CREDENTIALS_DIRECTORY=str(tmp_path))


# --- keyring -----------------------------------------------------------------------------------------------


def test_from_the_keyring(kept: Keeping) -> None:
    kept.set_password("proxyd", "ada@example.com/mail", "hunter2")
    assert read_secret(ENTRY, WHAT) == "hunter2"


def test_no_entry(kept: Keeping) -> None:
    assert failure(ENTRY).endswith("store it with: keyring set proxyd ada@example.com/mail")


def test_no_keyring() -> None:
    assert failure(ENTRY) == f"this machine has no keyring; {desktop_keyring.CURE}"


def test_a_locked_keyring(use_keyring: Callable[[KeyringBackend], None]) -> None:
    use_keyring(Locked())
    assert failure(ENTRY).startswith("the keyring is locked; unlock it")


def test_a_keyring_that_never_answers(
    use_keyring: Callable[[KeyringBackend], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keyring(Silent())
    monkeypatch.setattr(desktop_keyring, "LIMIT", 0.1)
    assert failure(ENTRY).startswith("the keyring did not answer within 0.1 s")


SLOW = """
import sys, threading
class Slow:
    def find_spec(self, name, *_):
        if name == "keyring":
            threading.Event().wait(3)
sys.meta_path.insert(0, Slow())
from proxyd.config import desktop_keyring
desktop_keyring.LIMIT = 2
try:
    desktop_keyring.read("proxyd", "x", "the password")
except desktop_keyring.NoKeyring as error:
    print(error)
"""


def test_a_machine_that_is_slow_to_load_the_library_has_no_locked_keyring() -> None:
    environment = os.environ | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = subprocess.run([sys.executable, "-c", SLOW], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the password: this machine has no keyring; ")


# --- what proxyd writes ------------------------------------------------------------------------------------

READABLE = re.compile(r"([0-9a-hjkmnp-tv-z]{4}-){5}[0-9a-hjkmnp-tv-z]{4}")


def test_a_client_password_is_made_once_in_the_keyring(kept: Keeping) -> None:
    ada = account(KeyringEntry("ada@example.com/client"))
    made = ensure_client_password(ada)
    assert READABLE.fullmatch(made)
    assert ensure_client_password(ada) == made == kept.get_password("proxyd", "ada@example.com/client")


def test_a_client_password_is_made_once_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new/ada"
    ada = account(SecretFile(file=path))
    made = ensure_client_password(ada)
    assert READABLE.fullmatch(made)
    assert ensure_client_password(ada) == made == path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["ada"]


def test_two_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    ada = account(SecretFile(file=tmp_path / "ada"))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: ensure_client_password(ada), range(32)))) == 1


def test_a_client_password_elsewhere_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = account(Env(env="ADA_CLIENT"))
    with pytest.raises(ConfigError, match=r"the client password of ada@example\.com: the environment variable"):
        ensure_client_password(ada)
    monkeypatch.setenv("ADA_CLIENT", "hunter2")
    assert ensure_client_password(ada) == "hunter2"


def test_a_client_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ada = account(private(tmp_path / "ada", b"hunter2", 0o644))
    with pytest.raises(ConfigError, match="others can read"):
        ensure_client_password(ada)


def test_a_new_client_password_replaces_the_old(tmp_path: Path, kept: Keeping) -> None:
    for source in (SecretFile(file=tmp_path / "ada"), KeyringEntry("ada@example.com/client")):
        ada = account(source)
        first = ensure_client_password(ada)
        assert new_client_password(ada) != first
        assert ensure_client_password(ada) != first
    assert stat.S_IMODE((tmp_path / "ada").stat().st_mode) == 0o600


def test_nothing_is_written_where_it_cannot_be(tmp_path: Path, use_keyring: Callable[[KeyringBackend], None]) -> None:
    with pytest.raises(ConfigError, match="keyring or a file only"):
        write_secret(Env(env="ADA"), "hunter2", WHAT)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: File exists"):
        write_secret(SecretFile(file=tmp_path / "file/ada"), "hunter2", WHAT)
    use_keyring(Forgetful())
    with pytest.raises(ConfigError, match="did not keep it"):
        write_secret(ENTRY, "hunter2", WHAT)
    use_keyring(Locked())
    with pytest.raises(ConfigError) as caught:
        write_secret(ENTRY, "hunter2", WHAT)
    assert "hunter2" not in str(caught.value)
