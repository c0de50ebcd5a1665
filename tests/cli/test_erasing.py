"""`proxyd export` and `proxyd forget`, with a daemon and without one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import GRACE, message
from tests.store.test_search import log
from tests.web.served import served


@on_the_loop
async def test_a_contact_is_handed_over_and_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await log(s.desk, message())
        file = tmp_path / "grace.mbox"
        written = await typed_beside("export", GRACE, "--format", "mbox", "--output", str(file), folder=tmp_path)
        assert (written.code, file.stat().st_mode & 0o777) == (0, 0o600)
        assert file.read_bytes().startswith(b"From ada@example.test ")
        shown = await typed_beside("export", GRACE, "--format", "json", folder=tmp_path)
        assert json.loads(shown.out)["contact"]["email"] == GRACE
        gone = await typed_beside("forget", GRACE, "--yes", folder=tmp_path)
        assert ": 1 message erased, of ada@example.test." in gone.out
        reports = await typed_beside("forget", "--reports", GRACE, "--json", folder=tmp_path)
        assert [each["messages"] for each in reports.json["erasures"]] == [1]


def test_without_a_daemon_too(tmp_path: Path) -> None:
    assert typed("forget", folder=tmp_path).code == 2
    assert typed("forget", GRACE, "--yes", "--json", folder=tmp_path).json["messages"] == 0
    assert typed("export", GRACE, "--format", "json", folder=tmp_path).json == {"contact": None, "messages": []}
