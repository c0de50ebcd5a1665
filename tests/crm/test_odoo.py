"""The Odoo adapter against a fake that OdooRPC judges."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, few, play
from tests.crm.fake_odoo import FakeOdoo, shown
from tests.looping import on_the_loop
from tests.rigged import GRACE
from tests.servers.judges import judge


@pytest.fixture
def odoo() -> Iterator[FakeOdoo]:
    with FakeOdoo() as crm:
        yield crm


def entry(folder: Path, odoo: FakeOdoo, key: str = "") -> str:
    file = folder / "key"
    file.touch(mode=0o600)
    file.write_text((key or odoo.key) + "\n")
    return f"odoo: {{url: '{odoo.url}', database: company, user: proxyd, key: {{file: {file}}}}}"


@on_the_loop(timeout=200)
async def test_what_is_written_is_what_odoorpc_reads(tmp_path, odoo):
    async with scene(tmp_path, entry(tmp_path, odoo)) as s:
        id = await s.log(letter(1, body="1 < 2 & so on\n", attach=[b"%PDF offer"]))
        await s.drained()
        seen = await s.workers.run(judge, "odoo", str(odoo.port), GRACE)
        assert (seen["name"], seen["refused"]) == ("Grace Hopper", True)
        (note,) = odoo.rows("mail.message")
        assert seen["notes"] == [note["body"]]
        assert "1 < 2 & so on" in shown(note)
        assert "Message-ID: <m1@example.test>" in shown(note)
        ((number, file),) = odoo.tables["ir.attachment"].items()
        assert base64.b64decode(file["datas"]) == b"%PDF offer"
        assert note["attachment_ids"] == [number]
        await s.bounce(id)
        await s.until(lambda: len(odoo.rows("mail.message")) == 2, "the bounce")
        assert "bounced" in shown(odoo.rows("mail.message")[1])
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert odoo.tables == {"res.partner": {}, "mail.message": {}, "ir.attachment": {}}


@on_the_loop
async def test_what_odoo_sent_or_fetched_itself_is_that_one(tmp_path, odoo):
    theirs = {"model": "crm.lead", "res_id": 7, "message_id": "<m1@example.test>", "attachment_ids": [4]}
    odoo.tables["mail.message"][5] = dict(theirs)
    async with scene(tmp_path, entry(tmp_path, odoo)) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        assert odoo.tables["mail.message"] == {5: theirs}
        assert odoo.tables["ir.attachment"] == odoo.tables["res.partner"] == {}
        assert s.timeline()[0]["crm"][0]["remote_id"] == "/5", "7 is a lead, and no partner"
        odoo.tables["res.partner"][8] = {"name": "Grace", "email": GRACE, "email_normalized": GRACE}
        await s.bounce(id)
        await s.drained()
        assert [each["res_id"] for each in odoo.rows("mail.message")] == [7, 8], "where a person looks for it"
        assert odoo.tables["ir.attachment"] == {}, "Odoo has it itself"
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert odoo.tables["mail.message"] == {5: theirs}, "what is not ours to erase stays"


@on_the_loop
async def test_an_odoo_that_does_not_know_body_is_html(tmp_path, odoo):
    odoo.knows_body_is_html = False
    async with scene(tmp_path, entry(tmp_path, odoo)) as s:
        await s.log(letter(1))
        await s.drained()
    assert len(odoo.rows("mail.message")) == 1


@on_the_loop
async def test_a_refused_key_waits_for_its_owner(tmp_path, odoo):
    async with scene(tmp_path, entry(tmp_path, odoo, "another key")) as s:
        await s.log(letter(1))
        assert "refused the API key of proxyd" in await s.until(s.rows_failed, "the reason")
        entry(tmp_path, odoo)
        await s.delivery.serve()
        await s.drained()
    assert len(odoo.rows("mail.message")) == 1


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, odoo):
    def there():
        found = []
        for note in odoo.rows("mail.message"):
            files = [odoo.tables["ir.attachment"][each] for each in note.get("attachment_ids", ())]
            hashes = [hashlib.sha256(base64.b64decode(each["datas"])).hexdigest() for each in files]
            found.append((re.findall(r"Message-ID: <(.*)>", shown(note))[0], hashes))
        return found

    await play(tmp_path, odoo, entry(tmp_path, odoo), there, seed=55, messages=few(2))
    assert len(odoo.rows("res.partner")) == 1
    assert len(odoo.rows("ir.attachment")) == sum(
        len(each.get("attachment_ids", ())) for each in odoo.rows("mail.message")
    )
