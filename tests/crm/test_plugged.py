"""An adapter that is a package of its own: found by its entry point, its options as strict as ours."""

from __future__ import annotations

import email
import importlib
import os
import re
import shutil
import subprocess
import sys
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


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the example."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # pip builds beside the source
    site = folder / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--target", str(site), str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return site


def install(packages: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, module: str | None = None) -> None:
    """It is on the path, with another `module` where one is given."""
    site = folder / "site-packages"
    shutil.copytree(packages, site)
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
async def test_it_delivers(packages, tmp_path, monkeypatch):
    install(packages, tmp_path, monkeypatch)
    async with scene(tmp_path, "folder: {path: mails}") as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        written = email.message_from_bytes((tmp_path / "config/mails" / f"{id}.eml").read_bytes())
        assert written["Message-ID"] == "<m1@example.test>"
        assert s.timeline()[0]["crm"] == [{"name": "folder", "state": "delivered", "remote_id": id}]


def test_its_options_are_checked_with_file_and_line(packages, tmp_path, monkeypatch):
    install(packages, tmp_path, monkeypatch)
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
def test_a_broken_package_is_said_where_it_is_named(packages, tmp_path, monkeypatch, module, words):
    install(packages, tmp_path, monkeypatch, module=module)
    assert words in refused(tmp_path, "crm: [{folder: {path: mails}}]\n")


def test_the_interface_has_a_version() -> None:
    assert VERSION == 1


def test_its_own_test_is_run_where_it_is_installed(packages, tmp_path):
    """As its author does: the adapter is found by its entry point, and comes through the storm."""
    shutil.copy(EXAMPLE / "test_folder.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_folder.py"]
    environment = {**os.environ, "PYTHONPATH": f"{packages}:{EXAMPLE.parents[2]}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_documentation_shows_it_as_it_is() -> None:
    page = (EXAMPLE.parents[2] / "docs/adapters.md").read_text()
    shown = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL))
    assert set(shown) == {"pyproject.toml", "proxyd_crm_folder.py", "test_folder.py"}
    for name, text in shown.items():
        assert (EXAMPLE / name).read_text() == text, name
