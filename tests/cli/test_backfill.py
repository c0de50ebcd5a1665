"""`proxyd backfill` as it is typed, beside a control socket whose watcher is played."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from proxyd.cli.backfill import _pace
from proxyd.cli.daemon_link import DaemonLink
from proxyd.cli.status import _earlier
from tests.cli.typed import Typed, typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA
from tests.web.served import Served, served


async def beside(s: Served, folder: Path, *words: str, state: str) -> Typed:
    """The command, while what it asks for comes to this end."""
    command = asyncio.ensure_future(typed_beside("backfill", *words, folder=folder))
    backfills, dry_run = s.desk.journal.backfills, "--dry-run" in words
    try:
        async with asyncio.timeout(60):
            while (going := await backfills.get(ADA, dry_run)) is None or going.state != "asked":
                assert not command.done(), command.result()
                await asyncio.sleep(0.01)
        going = replace(going, total=100, read=100, incoming=3, outgoing=2, logged=4, seconds=10.0, state=state)
        await backfills.progress(replace(going, state="running", read=40))
        await backfills.progress(going)
        return await command
    finally:
        command.cancel()


@on_the_loop
async def test_it_is_watched_to_its_end(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        seen = await beside(s, tmp_path, ADA, "--since", "2026-08-25", state="done")
        assert seen.code == 0, seen
        said = " ".join(seen.out.split())
        assert said.startswith("2026-08-25 to ")
        assert said.endswith("3 received and 2 sent with contacts, of 100 messages; 4 of them are new in the log.")
        going = await s.desk.journal.backfills.get(ADA, False)
        assert going is not None
        assert going.since == date(2026, 8, 25)


@on_the_loop
async def test_one_json_document(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        seen = await beside(s, tmp_path, ADA.upper(), "--since", "30d", "--dry-run", "--json", state="done")
        document = seen.json
        assert (document["state"], document["dry_run"], document["read"]) == ("done", True, 100)
        assert document["found"] == {"incoming": 3, "outgoing": 2}
        assert document["rate"] == 10.0


@on_the_loop
async def test_stopped_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        seen = await beside(s, tmp_path, ADA, "--since", "2w", state="stopped")
        assert seen.code == 1
        assert "the same command once more" in " ".join(seen.out.split())


@on_the_loop
async def test_ctrl_c_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DaemonLink, "backfill", pressed)
    async with served(tmp_path) as s:
        seen = await typed_beside("backfill", ADA, "--since", "90d", "--json", folder=tmp_path)
        assert (seen.code, seen.json["state"]) == (1, "stopped")
        going = await s.desk.journal.backfills.get(ADA, False)
        assert going is not None
        assert going.state == "stopped"


@pytest.mark.parametrize(("since", "why"), [("90", "neither"), ("soon", "neither"), ("2999-01-01", "has not come yet")])
def test_spans_that_are_none(tmp_path: Path, since: str, why: str) -> None:
    seen = typed("backfill", ADA, "--since", since, folder=tmp_path)
    assert seen.code == 2
    assert why in seen.err


def test_without_a_daemon(tmp_path: Path) -> None:
    seen = typed("backfill", ADA, "--since", "90d", folder=tmp_path)
    assert (seen.code, seen.out) == (69, "")
    assert "not running" in seen.err


@on_the_loop
async def test_an_account_that_is_none(tmp_path: Path) -> None:
    async with served(tmp_path):
        seen = await typed_beside("backfill", "eve@example.test", "--since", "90d", folder=tmp_path)
        assert seen.code == 1
        assert f"there are: {ADA}" in seen.err


def test_help_says_what_is_read(tmp_path: Path) -> None:
    said = " ".join(typed("backfill", "--help", folder=tmp_path).out.split())
    assert "the fields From, Sender, To, Cc, Date and those that hold ids" in said
    assert "Nothing is marked read" in said


@pytest.mark.parametrize(
    ("going", "words"),
    [
        ({}, "0 received and 0 sent with contacts"),
        ({"rate": 12.4, "remaining": 130}, "0 received and 0 sent with contacts, 12/s, 2 minutes left"),
        ({"waits_for": "the mail clients need the connections"}, "waits: the mail clients need the connections"),
    ],
)
def test_the_bar_says_rate_and_time(going: dict[str, object], words: str) -> None:
    usual = {"waits_for": None, "rate": 0.0, "remaining": None, "found": {"incoming": 0, "outgoing": 0}}
    assert _pace(usual | going) == words


LONG_AGO, LATER = "2026-01-01T10:00:00Z", "2026-02-01T10:00:00Z"


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({}, None),
        ({"read_from": LONG_AGO}, None),
        ({"read_from": "2999-01-01T10:00:00Z"}, "the mailbox is read from"),
        ({"read_from": LONG_AGO, "positions_lost": LONG_AGO}, "how far it was read is lost"),
        ({"read_from": LONG_AGO, "positions_lost": LONG_AGO, "backfill": {"state": "done", "asked_at": LATER}}, None),
        (
            {"read_from": LATER, "positions_lost": LATER, "backfill": {"state": "done", "asked_at": LONG_AGO}},
            "--since 90d",
        ),
        (
            {"backfill": {"state": "running", "since": "2026-01-01", "read": 3, "total": 9, "waits_for": None}},
            "3 of 9 messages",
        ),
    ],
    ids=["not looked at yet", "long known", "new", "lost", "lost and made up for", "lost again", "under way"],
)
def test_status_says_what_is_not_read(account: dict[str, object], words: str | None) -> None:
    said = _earlier({"address": ADA, **account})
    assert said == words if words is None else words in (said or "")
