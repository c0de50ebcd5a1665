"""Logged mail reaches the CRMs that an account names: the daemon as a process, killed and started again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crm.exactly_once import storm
from tests.crm.fake import Receiver
from tests.scenarios.rig import Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.tryton import ADMIN, DATABASE, Tryton
from tests.servers.waiting import eventually

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
KILLS = int(os.environ.get("PROXYD_SOAK_CRM", "40")) // 20
OFFER = b"%PDF-1.7 the offer " * 4000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as made:
        yield made


@pytest.fixture
def rig(make_rig: Callable[..., Rig], receiver: Receiver, tmp_path: Path) -> Rig:
    secret = tmp_path / "webhook.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET + "\n")
    crm = (
        "sent_copy: {settle: 1s}\n"
        f"crm:\n  - local\n  - webhook: {{url: '{receiver.url}/crm', secret: {{file: {secret}}}}}\n"
        f"  - jsonl: {{file: {tmp_path}/crm.jsonl}}\n"
    )
    made = make_rig(more=crm)
    made.add_contact()
    made.connected()
    return made


def entries(rig: Rig, n: int = 0) -> dict[str, Any]:
    return {each["name"]: each for each in rig.timeline()[n]["crm"]}


def delivered(rig: Rig, n: int = 0) -> bool:
    return {each["state"] for each in entries(rig, n).values()} == {"delivered"}


def bounce_of(id: str) -> bytes:
    """What the customer's server returns (RFC 3464)."""
    parts = (
        "--b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n",
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.customer.test\r\n\r\n"
        f"Final-Recipient: rfc822; {CUSTOMER}\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {id}\r\n\r\n--b--\r\n",
    )
    head = (
        f"From: MAILER-DAEMON@customer.test\r\nTo: {PERSON}\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "Date: Mon, 23 Nov 2026 10:01:00 +0000\r\nMessage-ID: <dsn-1@customer.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    )
    return (head + "".join(parts)).encode()


def test_an_offer_and_its_answer(rig: Rig, receiver: Receiver, tmp_path: Path) -> None:
    offer = letter(attach=OFFER)
    rig.send(offer)
    eventually(lambda: delivered(rig), "every CRM to have it", every=0.1)
    assert set(entries(rig)) == {"local", "webhook", "jsonl"}
    (logged,) = receiver.of("message.logged")
    assert f"<{logged['message_id']}>" == message_id(offer)
    assert logged["from"]["address"] == PERSON
    (attachment,) = receiver.of("message.attachment")
    assert base64.b64decode(attachment["content"]) == OFFER
    answer = rig.reply(offer)
    eventually(lambda: len(rig.timeline()) == 2 and delivered(rig), "its answer too", every=0.1)
    assert [f"<{each['message_id']}>" for each in receiver.of("message.logged")] == [message_id(offer), answer]
    lines = [json.loads(line) for line in (tmp_path / "crm.jsonl").read_text().splitlines()]
    assert [each["direction"] for each in lines if each["kind"] == "message"] == ["outgoing", "incoming"]
    (kept,) = (tmp_path / "crm.jsonl.attachments").rglob("0-*")
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(OFFER).digest()
    assert "logged in the CRM webhook" in str(rig.explain(message_id(offer))["steps"])
    rig.provider.dovecot.deliver(PERSON, bounce_of(message_id(offer)), "")
    eventually(lambda: receiver.of("message.state"), "its bounce to be told")
    (told,) = receiver.of("message.state")
    assert (f"<{told['message_id']}>", told["state"]) == (message_id(offer), "bounced")
    eventually(lambda: delivered(rig, 2), "nothing to be owed", every=0.1)


