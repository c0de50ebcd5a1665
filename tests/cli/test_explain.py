from __future__ import annotations

from pathlib import Path

from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import GRACE, message
from tests.web.served import served


def test_an_id_of_which_nothing_is_known(tmp_path: Path) -> None:
    seen = typed("explain", "x@y", "--json", folder=tmp_path)
    assert seen.code == 1
    assert seen.json == {
        "message_id": "x@y",
        "logged": False,
        "because": "nothing is known of 'x@y': it did not go through proxyd, and answers nothing logged",
        "at": None,
        "steps": [],
    }
    assert "nothing is known of 'x@y'" in seen.err


@on_the_loop
async def test_a_known_id_is_explained(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        await s.desk.begin(message())
        seen = await typed_beside("explain", "<m1@example.test>", folder=tmp_path)
        assert seen.code == 0
        assert f"logged, because recipient {GRACE} is a contact" in " ".join(seen.out.split())
        told = await typed_beside("explain", "m1@example.test", "--json", folder=tmp_path)
        assert set(told.json) >= {"message_id", "logged", "because", "at", "steps"}
        assert set(told.json["steps"][0]) == {"at", "what", "detail"}
        assert (await typed_beside("explain", "else@example.test", folder=tmp_path)).code == 1
