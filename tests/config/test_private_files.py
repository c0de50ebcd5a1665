"""Files that hold a secret: whole or not at all, and never readable by others, not for a moment."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxyd.config.private_files import create_private, open_private, open_regular, replace_private
from proxyd.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_one_of_many_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create_private(path, f"{n}".encode()), range(32)))
    assert sum(made) == 1
    assert path.read_bytes() == str(made.index(True)).encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_mode_is_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_private(tmp_path / "folder/key", b"x")
        replace_private(tmp_path / "folder/other", b"y")
    finally:
        os.umask(before)
    assert mode(tmp_path / "folder/key") == mode(tmp_path / "folder/other") == 0o600
    assert mode(tmp_path / "folder") == 0o700


def test_replacing_makes_a_readable_file_private(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "key").chmod(0o644)
    replace_private(tmp_path / "key", b"new")
    with open_private(tmp_path / "key") as file:
        assert file.read() == b"new"


def test_a_folder_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_private(tmp_path / "key", b"new")
    assert not create_private(tmp_path / "key", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("path", ["/dev/null", "/", "a\0b", "/no/such"])
def test_what_is_no_regular_file(path: str) -> None:
    with pytest.raises(ConfigError):
        open_regular(Path(path))


def test_the_folders_on_the_way_are_as_private(tmp_path: Path) -> None:
    """The first secret may be what makes the whole place: `proxyd connect` keeps tokens before any daemon ran."""
    create_private(tmp_path / "share/proxyd/tokens/ada", b"x")
    modes = {(tmp_path / each).stat().st_mode & 0o777 for each in ("share", "share/proxyd", "share/proxyd/tokens")}
    assert modes == {0o700}
