"""A mail of which nobody knew whether it went, and the person's word on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.model import LookedFor, SendUnknown
from proxyd.store import tables
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Served]:
    """Ada wrote to a contact, and the connection broke."""
    async with served(folder) as s:
        await s.desk.add_contact(GRACE)
        await unknown(s, 1)
        s.listening = dict.fromkeys(("smtp", "smtps", "imap", "imaps", "web"), "127.0.0.1:1")
        yield s


async def unknown(s: Served, n: int) -> str:
    begun: Any = await s.desk.begin(message(id=f"m{n}@example.test"))
    await s.desk.journal.record(SendUnknown(begun.id, "the connection was lost", s.desk.clock.now()))
    await s.desk.journal.record(LookedFor(begun.id, "Sent", s.desk.clock.now()))
    return str(begun.id)


@pytest.mark.parametrize(("word", "state"), [("--sent", "sent"), ("--not-sent", "refused")])
@on_the_loop
async def test_the_cure_that_doctor_names_cures(tmp_path: Path, word: str, state: str) -> None:
    async with scene(tmp_path) as s:
        doctor = await typed_beside("doctor", "--json", folder=tmp_path)
        (found,) = [each for each in doctor.json["findings"] if each["kind"] == "unknown outcome"]
        assert found["cure"] == "proxyd settle '<m1@example.test>'"
        assert "Ask its recipient" in found["what"]
        asked = await typed_beside("settle", "<m1@example.test>", folder=tmp_path)
        assert (asked.code, "answer by --sent or --not-sent" in asked.err) == (1, True), "nobody is at a terminal"
        done = await typed_beside("settle", "<m1@example.test>", word, "--json", folder=tmp_path)
        assert (done.code, done.json["state"]) == (0, state)
        assert (await typed_beside("status", folder=tmp_path)).code == 0
        doctor = await typed_beside("doctor", "--json", folder=tmp_path)
        assert "unknown outcome" not in [each["kind"] for each in doctor.json["findings"]]
        (logged,) = s.desk.timeline()
        assert logged["state"] == state
        assert [each["name"] for each in logged["crm"]] == (["local"] if state == "sent" else [])
        assert [each["state"] for each in s.desk.rows(tables.sent_copies)] == (["waiting"] if state == "sent" else [])
        again = await typed_beside("settle", "<m1@example.test>", "--sent", folder=tmp_path)
        assert (again.code, "no mail whose outcome is unknown" in again.err) == (1, True), "said once"
        assert len(s.desk.rows(tables.sent_copies)) == (state == "sent")


@on_the_loop
async def test_by_the_id_that_status_tells_and_never_for_a_colleague(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        id = await unknown(s, 2)
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        async with await s.token("bob", "bob@example.test") as bob:
            tried = await bob.post("/api/v1/outcomes", json={"message_id": "m1@example.test", "sent": True})
            assert tried.status_code == 422
        done = await typed_beside("settle", id[-8:].lower(), "--not-sent", folder=tmp_path)
        assert done.out == "It counts as not sent: send it again.\n"
        assert sorted(each["state"] for each in s.desk.timeline()) == ["refused", "unknown"]


def test_without_a_daemon(tmp_path: Path) -> None:
    seen = typed("settle", "m1@example.test", "--sent", folder=tmp_path)
    assert (seen.code, "not running" in seen.err) == (1, True)
