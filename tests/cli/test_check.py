from __future__ import annotations

from pathlib import Path

from tests.cli.typed import typed
from tests.rigged import account


def test_every_problem_is_printed_where_it_is(tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "accounts.d").mkdir(parents=True)
    (config / "proxyd.yaml").write_text("listen:\n  smpt: off\n")
    (config / "accounts.d/ada.yaml").write_text("address: ada\n")
    seen = typed("check", folder=tmp_path)
    assert seen.code == 78
    lines = seen.out.splitlines()
    assert any(line.startswith(f"{config / 'proxyd.yaml'}:2:3: ") for line in lines)
    assert any(line.startswith(f"{config / 'accounts.d/ada.yaml'}:1:") for line in lines)
    assert seen.err == ""


def test_all_well_is_said_in_a_word(tmp_path: Path) -> None:
    account(tmp_path)
    seen = typed("check", folder=tmp_path)
    assert (seen.code, seen.out) == (0, "1 account, all well\n")


def test_where_the_first_account_goes(tmp_path: Path) -> None:
    seen = typed("check", folder=tmp_path)
    assert (seen.code, str(tmp_path / "config/accounts.d") in seen.out) == (0, True)
