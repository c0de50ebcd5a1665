"""The Salesforce adapter against a fake that simple-salesforce judges."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.crm.salesforce import quoted
from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, few, play
from tests.crm.fake_salesforce import FakeSalesforce
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE
from tests.servers.judges import judge


@pytest.fixture
def salesforce() -> Iterator[FakeSalesforce]:
    with FakeSalesforce() as crm:
        yield crm


def entry(folder: Path, salesforce: FakeSalesforce, more: str = "") -> str:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(salesforce.secret + "\n")
    return f"salesforce: {{url: '{salesforce.url}', client_id: the app, client_secret: {{file: {secret}}}{more}}}"


def files_of(salesforce: FakeSalesforce, id: str) -> list[bytes]:
    links = [each for each in salesforce.rows("ContentDocumentLink") if each["LinkedEntityId"] == id]
    versions = salesforce.tables.get("ContentVersion", {})
    return [base64.b64decode(versions[each["version"]]["VersionData"]) for each in links]


@on_the_loop
async def test_what_salesforce_has_already_is_that_one(tmp_path, salesforce):
    theirs = {"Id": "02s1", "MessageIdentifier": "<m1@example.test>", "Incoming": False}
    salesforce.tables["EmailMessage"] = {"02s1": dict(theirs)}
    async with scene(tmp_path, entry(tmp_path, salesforce)) as s:
        await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        assert salesforce.rows("EmailMessage") == [theirs]
        assert salesforce.rows("ContentVersion") == []


@on_the_loop(timeout=200)
async def test_what_is_written_is_what_simple_salesforce_reads(tmp_path, salesforce):
    async with scene(tmp_path, entry(tmp_path, salesforce)) as s:
        id = await s.log(letter(1, attach=[b"%PDF offer"]))
        await s.drained()
        salesforce.expire()
        await s.log(letter(2))
        await s.drained()
        seen = await s.workers.run(judge, "salesforce", salesforce.url, salesforce.token, GRACE)
        (contact,) = seen["contacts"]
        assert (contact["FirstName"], contact["LastName"]) == ("Grace", "Hopper")
        assert seen["emails"] == ["Offer 1", "Offer 2"]
        assert seen["theirs"] == 1
        first = seen["read"]
        assert (first["Incoming"], first["Status"], first["ToIds"]) == (False, "3", [contact["Id"]])
        assert (first["MessageIdentifier"], first["ToAddress"]) == ("<m1@example.test>", GRACE)
        assert first["MessageDate"] == "2026-11-23T09:00:01Z"
        assert files_of(salesforce, first["Id"]) == [b"%PDF offer"]
        await s.bounce(id)
        await s.until(lambda: salesforce.rows("Task"), "the bounce")
        assert salesforce.rows("Task")[0]["Subject"].startswith("Bounced: Offer 1")
        await s.drained()
        await s.erase(GRACE, [id])
        await s.until(lambda: not s.erasures(), "the erasure")
        assert [each["Subject"] for each in salesforce.rows("EmailMessage")] == ["Offer 2"]
        assert (salesforce.rows("Contact"), salesforce.rows("ContentDocument")) == ([], [])


@on_the_loop
async def test_a_task_where_there_is_no_enhanced_email(tmp_path, salesforce):
    async with scene(tmp_path, entry(tmp_path, salesforce, f", log_as: task, owners: {{{ADA}: '005'}}")) as s:
        await s.log(letter(1, subject="Offer " * 60))
        await s.drained()
        (task,) = salesforce.rows("Task")
        (contact,) = salesforce.rows("Contact")
        assert (task["WhoId"], task["OwnerId"], task["TaskSubtype"]) == (contact["Id"], "005", "Email")
        assert "offer number 1" in task["Description"]
        assert salesforce.rows("EmailMessage") == []


@on_the_loop
async def test_a_refused_app_waits_for_its_owner(tmp_path, salesforce):
    yaml = entry(tmp_path, salesforce)
    (tmp_path / "secret").write_text("another\n")
    async with scene(tmp_path, yaml) as s:
        await s.log(letter(1))
        assert "invalid client credentials" in await s.until(s.rows_failed, "the reason")
        entry(tmp_path, salesforce)
        await s.delivery.serve()
        await s.drained()
    assert len(salesforce.rows("EmailMessage")) == 1


@pytest.mark.parametrize("log_as", ["email", "task"])
@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, salesforce, log_as):
    def there():
        found = []
        for each in salesforce.rows("EmailMessage" if log_as == "email" else "Task"):
            id = each.get("MessageIdentifier") or each["Description"].rpartition("Message-ID: ")[2].split("\n")[0]
            hashes = [hashlib.sha256(octets).hexdigest() for octets in files_of(salesforce, each["Id"])]
            found.append((id.strip("<>"), hashes))
        return found

    yaml = entry(tmp_path, salesforce, f", log_as: {log_as}")
    await play(tmp_path, salesforce, yaml, there, seed=144, messages=few(3))
    assert len(salesforce.rows("Contact")) == 1


def test_what_stands_in_a_query_cannot_end_its_literal() -> None:
    assert quoted("o'brien@x") == r"'o\'brien@x'"
    assert quoted("a\\' OR Name != '") == r"'a\\\' OR Name != \''"
    assert "\n" not in quoted("a\nb")
