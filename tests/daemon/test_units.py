"""The units, as systemd's own tools judge them without a running systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers  # it needs one of Debian's packages, as they do

UNITS = Path(__file__).parents[2] / "systemd"
MOST = 1.3


def analyze(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder), "SYSTEMD_LOG_COLOR": "0"}
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The shipped units, with a program in them that this machine has, and the user that sysusers would make."""
    laid = tmp_path / "units"
    laid.mkdir()
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.socket"), *(UNITS / "user").iterdir()]:
        text = re.sub(r"(/usr/bin|%h/\.local/bin)/proxyd", shutil.which("true") or "", path.read_text())
        text = text.replace("User=proxyd", "User=daemon").replace("Group=proxyd", "Group=daemon")
        (laid / (f"user-{path.name}" if path.parent.name == "user" else path.name)).write_text(text)
    return laid


def test_how_exposed_the_service_is(tmp_path: Path) -> None:
    judged = analyze("security", "--offline=true", UNITS / "proxyd.service", folder=tmp_path)
    found = re.search(r"exposure level for proxyd\.service: ([0-9.]+)", judged.stdout)
    assert found is not None, judged.stderr
    assert float(found[1]) <= MOST, judged.stdout


def test_nothing_in_the_units_is_misspelled(units: Path) -> None:
    judged = analyze("verify", "--man=no", *units.glob("proxyd*"), folder=units)
    assert (judged.returncode, judged.stderr) == (0, "")
    judged = analyze("verify", "--man=no", "--user", units / "user-proxyd.service", folder=units)
    assert judged.returncode == 0, judged.stderr


def test_each_listener_has_its_socket() -> None:
    from proxyd.config import Listen

    for name in Listen.model_fields:
        text = (UNITS / f"proxyd-{name}.socket").read_text()
        endpoint = getattr(Listen(), name)
        assert f"FileDescriptorName={name}\n" in text
        assert f"ListenStream=127.0.0.1:{endpoint.port}\n" in text
        assert f"proxyd-{name}.socket" in (UNITS / "proxyd.service").read_text()


def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    users = UNITS / "proxyd.sysusers"
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", users], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert re.search(r"^proxyd:.*:/var/lib/proxyd:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    folders = UNITS / "proxyd.tmpfiles"
    made = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", folders], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "etc/proxyd/accounts.d").is_dir()
    assert oct((tmp_path / "var/lib/proxyd").stat().st_mode & 0o777) == "0o700"
