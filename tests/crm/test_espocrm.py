"""The EspoCRM adapter against a fake made after EspoCRM's source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, play
from tests.crm.fake_espocrm import FakeEspocrm
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE
from tests.servers.judges import judge


@pytest.fixture
def espo() -> Iterator[FakeEspocrm]:
    with FakeEspocrm() as crm:
        yield crm


def entry(folder: Path, espo: FakeEspocrm, more: str = "") -> str:
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(espo.key + "\n")
    return f"espocrm: {{url: '{espo.url}', key: {{file: {key}}}{more}}}"


@on_the_loop
async def test_a_whole_message_its_contact_its_owner_and_its_bounce(tmp_path, espo):
    espo.contacts["7"] = {"lastName": "Hopper", "firstName": "Grace", "emailAddress": "another@customer.test"}
    async with scene(tmp_path, entry(tmp_path, espo, f", owners: {{{ADA}: u1}}")) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        ((email_id, email),) = espo.emails.items()
        (made,) = [id for id, each in espo.contacts.items() if each["emailAddress"] == GRACE]
        assert email == {
            "messageId": "m1@example.test",
            "name": "Offer 1",
            "files": [hashlib.sha256(b"%PDF offer").hexdigest()],
            "parentType": "Contact",
            "parentId": made,
            "assignedUserId": "u1",
        }
        assert espo.contacts[made]["firstName"] == "Grace", "a namesake is another person"
        assert espo.uploads == {}
        await s.bounce(id)
        await s.until(lambda: espo.posts, "the bounce")
        assert espo.posts[0]["parentId"] == email_id
        assert "bounced" in espo.posts[0]["post"]
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert espo.emails == {}
        assert list(espo.contacts) == ["7"]


@on_the_loop(timeout=200)
async def test_what_is_written_is_what_a_client_after_espocrm_s_documents_reads(tmp_path, espo):
    async with scene(tmp_path, entry(tmp_path, espo)) as s:
        await s.log(letter(1))
        await s.drained()
        seen = await s.workers.run(judge, "espocrm", espo.url, espo.key, GRACE)
    ((contact,), total) = seen["contacts"]["list"], seen["contacts"]["total"]
    assert (contact["id"] in espo.contacts, total, seen["emails"]) == (True, 1, 1)
    assert (seen["read"]["messageId"], seen["read"]["parentId"]) == ("m1@example.test", contact["id"])
    assert (seen["gone"], len(espo.contacts)) == (True, 1)
    assert "400: Field validation failure" in seen["refused"]


@on_the_loop
async def test_why_espocrm_refuses_is_in_its_own_words(tmp_path, espo):
    espo.refuses = "No access to Import."
    async with scene(tmp_path, entry(tmp_path, espo)) as s:
        await s.log(letter(1))
        assert "400 Bad Request: No access to Import." in await s.until(s.rows_failed, "the refusal")


@on_the_loop
async def test_a_message_that_espocrm_fetched_by_itself_is_that_one(tmp_path, espo):
    theirs = {"messageId": "m1@example.test", "name": "Offer 1", "files": [], "parentType": "Case", "parentId": "c1"}
    espo.emails["e1"] = dict(theirs)
    async with scene(tmp_path, entry(tmp_path, espo)) as s:
        await s.log(letter(1))
        await s.drained()
        assert s.timeline()[0]["crm"][0]["remote_id"] == "e1"
    assert list(espo.emails) == ["e1"]
    assert espo.uploads == {}


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, espo):
    def there():
        return [(each["messageId"], each["files"]) for each in espo.emails.values()]

    await play(tmp_path, espo, entry(tmp_path, espo), there, seed=34)
    assert len(espo.contacts) == 1
