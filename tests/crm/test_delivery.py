"""The lanes: one CRM's trouble is its own, one mail is one entry, and what cannot be done is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from proxyd.config import load
from proxyd.crm.delivery import GONE
from proxyd.crm.storm import FastClock
from proxyd.formats.message import heading, split_header
from proxyd.journal.forwarding import Octets
from proxyd.model import Direction, Found, Seen, Sent, Source, Tracked
from proxyd.web.answers_crm import retry
from tests.crm.delivering import TAKEN, letter, scene
from tests.crm.fake_hubspot import FakeHubspot
from tests.crm.test_hubspot import entry
from tests.looping import on_the_loop
from tests.rigged import ACCOUNT, ADA, GRACE, message

CHARLES = "charles@example.test"


def received(s, octets: bytes) -> Seen:
    said = heading(octets[: split_header(octets) or len(octets)])
    found, verdict = Found("INBOX", 1, 5), Tracked("sender is a contact")
    at = s.clock.now()
    return Seen(CHARLES, Direction.INCOMING, Source.CONTACT, said, Octets(octets), found, at, verdict)


async def colleague(s, folder, crm: str) -> None:
    """Charles logs to the same CRM."""
    config = folder / "charles"
    (config / "accounts.d").mkdir(parents=True)
    text = ACCOUNT.replace(ADA, CHARLES).replace("aliases: [sales@example.test]\n", "")
    (config / "accounts.d/charles.yaml").write_text(f"{text}crm:\n  - {crm}\n")
    s.accounts[CHARLES] = load(config).accounts[CHARLES]
    await s.delivery.serve()


@on_the_loop
async def test_a_mail_that_two_colleagues_have_is_one_in_their_crm(tmp_path):
    with FakeHubspot() as hub:
        yaml = entry(tmp_path, hub)
        async with scene(tmp_path, yaml) as s:
            await colleague(s, tmp_path, yaml)
            mail = letter(1, attach=[b"%PDF offer"])
            mail["Cc"] = CHARLES
            await s.log(mail, [GRACE, CHARLES])
            await s.drained()
            await s.journal.record(received(s, mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))))
            await s.drained()
            entries = {each["account"]: each["crm"] for each in s.timeline()}
            assert set(entries) == {ADA, CHARLES}
            assert entries[ADA] == entries[CHARLES]
            assert len(hub.emails) == len(hub.files) == 1
            for each in s.timeline():
                await s.bounce(each["id"])
            await s.drained()
            assert len(hub.emails) == len(hub.files) == 1, "its next state brings no attachment again"


@on_the_loop
async def test_a_crm_that_was_taken_out_of_the_file_keeps_what_it_is_owed(tmp_path):
    with FakeHubspot() as hub:
        hub.fault = lambda request: "503"
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            await s.log(letter(1))
            await s.until(s.rows_failed, "the failure")
            before = s.accounts[ADA]
            s.accounts[ADA] = before.model_copy(update={"crm": ()})
            await s.delivery.serve()
            assert (await s.standing()).because == GONE
            hub.fault = lambda request: None
            s.accounts[ADA] = before
            await s.delivery.serve()
            await s.drained()
            assert len(hub.emails) == 1


@on_the_loop
async def test_what_was_refused_is_tried_again_when_the_options_are_others(tmp_path):
    with FakeHubspot() as hub:
        hub.fault = lambda request: "400" if request.path.endswith("/emails") else None
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            await s.log(letter(1))
            standing = await s.until(lambda: s.timeline()[0]["crm"][0]["state"] == "failed", "the refusal")
            assert standing
            hub.fault = lambda request: None
            await s.delivery.serve()
            assert (await s.standing()).failed == 1, "the same options are refused the same"
            again = entry(tmp_path, hub, f", owners: {{{ADA}: '9'}}")
            config = tmp_path / "config"
            (config / "accounts.d/ada.yaml").write_text(f"{ACCOUNT}crm:\n  - {again}\n")
            s.accounts[ADA] = load(config).accounts[ADA]
            await s.delivery.serve()
            await s.drained()
            assert len(hub.emails) == 1


@on_the_loop
async def test_what_was_refused_is_taken_when_somebody_mended_the_crm_and_says_so(tmp_path):
    with FakeHubspot() as hub:
        hub.fault = lambda request: "400" if request.path.endswith("/emails") else None
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            await s.log(letter(1))
            await s.until(lambda: s.timeline()[0]["crm"][0]["state"] == "failed", "the refusal")
            assert (await s.standing()).failed == 1
            hub.fault = lambda request: None
            assert retry(s.database, ["m1@example.test"], None, None, s.clock.now()) == {"entries": 1, "erasures": 0}
            s.journal.wakes.entries.set()
            await s.drained()
            assert len(hub.emails) == 1


@on_the_loop
async def test_a_crm_that_lets_us_in_again_is_asked_at_once_when_somebody_says_so(tmp_path):
    with FakeHubspot() as hub:
        hub.fault = lambda request: "401"
        async with scene(tmp_path, entry(tmp_path, hub), clock=FastClock(1.0)) as s:
            await s.log(letter(1))
            standing = await s.until(s.rows_failed, "the refusal") and await s.standing()
            assert standing.refused, "somebody must act"
            hub.fault = lambda request: None
            retry(s.database, None, None, "hubspot", s.clock.now())
            s.journal.wakes.mended.set()
            s.journal.wakes.entries.set()
            await s.drained()  # else in ten minutes
            assert len(hub.emails) == 1
            assert s.journal.known(ADA, "crm_refused hubspot") == ""


@on_the_loop
async def test_what_is_no_text_in_any_character_set_is_logged_all_the_same(tmp_path):
    with FakeHubspot() as hub:
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            octets = message(subject="caf", body="x\0y \r\n").replace(b"caf", b"caf\xe9\xff").replace(b"x\0", b"\xfe\0")
            begun = await s.begin(octets)
            await s.journal.record(Sent(begun.id, TAKEN, s.clock.now()))
            await s.drained()
            ((_, email),) = hub.emails.items()
            assert email["hs_email_subject"].startswith("caf")


@on_the_loop
async def test_an_erasure_is_tried_until_it_is_done_and_one_that_cannot_be_is_said(tmp_path):
    with FakeHubspot() as hub:
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            id = await s.log(letter(1))
            await s.drained()
            hub.fault = lambda request: "500"
            await s.erase(GRACE, [id])
            await s.until(lambda: s.erasures()[0]["error"], "the failure")
            standing = await s.standing()
            assert (standing.erasures, standing.waiting) == (1, 0)
            assert "500" in standing.because
            hub.fault = lambda request: "400"
            await s.until(lambda: s.erasures()[0]["due"] is None, "the refusal")
            hub.fault = lambda request: None
            await s.delivery.serve()
            assert len(s.erasures()) == 1, "the same options are refused the same"
        again = entry(tmp_path, hub, f", owners: {{{ADA}: '9'}}")
        async with scene(tmp_path, again) as s:
            assert (await s.standing()).erasures == 1


@pytest.mark.parametrize("fault", ["302", "401", "html"])
@on_the_loop
async def test_what_is_wrong_is_in_status(tmp_path, fault):
    with FakeHubspot() as hub:
        hub.fault = lambda request: fault
        async with scene(tmp_path, entry(tmp_path, hub)) as s:
            await s.log(letter(1))
            await s.until(s.rows_failed, "the failure")
            standing = await s.standing()
            assert (standing.account, standing.crm, standing.waiting, standing.failed) == (ADA, "hubspot", 1, 0)
            assert "127.0.0.1" in standing.because
            assert hub.token not in json.dumps(standing.because)


@on_the_loop
async def test_the_real_attachments_that_come_later_go_to_the_crm_too(tmp_path):
    with FakeHubspot() as hub:
        yaml = entry(tmp_path, hub)
        async with scene(tmp_path, yaml) as s:
            await colleague(s, tmp_path, yaml)
            await s.add_contact(GRACE)
            first, later = letter(1), letter(1, attach=[b"%PDF offer"])
            first.add_attachment(b"The attachment is being scanned.", "text", "plain", filename="Scan in progress.txt")
            for each in (first, later):
                del each["From"], each["Message-ID"]
                each["From"], each["Message-ID"] = GRACE, "<r1@customer.test>"
            octets = [each.as_bytes(policy=each.policy.clone(linesep="\r\n")) for each in (first, later)]
            await s.journal.record(received(s, octets[0]))
            await s.drained()
            (record,) = s.timeline()
            await s.journal.record(replace(received(s, octets[1]), again=record["id"]))
            await s.drained()
            assert len(hub.emails) == 1
            assert len(hub.files) == 2, "the placeholder stays, the real one is beside it"
