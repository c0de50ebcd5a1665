"""The Pipedrive adapter against a fake made after Pipedrive's own client."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, few, play
from tests.crm.fake_pipedrive import FakePipedrive
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE
from tests.servers.judges import judge


@pytest.fixture
def pipedrive() -> Iterator[FakePipedrive]:
    with FakePipedrive() as crm:
        yield crm


def entry(folder: Path, pipedrive: FakePipedrive, more: str = "") -> str:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(pipedrive.token + "\n")
    return f"pipedrive: {{url: '{pipedrive.url}', token: {{file: {token}}}{more}}}"


@on_the_loop
async def test_a_person_an_activity_a_file_and_a_bounce(tmp_path, pipedrive):
    async with scene(tmp_path, entry(tmp_path, pipedrive, f", owners: {{{ADA}: '12'}}")) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"], body="1 < 2\n"))
        await s.drained()
        ((person, who),) = pipedrive.persons.items()
        assert who == {"name": "Grace Hopper", "email": GRACE}
        ((number, activity),) = pipedrive.activities.items()
        assert (activity["type"], activity["done"], activity["owner_id"]) == ("email", True, 12)
        assert (activity["due_date"], activity["person_id"]) == ("2026-11-23", person)
        assert "1 &lt; 2" in activity["note"]
        ((_, file),) = pipedrive.files.items()
        assert file == {"name": "1-offer-1-0.pdf", "octets": b"%PDF offer", "person_id": person, "activity_id": number}
        await s.bounce(id)
        await s.until(lambda: activity["subject"] == "Bounced: Offer 1", "the bounce")
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert (pipedrive.persons, pipedrive.activities, pipedrive.files) == ({}, {}, {})


@on_the_loop(timeout=200)
async def test_what_is_written_is_what_pypipedrive_reads(tmp_path, pipedrive):
    async with scene(tmp_path, entry(tmp_path, pipedrive)) as s:
        await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        written = {key for each in pipedrive.activities.values() for key in each}
        ((number, activity),) = pipedrive.activities.items()
        seen = await s.workers.run(judge, "pipedrive", pipedrive.url, pipedrive.token, GRACE)
    assert seen["person"] == ["Grace Hopper", [GRACE]]
    assert seen["activities"] == [["Offer 1", "email", True, "2026-11-23", activity["note"]]]
    assert seen["files"] == [["1-offer-1-0.pdf", number]]
    assert (seen["theirs"], seen["left"]) == ("Theirs", 1)
    assert written <= set(seen["writable"]), "its model of an activity has all that is written"


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, pipedrive):
    def there():
        return [
            (
                re.findall(r"Message-ID: &lt;(.*?)&gt;", each["note"])[0],
                [
                    hashlib.sha256(file["octets"]).hexdigest()
                    for file in pipedrive.files.values()
                    if file["activity_id"] == id
                ],
            )
            for id, each in pipedrive.activities.items()
        ]

    pipedrive.page = max(few(2) // 5, pipedrive.page)
    await play(tmp_path, pipedrive, entry(tmp_path, pipedrive), there, seed=89, messages=few(2))
    assert len(pipedrive.persons) == 1
