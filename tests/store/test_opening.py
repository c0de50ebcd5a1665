"""Another key for the store: everything is still there, the old key opens nothing, and no crash loses it."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from proxyd.config import make_key_file, store_key
from proxyd.config.store_key import file_key
from proxyd.config.store_rekey import NEXT_FILE, next_key
from proxyd.errors import ConfigError, TryLater
from proxyd.store import opening
from proxyd.store.database import Database
from proxyd.store.opening import opened, rekey
from tests.config.keyring_session import OPEN, session
from tests.servers.waiting import eventually


def told_once(data: Path) -> str:
    database = opened(data)
    try:
        return told(database)
    finally:
        database.close()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_key_file(tmp_path)
    database = Database(tmp_path, store_key(tmp_path))
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE told (text)")
        connection.exec_driver_sql("INSERT INTO told VALUES ('to be kept')")
    database.close()
    return tmp_path


def told(database: Database) -> str:
    with database.reading() as connection:
        return str(connection.exec_driver_sql("SELECT text FROM told").scalar())


def test_everything_is_there_under_the_new_key_alone(data: Path) -> None:
    before = store_key(data)
    database = opened(data)
    hashed = database.hash_id("a@b")
    database.close()
    rekey(data)
    after = store_key(data)
    assert before != after
    for _ in range(2):
        database = opened(data)
        assert told(database) == "to be kept"
        assert database.hash_id("a@b") == hashed  # tokens, sessions and unlogged mail are known by these
        with database.writing() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()
        rekey(data)
    with pytest.raises(ConfigError):
        Database(data, before)
    assert not (data / NEXT_FILE).exists()
    assert (data / "store.key").stat().st_mode & 0o777 == 0o600


def test_who_has_it_open_is_not_pulled_from_under(data: Path) -> None:
    database = opened(data)
    key = store_key(data)
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM told").fetchall()
        with pytest.raises(TryLater, match="locked"):
            rekey(data)
    database.close()
    assert store_key(data) == key
    assert not (data / NEXT_FILE).exists()
    rekey(data)
    assert told_once(data) == "to be kept"


@pytest.mark.parametrize("where", ["before it is encrypted", "behind it", "with the key in place"])
def test_a_crash_at_each_step(data: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = store_key(data)
    with monkeypatch.context() as crashing:
        if where == "before it is encrypted":
            crashing.setattr(Database, "rekey", _crash)
        elif where == "behind it":
            crashing.setattr(opening, "end_rekey", _crash)
        else:
            crashing.setattr(Path, "unlink", _crash)
        with pytest.raises(KeyboardInterrupt):
            rekey(data)
    assert next_key(data) is not None
    assert told_once(data) == "to be kept"
    assert (store_key(data) == key) is (where == "before it is encrypted")
    assert not (data / NEXT_FILE).exists()


def _crash(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


KILLED = """
import sys
from pathlib import Path
from proxyd.store.opening import rekey
print("go", flush=True)
rekey(Path(sys.argv[1]))
"""


def _begun(data: Path, process: subprocess.Popen[bytes]) -> bool:
    return (data / NEXT_FILE).exists() or process.poll() is not None


def test_kill_9_at_any_moment(data: Path) -> None:
    """A store of some megabytes, so that there is a while in which to kill."""
    database = opened(data)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE filler (octets)")
        for _ in range(64):
            connection.exec_driver_sql("INSERT INTO filler VALUES (randomblob(65536))")
    database.close()
    chance = random.Random(5)
    keys = set()
    for n in range(8):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(data)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        if n % 3 == 0:
            eventually(functools.partial(_begun, data, process), "the change to begin", every=0.001)
        try:
            process.wait(chance.uniform(0, 0.5) if n < 7 else None)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        database = opened(data)
        assert told(database) == "to be kept"
        with database.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM filler").scalar() == 64
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        database.close()
        keys.add(store_key(data))
        assert not (data / NEXT_FILE).exists()
    assert len(keys) > 1  # the last one came to its end


@pytest.fixture
def credential(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """systemd hands the key over, and there is no other."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    given = folder / "proxyd-store-key"
    (data / "store.key").rename(given)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return given


def test_a_key_that_systemd_hands_over_is_followed_by_the_file(data: Path, credential: Path) -> None:
    before = store_key(data)
    rekey(data)
    after = file_key(data)
    assert after not in (None, before)
    assert told_once(data) == "to be kept"
    database = opened(data)
    assert (database.has_key(before), database.has_key(after or b"")) == (
        False,
        True,
    )  # the daemon says so at its start
    database.close()
    rekey(data)  # before a credential was made of it
    assert file_key(data) not in (None, before, after)
    assert told_once(data) == "to be kept"
    (data / "store.key").replace(credential)  # as the administrator does then
    assert told_once(data) == "to be kept"
    assert [path.name for path in data.iterdir() if path.name.startswith("store.key")] == []


