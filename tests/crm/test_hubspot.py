"""The HubSpot adapter against a fake that HubSpot's own client judges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, few, play
from tests.crm.fake_hubspot import FakeHubspot
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE
from tests.servers.judges import judge


@pytest.fixture
def hub() -> Iterator[FakeHubspot]:
    with FakeHubspot() as crm:
        yield crm


def entry(folder: Path, hub: FakeHubspot, more: str = "") -> str:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(hub.token + "\n")
    return f"hubspot: {{url: '{hub.url}', token: {{file: {token}}}{more}}}"


@on_the_loop(timeout=200)
async def test_what_is_written_is_what_hubspots_own_client_reads(tmp_path, hub):
    async with scene(tmp_path, entry(tmp_path, hub, f", owners: {{{ADA}: '77'}}")) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer", b"%PDF terms"]))
        await s.drained()
        seen = await s.workers.run(judge, "hubspot", hub.url, GRACE)
        assert seen["contact"]["firstname"] == "Grace"
        assert seen["twice"] == 409
        (email,) = seen["emails"]
        assert (email["hs_email_subject"], email["hs_email_to_email"]) == ("Offer 1", GRACE)
        assert [(each["name"], each["access"]) for each in seen["files"]] == [
            ("1-offer-1-0", "PRIVATE"),
            ("2-offer-1-1", "PRIVATE"),
        ]
        assert seen["updated"] == "BOUNCED"
        ((email_id, kept),) = hub.emails.items()
        assert kept["hubspot_owner_id"] == "77"
        assert kept["hs_timestamp"].startswith(str(1795424401)), "the message's own second"
        assert hub.associations[email_id] == list(hub.contacts)
        await s.bounce(id)
        await s.until(lambda: kept["hs_email_status"] == "BOUNCED", "the bounce")
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert (hub.contacts, hub.emails, hub.files) == ({}, {}, {})


@on_the_loop
async def test_a_contact_that_is_there_keeps_its_name(tmp_path, hub):
    hub.contacts["7"] = {"email": GRACE.lower(), "firstname": "Rear Admiral"}
    async with scene(tmp_path, entry(tmp_path, hub)) as s:
        await s.log(letter(1))
        await s.drained()
    assert hub.contacts == {"7": {"email": GRACE.lower(), "firstname": "Rear Admiral"}}
    assert list(hub.associations.values()) == [["7"]]


@on_the_loop(timeout=120)
async def test_a_text_that_is_too_long_says_that_it_was_cut(tmp_path, hub):
    async with scene(tmp_path, entry(tmp_path, hub)) as s:
        await s.log(letter(1, body="word " * 40_000, attach=[b"x" * 20_000_001]))
        await s.drained()
    ((_, kept),) = hub.emails.items()
    assert len(kept["hs_email_text"]) <= 65_000
    assert "Cut by proxyd" in kept["hs_email_text"]
    assert "offer-1-0.pdf (20.0 MB)" in kept["hs_email_text"]
    assert hub.files == {}


@on_the_loop
async def test_missing_rights_wait_and_a_refused_message_does_not(tmp_path, hub):
    hub.fault = lambda request: "403"
    async with scene(tmp_path, entry(tmp_path, hub)) as s:
        await s.log(letter(1))
        assert "403" in await s.until(s.rows_failed, "the reason")
        hub.fault = lambda request: "400" if b"Offer 2" in request.body else None
        await s.log(letter(2))
        await s.delivery.serve()
        standing = await s.until(lambda: hub.emails and s.timeline()[0]["crm"][0]["state"] == "failed", "the second")
        assert standing
        assert [each["hs_email_subject"] for each in hub.emails.values()] == ["Offer 1"]


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, hub):
    def there():
        found = []
        for email in hub.emails.values():
            ids = filter(None, (email.get("hs_attachment_ids") or "").split(";"))
            number = email["hs_email_subject"].rpartition(" ")[2]
            hashes = [hashlib.sha256(hub.files[id]["octets"]).hexdigest() for id in ids]
            found.append((f"m{number}@example.test", hashes))
            json.loads(email["hs_email_headers"])
        return found

    await play(tmp_path, hub, entry(tmp_path, hub), there, seed=21, messages=few(2))
    assert len(hub.contacts) == 1
    assert len(hub.files) == sum(
        (each.get("hs_attachment_ids") or "").count(";") + bool(each.get("hs_attachment_ids"))
        for each in hub.emails.values()
    )
