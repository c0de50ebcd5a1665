"""An adapter that is a package of its own: found by its entry point, its options as strict as ours."""

from __future__ import annotations

import email
import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from proxyd.config import ConfigErrors, load
from proxyd.crm.adapter import VERSION
from proxyd.crm.known import adapter_class
from proxyd.errors import ConfigError
from tests.crm.delivering import letter, scene
from tests.looping import on_the_loop
from tests.rigged import ACCOUNT

EXAMPLE = Path(__file__).parent / "example"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, module: str | None = None) -> None:
    """What pip makes of the example: its module and its dist-info, on the path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    site = folder / "site-packages"
    info = site / f"{name}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["proxyd.crm"].items()
    (info / "entry_points.txt").write_text("[proxyd.crm]\n" + "".join(f"{key} = {value}\n" for key, value in points))
    shutil.copy(EXAMPLE / "proxyd_crm_folder.py", site)
    if module is not None:
        (site / "proxyd_crm_folder.py").write_text(module)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "proxyd_crm_folder", raising=False)
    importlib.invalidate_caches()


def refused(folder: Path, crm: str) -> str:
    config = folder / "config"
    (config / "accounts.d").mkdir(parents=True)
    (config / "accounts.d/ada.yaml").write_text(ACCOUNT + crm)
    with pytest.raises(ConfigErrors) as errors:
        load(config)
    return str(errors.value).replace(f"{config}/", "")


@on_the_loop
async def test_it_delivers(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    async with scene(tmp_path, "folder: {path: mails}") as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        written = email.message_from_bytes((tmp_path / "config/mails" / f"{id}.eml").read_bytes())
        assert written["Message-ID"] == "<m1@example.test>"
        assert s.timeline()[0]["crm"] == [{"name": "folder", "state": "delivered", "remote_id": id}]


def test_its_options_are_checked_with_file_and_line(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    told = refused(tmp_path, "crm:\n  - local\n  - folder: {pat: mails, suffix: 7}\n")
    assert "ada.yaml:10:14: " in told
    assert 'the key "pat" is unknown in crm, entry 2.folder (did you mean "path"?)' in told
    assert "crm, entry 2.folder.suffix" in told
    assert "the key crm, entry 2.folder.path is missing" in told


def test_without_the_package_there_is_no_such_adapter(tmp_path):
    assert "it may be in a package that is not installed" in refused(tmp_path, "crm: [{folder: {path: mails}}]\n")
    with pytest.raises(ConfigError, match="no longer installed"):
        adapter_class("folder")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import nothing_of_this_name", "cannot be loaded: ModuleNotFoundError"),
        ("class Folder:\n    Options = dict", "an adapter whose Options"),
    ],
    ids=["it does not import", "other options"],
)
def test_a_broken_package_is_said_where_it_is_named(tmp_path, monkeypatch, module, words):
    install(tmp_path, monkeypatch, module=module)
    assert words in refused(tmp_path, "crm: [{folder: {path: mails}}]\n")


def test_the_interface_has_a_version() -> None:
    assert VERSION == 1
