"""The adapter against a real Tryton: parties, notes, attachments as they lie in its database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.crm.delivery import Route
from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, few, play
from tests.crm.relayed import Relayed
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE
from tests.servers.tryton import ADMIN, DATABASE, Tryton

pytestmark = pytest.mark.servers


@pytest.fixture
def tryton(tmp_path: Path) -> Iterator[Tryton]:
    with Tryton(tmp_path / "tryton") as server:
        yield server


def entry(tryton: Tryton, url: str = "") -> str:
    password = f"{{file: {tryton.password_file()}}}"
    return f"tryton: {{url: '{url or tryton.url}', database: {DATABASE}, user: {ADMIN}, password: {password}}}"


@on_the_loop(timeout=120)
async def test_a_party_a_note_an_attachment_and_a_bounce(tmp_path, tryton):
    async with scene(tmp_path, entry(tryton)) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.log(letter(2))
        await s.drained()
        ((party, name),) = tryton.records("party.party", "id", "name")
        assert name == "Grace Hopper"
        assert tryton.records("party.contact_mechanism", "party", "type", "value") == [(party, "email", GRACE)]
        notes = tryton.records("ir.note", "resource", "message")
        assert [resource for resource, _ in notes] == [f"party.party,{party}"] * 2
        for word in (GRACE, "Subject: Offer 1", "offer number 1", "Message-ID: <m1@example.test>", id):
            assert word in notes[0][1]
        assert tryton.files() == {"offer-1-0.pdf": b"%PDF offer"}
        await s.bounce(id)
        await s.until(lambda: len(tryton.records("ir.note", "id")) == 3, "the bounce")
        assert "bounced" in tryton.records("ir.note", "message")[2][0]
        await s.drained()
        adapter = s.delivery.adapter(Route(s.accounts[ADA], s.accounts[ADA].crm[0]))
        told = await adapter.erase("nobody@elsewhere.test", ("/email 5",))  # Tryton's own, at no party of ours
        assert (told, len(tryton.records("ir.note", "id"))) == ("0 notes and attachments and no party deleted", 3)
        await adapter.close()
        await s.erase(GRACE, [id])
        await s.until(lambda: not tryton.records("party.party", "id"), "the erasure")
        assert tryton.records("ir.note", "id") == []
        assert tryton.files() == {}


@on_the_loop(timeout=120)
async def test_tryton_s_own_client_reads_what_was_written(tmp_path, tryton):
    """Proteus finds the party by its address, and at it the note: the way in which people's scripts look."""
    script = (
        f"party, = Model.get('party.party').find([('contact_mechanisms.value', '=', '{GRACE}')])\n"
        "note, = Model.get('ir.note').find([('resource', '=', f'party.party,{party.id}')])\n"
        "print(json.dumps([party.name, note.message]))\n"
    )
    async with scene(tmp_path, entry(tryton)) as s:
        await s.log(letter(1))
        await s.drained()
        name, note = await s.workers.run(tryton.scripted, script)
    assert name == "Grace Hopper"
    assert "offer number 1" in note


@on_the_loop(timeout=60)
async def test_a_wrong_password_waits_for_its_owner(tmp_path, tryton):
    yaml = entry(tryton)
    tryton.password_file().write_text("not this one\n")
    async with scene(tmp_path, yaml) as s:
        await s.log(letter(1))
        assert "refused the password of admin" in await s.until(s.rows_failed, "the reason")
        tryton.password_file()
        await s.delivery.serve()
        await s.drained()
        assert len(tryton.records("ir.note", "id")) == 1


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, tryton):
    def there():
        hashes: dict[str, list[str]] = {}
        files = tryton.files()
        for name, description in tryton.records("ir.attachment", "name", "description"):
            number = description.rpartition("[proxyd ")[2].split()[0]
            hashes.setdefault(number, []).append(hashlib.sha256(files[name]).hexdigest())
        found = []
        for (note,) in tryton.records("ir.note", "message"):
            id = note.rpartition("[proxyd ")[2].rstrip("]")
            found.append((note.rpartition("Message-ID: <")[2].split(">")[0], hashes.get(id, [])))
        return found

    with Relayed(tryton.port) as way:
        # Each new delivery signs in anew, and Tryton takes its time over a password (argon2): it is not killed at that.
        lives = {"between": (10, 60), "moments": (500, 2000)}
        await play(tmp_path, way, entry(tryton, way.url), there, seed=8, messages=few(5), **lives)
    assert len(tryton.records("party.party", "id")) == 1
