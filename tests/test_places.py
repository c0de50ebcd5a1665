"""Where the folders are: the table of places, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyd import places
from proxyd.errors import ConfigError
from proxyd.places import Places, find_places, is_system_service

HOME = {"HOME": "/home/ada"}
XDG = HOME | {"XDG_CONFIG_HOME": "/x/config", "XDG_DATA_HOME": "/x/data", "XDG_RUNTIME_DIR": "/run/user/1000"}
SYSTEM = XDG | {"STATE_DIRECTORY": "/var/lib/proxyd", "RUNTIME_DIRECTORY": "/run/proxyd"}


@pytest.mark.parametrize(
    ("env", "config", "data", "runtime"),
    [
        pytest.param(
            HOME,
            "/home/ada/.config/proxyd",
            "/home/ada/.local/share/proxyd",
            "/home/ada/.local/share/proxyd",
            id="by hand, nothing set",
        ),
        pytest.param(XDG, "/x/config/proxyd", "/x/data/proxyd", "/run/user/1000/proxyd", id="a desktop session"),
        pytest.param(
            HOME | {"XDG_CONFIG_HOME": "relative", "XDG_RUNTIME_DIR": ""},
            "/home/ada/.config/proxyd",
            "/home/ada/.local/share/proxyd",
            "/home/ada/.local/share/proxyd",
            id="relative and empty ones are ignored",
        ),
        pytest.param(SYSTEM, "/etc/proxyd", "/var/lib/proxyd", "/run/proxyd", id="the system service"),
        pytest.param(
            {"STATE_DIRECTORY": "/var/lib/proxyd:/var/lib/other"},
            "/etc/proxyd",
            "/var/lib/proxyd",
            "/var/lib/proxyd",
            id="a system service without a runtime folder",
        ),
        pytest.param(
            XDG | {"PROXYD_DATA": "/d"}, "/x/config/proxyd", "/d", "/d", id="with PROXYD_DATA the socket lies there"
        ),
        pytest.param(SYSTEM | {"PROXYD_CONFIG": "/"}, "/", "/var/lib/proxyd", "/run/proxyd", id="PROXYD_CONFIG"),
    ],
)
def test_the_table(env: dict[str, str], config: str, data: str, runtime: str) -> None:
    places = find_places(env=env)
    assert places == Places(Path(config), Path(data), Path(runtime))
    assert places.control_socket == Path(runtime) / "control.sock"


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    env = SYSTEM | {"PROXYD_CONFIG": "/etc", "PROXYD_DATA": "/d"}
    assert find_places(tmp_path, tmp_path / "data", env=env) == Places(tmp_path, tmp_path / "data", tmp_path / "data")


def test_relative_folders_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_places(Path(), Path("data"), env={}) == Places(tmp_path, tmp_path / "data", tmp_path / "data")


def test_a_named_configuration_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"folder '.*typo' is missing"):
        find_places(tmp_path / "typo", env=HOME)


@pytest.mark.parametrize(
    ("env", "system"),
    [(XDG, False), (SYSTEM, True), (SYSTEM | {"PROXYD_DATA": "/d"}, True), ({"STATE_DIRECTORY": ""}, False)],
    ids=["a desktop session", "the system service", "with another data folder", "empty"],
)
def test_whether_it_is_the_system_service(env: dict[str, str], system: bool) -> None:
    assert is_system_service(env) is system


def test_who_administers_the_service_finds_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Places(tmp_path / "etc", tmp_path / "lib", tmp_path / "run")
    monkeypatch.setattr(places, "SERVICE", service)
    env = {"HOME": str(tmp_path / "home")}
    assert find_places(env=env).config == tmp_path / "home/.config/proxyd", "there is no service"
    service.config.mkdir()
    service.data.mkdir()
    assert find_places(env=env) == service
    assert find_places(tmp_path, env=env).config == tmp_path, "what is named wins"
    (tmp_path / "home/.config/proxyd").mkdir(parents=True)
    assert find_places(env=env).config == tmp_path / "home/.config/proxyd", "and so does one's own"


def test_a_data_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the data folder .*file/data cannot be made: Not a directory"):
        find_places(tmp_path, tmp_path / "file/data", env={}).make_data()
    there = find_places(tmp_path, tmp_path / "data", env={})
    there.make_data()
    assert there.data.stat().st_mode & 0o777 == 0o700
    there.make_data()
