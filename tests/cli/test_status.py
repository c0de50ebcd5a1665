from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from proxyd.cli.status import _concerns, all_well
from proxyd.model import HealthCause, HealthEvent, LookedFor, SendUnknown
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, message
from tests.web.served import served


def test_without_a_daemon(tmp_path: Path) -> None:
    seen = typed("status", "--json", folder=tmp_path)
    assert (seen.code, seen.json) == (69, {"daemon": None, "accounts": []})
    assert seen.err.startswith("proxyd: the daemon is not running")


def test_a_socket_that_a_killed_daemon_left_behind_is_no_daemon(tmp_path: Path) -> None:
    typed("check", folder=tmp_path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "data/control.sock"))
    assert typed("status", folder=tmp_path).code == 69
    assert typed("reload", folder=tmp_path).code == 69
    assert typed("timeline", "--json", folder=tmp_path).json == {"messages": [], "next": None}


@on_the_loop
async def test_all_well(tmp_path: Path) -> None:
    async with served(tmp_path):
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 0
        assert ADA in seen.out
        assert "connected" in seen.out
        assert "smtp on 127.0.0.1:1587" in seen.out
        assert len(seen.out.strip().splitlines()) == 4  # nothing is said of an account that is well
        document = (await typed_beside("status", "--json", folder=tmp_path)).json
        assert set(document["daemon"]) >= {"version", "uptime", "listening"}
        assert set(document["accounts"][0]["waiting"]) == {"sent_copies", "crm", "spool"}


@on_the_loop
async def test_an_account_in_trouble_is_told_with_the_servers_words_and_the_cure(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.event = HealthEvent(HealthCause.MISCONFIGURED, "IMAP", "certificate verify failed")
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 1
        assert f"{ADA}: The server's certificate for IMAP is not to be trusted" in seen.out
        assert "certificate verify failed" in " ".join(seen.out.split())
        (account,) = (await typed_beside("status", "--json", folder=tmp_path)).json["accounts"]
        assert (account["state"], account["evidence"]) == ("misconfigured", "certificate verify failed")


@on_the_loop
async def test_mail_of_unknown_outcome_needs_a_person(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        begun = await s.desk.begin(message())
        await s.desk.journal.record(SendUnknown(begun.id, "the connection was lost", s.desk.clock.now()))
        await s.desk.journal.record(LookedFor(begun.id, "Sent", s.desk.clock.now()))
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 1
        assert "proxyd settle '<m1@example.test>'" in " ".join(seen.out.split())


@on_the_loop
async def test_a_configuration_that_was_not_taken_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.config_problem = "proxyd.yaml:1:1: [no]"
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 1
        assert "proxyd.yaml:1:1: [no]" in seen.out


@on_the_loop
async def test_a_port_that_somebody_else_has_is_told(tmp_path: Path) -> None:
    why = "listen.smtps: cannot listen on 127.0.0.1:1465: Address already in use"
    async with served(tmp_path) as s:
        s.not_listening = {"smtps": why}
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 1
        assert why in " ".join(seen.out.split())
        seen = await typed_beside("status", "--json", folder=tmp_path)
        assert seen.json["daemon"]["not_listening"] == {"smtps": why}


@on_the_loop
async def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.no_room = "Only 3 MB are free where the records lie (/var/lib/proxyd); without room no mail can be taken."
        seen = await typed_beside("status", folder=tmp_path)
        assert seen.code == 1
        assert s.no_room in " ".join(seen.out.split())


@pytest.mark.parametrize(
    ("state", "well"),
    [
        ("connected", True),
        ("connecting", True),
        ("unreachable", False),
        ("throttled", False),
        ("password_refused", False),
        ("access_revoked", False),
        ("misconfigured", False),
    ],
)
def test_what_is_well(state: str, well: bool) -> None:
    document: dict[str, Any] = {"daemon": {"config_problem": None}, "accounts": [{"state": state, "unknown": []}]}
    assert all_well(document) is well


@pytest.mark.parametrize(
    ("watching", "told"),
    [("all the time", []), ("paused: 13 client connections", ["watching the mailbox: paused: 13 client connections"])],
)
def test_a_watcher_that_gave_way_is_told(watching: str, told: list[str]) -> None:
    assert _concerns({"state": "connected", "evidence": "", "watching": watching}) == told


@on_the_loop
async def test_reload_tells_the_problems(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        seen = await typed_beside("reload", folder=tmp_path)
        assert (seen.code, seen.out) == (0, "The new settings are in force.\n")
        s.problems.append("proxyd.yaml:1:1: no")
        seen = await typed_beside("reload", folder=tmp_path)
        assert (seen.code, seen.out) == (78, "proxyd.yaml:1:1: no\n")
