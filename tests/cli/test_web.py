"""`proxyd web`."""

from __future__ import annotations

from pathlib import Path

from proxyd.cli import web as command
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.web.served import served


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    seen = typed("web", folder=tmp_path)
    assert (seen.code, seen.out) == (1, "")
    assert "proxyd run" in seen.err


@on_the_loop
async def test_the_link_alone_is_printed(tmp_path: Path) -> None:
    async with served(tmp_path):
        seen = await typed_beside("web", folder=tmp_path)
        assert (seen.code, seen.out) == (0, "http://localhost/login?link=for-None\n")
        seen = await typed_beside("web", "--account", "ada@example.test", "--json", folder=tmp_path)
        assert seen.json == {"url": "http://localhost/login?link=for-ada@example.test"}


@on_the_loop
async def test_a_browser_is_opened_by_a_file_of_ours_and_not_by_a_command_that_all_can_read(tmp_path: Path) -> None:
    opened: list[str] = []
    before, command.click.launch = command.click.launch, lambda path: opened.append(path) or 0
    try:
        async with served(tmp_path):
            seen = await typed_beside("web", "--open", folder=tmp_path)
    finally:
        command.click.launch = before
    assert seen.code == 0
    (path,) = map(Path, opened)
    assert path.stat().st_mode & 0o777 == 0o600
    assert 'url=http://localhost/login?link=for-None"' in path.read_text()
