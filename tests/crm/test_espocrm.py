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
