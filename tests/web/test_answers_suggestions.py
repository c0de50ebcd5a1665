"""Whose suggestions are shown and decided on by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.web import answers_suggestions
from proxyd.web.viewer import OWNER, May, Viewer
from tests.cli.test_suggestions import suggested
from tests.looping import on_the_loop
from tests.rigged import ADA
from tests.web.served import served

COLLEAGUE = Viewer("mary@example.test", frozenset({ADA, "mary@example.test"}), May.SEND)
HERSELF = Viewer(ADA, frozenset({ADA}), May.SEND)


@pytest.mark.parametrize(("viewer", "sees"), [(OWNER, 1), (HERSELF, 1), (COLLEAGUE, 0)], ids=["owner", "ada", "mary"])
@on_the_loop
async def test_mail_that_is_not_logged_is_its_persons_alone(tmp_path: Path, viewer: Viewer, sees: int) -> None:
    async with served(tmp_path) as s:
        await suggested(s, 1)
        database, now = s.desk.database, s.desk.clock.now()
        (there,) = answers_suggestions.listed(database)["suggestions"]
        assert len(answers_suggestions.listed(database, None, viewer)["suggestions"]) == sees
        assert len(answers_suggestions.listed(database, ADA, viewer)["suggestions"]) == sees
        assert answers_suggestions.listed(database, "else@example.test", viewer)["suggestions"] == []
        assert (answers_suggestions.refuse(database, there["id"], now, viewer) is not None) is bool(sees)


@on_the_loop
async def test_it_is_decided_once_and_what_nobody_decides_goes(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await suggested(s, 1, 2)
        one, other = answers_suggestions.listed(s.desk.database)["suggestions"]
        assert answers_suggestions.accept(s.desk.database, one["id"]) is not None
        assert answers_suggestions.accept(s.desk.database, one["id"]) is None
        await s.desk.clock.advance(61 * 24 * 3600)
        await s.desk.journal.tidy()
        assert answers_suggestions.listed(s.desk.database)["suggestions"] == []
        assert [each.id for each in await s.desk.journal.suggestions.waiting(ADA)] == [one["id"]]
        assert other["id"] != one["id"]
