from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxyd.cli.timeline import copy_words, size
from proxyd.model import Sent, SmtpReply
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served

REPLY = SmtpReply(250, ("OK",))


async def sent(s: Served) -> None:
    await s.desk.add_contact(GRACE)
    begun = await s.desk.begin(message("Offer [/] for :you:\x1b[31m"))
    await s.desk.journal.record(Sent(begun.id, REPLY, s.desk.clock.now()))


def test_nothing_is_logged_yet(tmp_path: Path) -> None:
    assert typed("timeline", folder=tmp_path).out == "Nothing is logged yet.\n"
    assert typed("timeline", GRACE, folder=tmp_path).out == f"Nothing is logged with {GRACE} yet.\n"
    assert typed("timeline", "--json", folder=tmp_path).json == {"messages": [], "next": None}


@on_the_loop
async def test_the_daemon_and_the_store_tell_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await sent(s)
        told = await typed_beside("timeline", GRACE, "--json", folder=tmp_path)
        assert [each["direction"] for each in told.json["messages"]] == ["outgoing"]
        (tmp_path / "data/control.sock").rename(tmp_path / "data/away.sock")
        # the store of these tests has a key of its own, which the file beside it names
        (tmp_path / "data/store.key").unlink(missing_ok=True)
        key = tmp_path / "data/store.key"
        key.touch(mode=0o600)
        key.write_text(bytes(range(32)).hex())
        assert await typed_beside("timeline", GRACE, "--json", folder=tmp_path) == told
        nobody = await typed_beside("timeline", "--account", "else@example.test", "--json", folder=tmp_path)
        assert nobody.json == {"messages": [], "next": None}
        (tmp_path / "data/away.sock").rename(tmp_path / "data/control.sock")


@pytest.mark.parametrize("width", [40, 80, 200])
@on_the_loop
async def test_the_table_fits_the_terminal_and_hides_nothing(tmp_path: Path, width: int) -> None:
    async with served(tmp_path) as s:
        await sent(s)
        while not (await typed_beside("timeline", "--json", folder=tmp_path)).json["messages"][0]["text"]:
            pass  # it is read a moment after it was logged
        seen = await typed_beside("timeline", folder=tmp_path, width=width)
        assert seen.code == 0
        assert max(map(len, seen.out.splitlines())) <= width
        assert "\x1b" not in seen.out
        packed = "".join(seen.out.split())
        for word in ("Offer", "[/]", ":you:", "sent", "Grace"):
            assert word in packed
        if width > 60:
            assert ADA not in seen.out  # whose mailbox it is, the person knows


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        ({"state": "present", "folder": "Sent", "by": "client", "copies": 1}, "in Sent, by client"),
        ({"state": "present", "folder": "Sent", "by": "client", "copies": 2}, "in Sent, by client (2 copies)"),
        ({"state": "waiting"}, "Sent copy waiting"),
        ({"state": "failed"}, "Sent copy failed"),
        ({"state": "not_wanted"}, "no Sent copy wanted"),
    ],
)
def test_a_sent_copy_in_words(copy: dict[str, Any], words: str) -> None:
    assert copy_words(copy) == words


@pytest.mark.parametrize(("octets", "words"), [(0, "0 B"), (999, "999 B"), (48213, "48 kB"), (2_500_000, "2.5 MB")])
def test_a_size_in_words(octets: int, words: str) -> None:
    assert size(octets) == words