EVERYWHERE = """
import os, signal, sys
from pathlib import Path
import keyring
from proxyd.config import SecretFile
from proxyd.config.desktop_keyring import KeyringSilent
from proxyd.config.sealed_files import read_sealed, write_sealed
from proxyd.store.opening import opened, opened_with_seal, rekey, seal

WHOSE = ("store.opening", "config.store_rekey", "config.sealed_files", "config.private_files", "config.desktop_keyring")

def killed_at(step):
    def count(frame, event, argument):
        nonlocal step
        ours = (frame.f_globals.get("__name__") or "").removeprefix("proxyd.") in WHOSE
        if ours or frame.f_code.co_qualname == "Database.rekey":
            step -= 1
            if step < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    return count

GONE = 75

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        except KeyringSilent as error:
            print(error, file=sys.stderr)
            os._exit(GONE)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def done(work):
    # gnome-keyring 42 now and then dies of a client that is killed; the bus starts it anew, and it is locked then.
    for _ in range(10):
        ended = child(work)
        if sys.argv[4:]:
            assert child(unlocked) == 0, step
        if ended != GONE:
            return ended
    raise AssertionError("the keyring does not stay")

data, step, stride = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
places = [SecretFile(file=path) for path in (data / "tokens/ada", data / "elsewhere")]

def begun():
    database, seal = opened_with_seal(data)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS told (text)")
        connection.exec_driver_sql("DELETE FROM told")
        connection.exec_driver_sql("INSERT INTO told VALUES ('to be kept')")
    database.close()
    for place in places:
        write_sealed(place, "a token", place.file.name, seal)

def changed():
    sys.setprofile(killed_at(step))
    rekey(data, [places[1].file])
    sys.setprofile(None)

def looked():
    if step % 2:  # a command comes first, which needs a token
        assert read_sealed(places[0], "ada", seal(data)) == "a token"
    database, fitting = opened_with_seal(data)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT text FROM told").scalar() == "to be kept"
    database.close()
    assert not (data / "store.key.next").exists()
    # A key that no store ever had may be left where the note was not written yet, until the next change.
    left = {path.name for path in data.rglob(".*.*") if not path.name.startswith(".store.key.next.")}
    assert left <= {".store.key.lock"}, left
    for place in places:
        assert fitting.opened(place.file.read_text(), place.file.name) == ("a token", True)

def unlocked():
    import secretstorage
    from secretstorage.util import DBusAddressWrapper, format_secret, open_session
    for _ in range(10):
        try:
            bus = secretstorage.dbus_init()
            collection = secretstorage.Collection(bus)
            if not collection.is_locked():
                return
            unlocker = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"
            place = DBusAddressWrapper("/org/freedesktop/secrets", unlocker, bus)
            secret = format_secret(open_session(bus), b"secret", "text/plain")
            place.call("UnlockWithMasterPassword", "o(oayays)", collection.collection_path, secret)
        except secretstorage.SecretStorageException as error:
            print(error, file=sys.stderr)
    raise AssertionError("the keyring does not open")

assert child(begun) == 0
ended = -9
while ended == -9:
    ended = done(changed)
    assert ended in (0, -9), (step, ended)
    assert done(looked) == 0, step
    step += stride
print(step)
"""


@pytest.mark.parametrize(("where", "first"), [("in the file", 0), ("as a credential", 1)])
def test_kill_9_between_any_two_steps(data: Path, where: str, first: int, request: pytest.FixtureRequest) -> None:
    """Before and behind the calls that are made for it; what SQLite does within one, the test above kills. Every
    seventh step here: all of them (a stride of 1) take minutes."""
    if where == "as a credential":
        request.getfixturevalue("credential")
    done = subprocess.run(
        [sys.executable, "-c", EVERYWHERE, str(data), str(first), "7"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    assert told_once(data) == "to be kept"


@pytest.mark.servers
def test_kill_9_with_the_key_in_the_keyring(tmp_path: Path) -> None:
    """gnome-keyring for real, which outlives whoever is killed."""
    done = session(tmp_path, OPEN, EVERYWHERE, "2", "17", "keyring", within=600)
    assert int(done) > 100
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith("store.key")] == []


def test_the_old_pages_are_gone(data: Path) -> None:
    """What the old key opened is not left in a journal beside the store."""
    key = store_key(data)
    rekey(data)
    for path in data.glob("store.db*"):
        raw = sqlcipher.connect(str(path))
        raw.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        with pytest.raises(sqlcipher.DatabaseError):
            raw.execute("SELECT * FROM told")
        raw.close()
