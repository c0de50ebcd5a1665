"""`proxyd search` beside a daemon and without one."""

from __future__ import annotations

from pathlib import Path

from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import message
from tests.store.test_search import log
from tests.web.served import served


@on_the_loop
async def test_what_is_found_is_shown(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        (id,) = await log(s.desk, message(body="words " * 100 + "the turbine\r\n"))
        seen = await typed_beside("search", "turbine", "from:ada", "--json", folder=tmp_path)
        (one,) = seen.json["messages"]
        assert (one["id"], "the turbine" in one["excerpt"]) == (id, True)
        shown = await typed_beside("search", "turbine", folder=tmp_path, width=120)
        assert "turbine" in shown.out
        nothing = await typed_beside("search", "nothing of this", folder=tmp_path)
        assert (nothing.code, nothing.out) == (0, "Nothing that is logged says this.\n")


def test_without_a_daemon_the_store_is_asked(tmp_path: Path) -> None:
    assert typed("search", "turbine", "--json", folder=tmp_path).json == {"messages": [], "next": None}