def test_a_crm_that_is_down_loses_nothing_and_hurts_no_other(rig: Rig, receiver: Receiver) -> None:
    receiver.fault = lambda request: "503"
    offer = letter(attach=OFFER)
    rig.send(offer)
    eventually(lambda: entries(rig)["jsonl"]["state"] == "delivered", "the other CRM", every=0.1)
    why = eventually(lambda: rig.account_status()["crm"], "status to say so", every=0.1)
    assert [(each["name"], each["waiting"], each["failed"], each["cure"]) for each in why] == [("webhook", 1, 0, None)]
    assert "503" in why[0]["because"]
    assert rig.account_status()["waiting"]["crm"] == 1
    assert entries(rig)["webhook"]["state"] == "waiting"
    assert "503" in rig.run("status").stdout
    assert "503" in str(rig.explain(message_id(offer))["steps"])
    receiver.fault = lambda request: "done, hold"  # it takes the message, and its answer never comes
    eventually(lambda: receiver.events, "the message to be taken")
    rig.kill()
    receiver.fault = lambda request: None
    rig.start()
    eventually(lambda: delivered(rig), "the way back", every=0.1)
    assert len(receiver.of("message.logged")) == len(receiver.of("message.attachment")) == 1
    assert rig.account_status()["crm"] == []


def asked(receiver: Receiver, times: int) -> None:
    eventually(lambda: len(receiver.requests) >= times, f"{times} requests")


def test_it_is_killed_again_and_again_while_the_crm_fails(rig: Rig, receiver: Receiver, tmp_path: Path) -> None:
    """kill -9 of the daemon wherever it stands: each message and each attachment comes once, whole."""
    dice = random.Random(11)
    receiver.fault = storm(11)
    hashes: dict[str, str] = {}
    for _ in range(KILLS):
        with rig.client() as smtp:
            for _ in range(2):
                octets = dice.randbytes(dice.choice((10, 70_000, 700_000)))
                offer = letter(attach=octets)
                hashes[message_id(offer).strip("<>")] = hashlib.sha256(octets).hexdigest()
                smtp.send_message(offer)
        asked(receiver, len(receiver.requests) + dice.randint(0, 3))
        rig.kill()
        rig.start()
    receiver.fault = lambda request: None
    eventually(lambda: len(receiver.of("message.attachment")) == len(hashes), "everything to be there")
    eventually(lambda: rig.account_status()["crm"] == [], "nothing to be owed", every=0.5)
    logged = receiver.of("message.logged")
    assert sorted(each["message_id"] for each in logged) == sorted(hashes)
    ids = {each["id"]: each["message_id"] for each in logged}
    files = [(ids[each["message"]], base64.b64decode(each["content"])) for each in receiver.of("message.attachment")]
    assert {id: hashlib.sha256(octets).hexdigest() for id, octets in files} == hashes
    lines = [json.loads(line) for line in (tmp_path / "crm.jsonl").read_text().split("\n") if line.startswith("{")]
    assert sorted(each["message_id"] for each in lines if each["kind"] == "message") == sorted(hashes)
    kept = {path.parent.name: path for path in (tmp_path / "crm.jsonl.attachments").rglob("0-*")}
    assert {ids[id]: hashlib.sha256(path.read_bytes()).hexdigest() for id, path in kept.items()} == hashes


def test_a_real_crm_has_the_party_the_note_and_the_attachment(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    with Tryton(tmp_path / "tryton") as tryton:
        password = f"{{file: {tryton.password_file()}}}"
        options = f"{{url: '{tryton.url}', database: {DATABASE}, user: {ADMIN}, password: {password}}}"
        rig = make_rig(more=f"sent_copy: {{settle: 1s}}\ncrm: [local, {{tryton: {options}}}]\n")
        rig.add_contact()
        rig.connected()
        offer = letter(attach=OFFER)
        rig.send(offer)
        eventually(lambda: delivered(rig), "Tryton to have it", every=0.1)
        ((party, name),) = tryton.records("party.party", "id", "name")
        assert name == "Grace Hopper", "as our own records call her, for the message does not"
        ((resource, note),) = tryton.records("ir.note", "resource", "message")
        assert resource == f"party.party,{party}"
        assert message_id(offer) in note
        assert tryton.files() == {"offer.pdf": OFFER}
        rig.reply(offer)
        eventually(lambda: len(rig.timeline()) == 2 and delivered(rig), "its answer too", every=0.1)
        notes = tryton.records("ir.note", "resource", "message")
        assert [each[0] for each in notes] == [resource] * 2, "the same party"
        assert "Yes, please." in notes[1][1]
