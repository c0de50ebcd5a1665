"""Tokens in files: nobody reads them without the store's key, and none of them is lost on the way."""

from __future__ import annotations

import contextlib
import stat
import threading
from pathlib import Path

import pytest

from proxyd.config import KeyringEntry, SecretFile, sealed_files
from proxyd.config.sealed_files import (
    NO_SEAL,
    Seal,
    SealedElsewhere,
    of_keys,
    read_sealed,
    seal_anew,
    write_sealed,
)
from proxyd.errors import ConfigError

SECRET = '{"refresh": "1//what the provider gave"}'
WHAT = "the tokens of ada@example.com"
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def place(tmp_path: Path) -> SecretFile:
    return SecretFile(file=tmp_path / "tokens/ada@example.com")


def lying_open(place: SecretFile, text: str = SECRET) -> None:
    write_sealed(place, text, WHAT, NO_SEAL)
    assert place.file.read_text() == text + "\n"


def test_what_is_kept_is_read_and_nobody_else_reads_it(place: SecretFile) -> None:
    seal = of_keys([NEW])
    write_sealed(place, SECRET, WHAT, seal)
    octets = place.file.read_bytes()
    assert b"1//" not in octets
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert read_sealed(place, WHAT, seal) == SECRET
    write_sealed(place, SECRET, WHAT, seal)
    assert place.file.read_bytes() != octets, "another nonce each time"


@pytest.mark.parametrize(
    ("keys", "what"),
    [([OLD], WHAT), ([NEW], "the tokens of grace@example.com"), ([NEW], "something else of ada@example.com")],
    ids=["another key", "another account", "another purpose"],
)
def test_it_opens_for_what_it_was_written_for_alone(place: SecretFile, keys: list[bytes], what: str) -> None:
    write_sealed(place, SECRET, WHAT, of_keys([NEW]))
    with pytest.raises(ConfigError, match="another store's key, or for somebody else") as refused:
        read_sealed(place, what, of_keys(keys))
    assert "1//" not in str(refused.value)


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, -4), slice(20, None)])
def test_damage_is_no_token(place: SecretFile, damage: slice) -> None:
    """What is no line of ours any more is handed on as it is, and the reader of tokens refuses it."""
    write_sealed(place, SECRET, WHAT, of_keys([NEW]))
    line = place.file.read_text().strip()
    octets = line[:-1].rpartition('"octets": "')
    place.file.write_text(f"{octets[0]}{octets[1]}{octets[2][damage]}\n")
    with contextlib.suppress(ConfigError):
        assert "1//" not in read_sealed(place, WHAT, of_keys([NEW]))


def test_what_lies_open_is_enciphered_when_the_daemon_reads_it(place: SecretFile) -> None:
    lying_open(place)
    seal = of_keys([NEW])
    assert read_sealed(place, WHAT, seal) == SECRET
    assert "1//" in place.file.read_text(), "a command that looks changes nothing"
    assert read_sealed(place, WHAT, seal, tidy=True) == SECRET
    assert "1//" not in place.file.read_text()
    assert read_sealed(place, WHAT, seal) == SECRET
    assert [path.name for path in place.file.parent.iterdir()] == ["ada@example.com"]


def test_what_was_enciphered_under_an_older_key_is_so_under_this_one(place: SecretFile) -> None:
    write_sealed(place, SECRET, WHAT, of_keys([OLD]))
    assert read_sealed(place, WHAT, of_keys([NEW, OLD]), tidy=True) == SECRET
    assert read_sealed(place, WHAT, of_keys([NEW])) == SECRET


def test_where_it_cannot_be_enciphered_it_is_read_all_the_same(
    place: SecretFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ConfigError("No space left on device")

    lying_open(place)
    monkeypatch.setattr(sealed_files, "write_secret", full)
    assert read_sealed(place, WHAT, of_keys([NEW]), tidy=True) == SECRET


def test_without_the_key_it_lies_open_until_somebody_has_it(place: SecretFile) -> None:
    """As where systemd hands the key to the daemon alone, and a command writes."""
    lying_open(place)
    read_sealed(place, WHAT, NO_SEAL, tidy=True)
    assert "1//" in place.file.read_text()
    write_sealed(place, SECRET, WHAT, of_keys([NEW]))
    with pytest.raises(SealedElsewhere):
        read_sealed(place, WHAT, NO_SEAL)


def test_what_somebody_wrote_meanwhile_is_not_overwritten(place: SecretFile) -> None:
    """The daemon enciphers what it read, while `proxyd reconnect` puts something newer there."""
    seal = of_keys([NEW])
    for _ in range(20):
        lying_open(place)
        newer = threading.Thread(target=write_sealed, args=(place, "newer", WHAT, seal))
        newer.start()
        read_sealed(place, WHAT, seal, tidy=True)
        newer.join()
        assert read_sealed(place, WHAT, seal) == "newer"


def test_a_key_is_asked_for_only_where_one_is_needed(place: SecretFile) -> None:
    def none() -> list[bytes]:
        raise ConfigError("the keyring is locked")

    locked = Seal(none)
    lying_open(place)
    assert read_sealed(place, WHAT, locked, tidy=True) == SECRET
    with pytest.raises(ConfigError, match="locked"):
        write_sealed(place, SECRET, WHAT, locked)
    assert place.file.read_text() == SECRET + "\n"


def test_a_keyring_keeps_what_is_in_it_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[object, str] = {}
    monkeypatch.setattr(sealed_files, "write_secret", lambda source, text, what: kept.update({source: text}))
    monkeypatch.setattr(sealed_files, "read_secret", lambda source, what: kept[source])
    entry = KeyringEntry("ada@example.com/oauth")
    write_sealed(entry, SECRET, WHAT, of_keys([NEW]))
    assert kept == {entry: SECRET}
    assert read_sealed(entry, WHAT, of_keys([NEW]), tidy=True) == SECRET


def test_all_of_them_are_enciphered_anew(place: SecretFile, tmp_path: Path) -> None:
    """Those that are gone, lie open or are nobody's are left as they are; one that cannot be read is said."""
    write_sealed(place, SECRET, WHAT, of_keys([OLD]))
    open_one, foreign, gone = (SecretFile(file=tmp_path / name) for name in ("open", "foreign", "gone"))
    lying_open(open_one)
    write_sealed(foreign, SECRET, WHAT, of_keys([b"f" * 32]))
    before = foreign.file.read_bytes()
    files = [each.file for each in (place, open_one, foreign, gone)]
    seal_anew(files, of_keys([NEW, OLD]))
    assert read_sealed(place, WHAT, of_keys([NEW])) == SECRET
    assert (open_one.file.read_text(), foreign.file.read_bytes(), gone.file.exists()) == (SECRET + "\n", before, False)
    place.file.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        seal_anew(files, of_keys([OLD, NEW]))


def test_what_a_killed_writer_left_beside_it_goes(place: SecretFile) -> None:
    lying_open(place)
    left = [place.file.with_name(f".{place.file.name}.{end}") for end in ("abc_1234", "x2345678")]
    others = [place.file.with_name(name) for name in (".ada@example.com.lock", ".grace@example.com.abc_1234")]
    for path in (*left, *others):
        path.write_text(SECRET)
    read_sealed(place, WHAT, of_keys([NEW]), tidy=True)
    assert [path.exists() for path in (*left, *others)] == [False, False, True, True]
