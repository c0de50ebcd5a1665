"""Sending from the CRM through the relay's own way, with a provider that answers by a script."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proxyd.formats.message import heading
from proxyd.model import NotAccepted, OutcomeUnknown, Sent, SmtpReply
from proxyd.store.tables import idempotency_keys, submissions
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served
from tests.web.test_api import BOB, with_colleague

OFFER = {"to": [f"Grace Hopper <{GRACE}>"], "subject": "Offer", "text": "Dear Grace,\nhere it is.\n"}
REFUSED = NotAccepted(SmtpReply(550, ("5.1.1 no such user",)))
LATER = NotAccepted(SmtpReply(451, ("4.3.0 later",)))


async def post(s: Served, document: dict[str, Any], key: str = "") -> tuple[int, Any]:
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    answer = await s.client.post("/api/v1/messages", content=json.dumps(document), headers=headers)
    return answer.status_code, answer.json()


@on_the_loop
async def test_a_message_is_sent_by_the_provider_and_logged_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        status, told = await post(s, OFFER)
        assert (status, told["state"], told["logged"]) == (201, "sent", True)
        assert told["because"] == f"recipient {GRACE} is a contact"
        (octets,) = s.provider.messages
        said = heading(octets)
        assert said.from_[0].name == "Ada Lovelace"
        assert f"<{said.message_id}>" == told["message_id"]
        assert s.provider.envelopes[0].sender == ADA
        _, logged = await s.get(f"/api/v1/messages/{told['message']}")
        assert (logged["source"], logged["state"], logged["subject"]) == ("api", "sent", "Offer")
        assert logged["sent_copy"]["state"] == "waiting"  # by the same rules as a mail client's


@on_the_loop
async def test_what_the_rules_do_not_track_is_sent_and_not_logged_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        status, told = await post(s, OFFER)
        assert (status, told["logged"], told["message"]) == (201, False, None)
        status, told = await post(s, OFFER | {"log": True})
        assert (status, told["logged"]) == (201, True)
        assert b"X-CRM-Log" not in b"".join(s.provider.messages)


@on_the_loop
async def test_an_answer_goes_to_its_author_in_its_thread(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        octets = message(more="References: <root@x.test>\r\n")
        begun = await s.desk.begin(octets)
        await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
        _, told = await post(s, {"reply_to_message": begun.id, "text": "One more thing.", "from": "sales@example.test"})
        said = heading(s.provider.messages[0])
        assert (said.subject, said.to[0].address, said.from_[0].address) == ("Re: Offer", GRACE, "sales@example.test")
        assert (said.in_reply_to, said.references) == (("m1@example.test",), ("root@x.test", "m1@example.test"))
        _, logged = await s.get(f"/api/v1/messages/{told['message']}")
        assert logged["thread"] == begun.id
        assert s.provider.envelopes[0].sender == "sales@example.test"
        assert (await post(s, {"reply_to_message": "01NONE", "text": "x"}))[0] == 422


@on_the_loop
async def test_attachments_and_blind_copies_arrive_and_no_recipient_sees_the_latter(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        file = {"name": "offer.pdf", "type": "application/pdf", "content": base64.b64encode(b"%PDF" * 9).decode()}
        status, told = await post(s, OFFER | {"attachments": [file], "bcc": ["boss@example.test"], "html": "<p>Hi</p>"})
        assert status == 201
        assert b"boss" not in s.provider.messages[0]
        assert [each.address for each in s.provider.envelopes[0].recipients] == [GRACE, "boss@example.test"]
        _, logged = await s.get(f"/api/v1/messages/{told['message']}")
        assert [each["address"] for each in logged["bcc"]] == ["boss@example.test"]
        got = await s.client.get(f"/api/v1/messages/{told['message']}/attachments/0")
        assert got.content == b"%PDF" * 9


@on_the_loop
async def test_a_whole_message_goes_as_it_is(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        octets = message(body="größer\r\n.\r\n").replace(b"\r\n", b"\n")
        typed = {"content-type": "message/rfc822"}
        answer = await s.client.post("/api/v1/messages", content=octets, headers=typed)
        assert answer.status_code == 201
        assert s.provider.messages[0] == octets.replace(b"\n", b"\r\n")
        assert s.provider.envelopes[0].parameters == ("BODY=8BITMIME",)
        again = await s.client.post("/api/v1/messages", content=octets, headers=typed)  # it was told: it is meant
        assert (again.status_code, len(s.provider.messages)) == (201, 2)
        for bad, status in ((b"", 422), (b"\0", 422), (message(sender="eve@evil.test"), 422)):
            assert (await s.client.post("/api/v1/messages", content=bad, headers=typed)).status_code == status


WRONG: list[Any] = [
    ({"to": []}, "nobody is named"),
    ({"to": ["grace"]}, "names nobody"),
    ({"subject": "a\r\nBcc: eve@evil.test"}, "line end"),
    ({"to": ["Grace\r\nBcc: eve@evil.test <grace@customer.test>"]}, "names nobody"),
    ({"from": "eve@evil.test"}, "not clear which account"),
    ({"account": "nobody@example.test"}, "not clear which account"),
    ({"account": ADA, "from": "eve@evil.test"}, "not an address of this account"),
    ({"attachments": [{"name": "a", "content": "#"}]}, "not base64"),
    ({"attachments": [{"name": "a\nb", "content": ""}]}, "line end"),
    ({"text": 1}, "body.text"),
    ({"texts": ""}, "body.texts"),
    ({"text": "\ud800"}, "body.text"),
]


@pytest.mark.parametrize(("more", "says"), WRONG)
@on_the_loop
async def test_what_cannot_be_sent_is_said_and_nothing_leaves(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    async with served(tmp_path) as s:
        status, problem = await post(s, OFFER | more)
        assert (status, says in problem["detail"]) == (422, True), problem["detail"]
        assert s.provider.messages == []
        assert s.desk.rows(submissions) == []


@on_the_loop
async def test_a_refusal_is_the_providers_own_word(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.provider.script.extend([REFUSED, LATER])
        status, problem = await post(s, OFFER)
        assert (status, problem["reply"], problem["state"]) == (422, "550 5.1.1 no such user", "refused")
        assert (await post(s, OFFER))[0] == 503


@on_the_loop
async def test_the_same_key_sends_once_and_finds_the_first_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        first = await post(s, OFFER, "k1")
        assert await post(s, OFFER, "k1") == first
        assert len(s.provider.messages) == 1
        status, problem = await post(s, OFFER | {"text": "another"}, "k1")
        assert (status, "another request" in problem["detail"]) == (409, True)
        assert (await post(s, OFFER, "k2"))[0] == 201
        async with await s.token() as ada:  # another asker's key is another key
            answer = await ada.post("/api/v1/messages", json=OFFER, headers={"idempotency-key": "k1"})
            assert answer.status_code == 201
        assert len(s.provider.messages) == 3


@on_the_loop
async def test_two_at_once_with_the_same_key_are_one_mail(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        s.provider.gate.clear()
        both = [asyncio.ensure_future(post(s, OFFER, "k")) for _ in range(2)]
        await s.provider.asked.wait()
        s.provider.gate.set()
        first, second = await asyncio.gather(*both)
        assert first == second
        assert len(s.provider.messages) == 1


@on_the_loop
async def test_the_key_of_a_refused_mail_may_be_used_again(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        s.provider.script.append(LATER)
        assert (await post(s, OFFER, "k"))[0] == 503
        assert (await post(s, OFFER, "k"))[0] == 201
        assert len(s.desk.rows(idempotency_keys)) == 1


@on_the_loop
async def test_an_unclear_outcome_is_told_as_that_and_never_sent_again(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        s.desk.accounts[ADA] = s.desk.accounts[ADA].model_copy(
            update={"sending": s.desk.accounts[ADA].sending.model_copy(update={"answer_within": 0.0})}
        )
        s.provider.script.append(OutcomeUnknown("no answer to the final dot"))
        status, told = await post(s, OFFER, "k")
        assert (status, told["state"] in ("unknown", "submitting")) == (202, True)
        for _ in range(3):
            assert (await post(s, OFFER, "k"))[0] == 202
        await s.provider.asked.wait()
        await s.desk.settled()
        assert len(s.provider.messages) == 1
        await s.desk.journal.record(Sent(told["id"], SmtpReply(250, ("found",)), s.desk.clock.now()))
        status, told = await post(s, OFFER, "k")
        assert (status, told["state"], told["reply"]) == (201, "sent", "250 found")


@on_the_loop
async def test_after_a_crash_between_the_key_and_the_mail_the_mail_is_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        assert (await post(s, OFFER, "k"))[0] == 201
        gone = idempotency_keys.update().values(submission="01NEVERBEGUN")
        await s.desk.database.write(lambda c: c.execute(gone))
        assert (await post(s, OFFER, "k"))[0] == 201
        assert len(s.provider.messages) == 2


@on_the_loop
async def test_nobody_sends_as_a_colleague(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s)
        async with await s.token("b", BOB) as bob, await s.token("r", ADA, "read") as reader:
            answer = await bob.post("/api/v1/messages", json=OFFER | {"account": ADA})
            assert answer.status_code == 422
            assert (await reader.post("/api/v1/messages", json=OFFER)).status_code == 403
            answer = await bob.post("/api/v1/messages", json=OFFER)
            assert (answer.status_code, answer.json()["account"]) == (201, BOB)
        assert (await post(s, OFFER))[0] == 422  # the daemon's owner says whose mail it is
        assert (await post(s, OFFER | {"account": ADA}))[0] == 201


@on_the_loop
async def test_while_the_provider_is_away_it_waits_here_where_the_account_says_so(tmp_path: Path) -> None:
    """With the same key nothing is sent a second time, before it went and after."""
    async with served(tmp_path) as s:
        spools = s.desk.accounts[ADA].sending.model_copy(update={"on_outage": "spool"})
        s.desk.accounts[ADA] = s.desk.accounts[ADA].model_copy(update={"sending": spools})
        s.provider.script.append(LATER)
        status, told = await post(s, OFFER, "k1")
        assert (status, told["state"], told["spooled"]) == (202, "submitting", True)
        assert told["reply"].startswith("250 2.0.0 Kept by proxyd")
        status, again = await post(s, OFFER, "k1")
        assert (status, again["id"], again["spooled"]) == (202, told["id"], True)
        assert len(s.desk.rows(submissions)) == 1
        await s.desk.journal.record(Sent(told["id"], SmtpReply(250, ("OK",)), s.desk.clock.now()))
        status, again = await post(s, OFFER, "k1")
        assert (status, again["state"], again["spooled"]) == (201, "sent", False)
        _, explained = await s.get("/api/v1/explain", message_id=told["message_id"])
        assert "waits at proxyd for the provider" in [each["what"] for each in explained["steps"]]
