"""The adapter to copy: a file with a line for everything."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from proxyd.crm.jsonl import _append, _lines
from proxyd.errors import TryLater
from proxyd.store import contacts
from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, play
from tests.crm.fake import FakeCrm
from tests.looping import on_the_loop
from tests.rigged import GRACE


def lines(file: Path, kind: str) -> list[Any]:
    return [each for each in map(json.loads, filter(None, file.read_text().split("\n"))) if each["kind"] == kind]


@on_the_loop
async def test_a_message_its_contact_its_attachment_and_its_bounce(tmp_path):
    file = tmp_path / "crm.jsonl"
    async with scene(tmp_path, f"jsonl: {{file: {file}, owners: {{ada@example.test: '4711'}}}}") as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.log(letter(2))
        await s.drained()
        first, second = lines(file, "message")
        assert (first["id"], first["owner"], second["message_id"]) == (id, "4711", "m2@example.test")
        assert [each["address"] for each in first["people"]] == [GRACE]
        (attached,) = (tmp_path / "crm.jsonl.attachments" / id).iterdir()
        assert attached.read_bytes() == b"%PDF offer"
        assert s.timeline()[0]["crm"] == [{"name": "jsonl", "state": "delivered", "remote_id": second["id"]}]
        await s.bounce(id)
        await s.until(lambda: lines(file, "state"), "the bounce")
        assert lines(file, "state")[0] == {"kind": "state", "id": id, "state": "bounced"}
        await s.drained()
        assert file.stat().st_mode & 0o077 == 0


@on_the_loop
async def test_a_person_with_two_addresses_is_one_there(tmp_path):
    file = tmp_path / "crm.jsonl"
    async with scene(tmp_path, f"jsonl: {{file: {file}}}") as s:
        contact = contacts.Contact(GRACE, GRACE, "Grace Hopper", "", ("hopper@home.test",))
        await s.database.write(lambda c: contacts.add(c, contact, s.clock.now()))
        mail = letter(1)
        mail["Cc"] = "hopper@home.test, lin@else.test"
        await s.log(mail)
        await s.drained()
        (logged,) = lines(file, "message")
        assert [each["address"] for each in logged["people"]] == [GRACE, "lin@else.test"]


@on_the_loop
async def test_it_is_said_why_nothing_can_be_written_and_then_it_goes_on(tmp_path):
    file = tmp_path / "crm.jsonl"
    file.mkdir()
    async with scene(tmp_path, f"jsonl: {{file: {file}}}") as s:
        await s.log(letter(1))
        standing = await s.until(lambda: s.rows_failed(), "the reason")
        assert "Is a directory" in standing
        file.rmdir()
        await s.drained()
        assert len(lines(file, "message")) == 1


@on_the_loop
async def test_a_contact_is_erased_with_what_was_logged(tmp_path):
    file = tmp_path / "crm.jsonl"
    async with scene(tmp_path, f"jsonl: {{file: {file}}}") as s:
        id = await s.log(letter(1, attach=[b"secret"]))
        await s.log(letter(2))
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure, and nothing of it to be kept")
        assert [each["message_id"] for each in lines(file, "message")] == ["m2@example.test"]
        assert not (tmp_path / "crm.jsonl.attachments" / id).exists()


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path):
    file = tmp_path / "crm.jsonl"

    def there():
        folder = tmp_path / "crm.jsonl.attachments"
        return [
            (
                each["message_id"],
                [hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / each["id"]).glob("*")],
            )
            for each in lines(file, "message")
        ]

    await play(tmp_path, FakeCrm(), f"jsonl: {{file: {file}}}", there, seed=3)


def test_a_line_that_a_crash_cut_short_is_no_line(tmp_path):
    file = tmp_path / "x"
    _append(file, {"id": 1})
    with file.open("ab") as opened:
        opened.write(b'{"id": 2, "te')
    _append(file, {"id": 3})
    assert _lines(file) == [{"id": 1}, {"id": 3}]


def test_a_folder_that_is_not_there_is_waited_for(tmp_path):
    with pytest.raises(TryLater, match="No such file"):
        _append(tmp_path / "missing/x", {})
