"""Bounces and their kin on real Dovecot: found by what they return, and nothing read of other people's."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd.errors import Refused
from proxyd.journal import LATE_REPORTS
from proxyd.provider.imap import Connection
from proxyd.store import tables
from proxyd.web import answers
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, commands, from_stranger, reply, until, watched

DSN = """\
From: MAILER-DAEMON@mx.example.test (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Date: Mon, 23 Nov 2026 10:05:00 +0000
Message-ID: <bounce-{n}@mx.example.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} <{recipient}>: no such user

--B
Content-Type: {type}

Message-ID: <{id}>
From: {to}
Subject: Secret offer

{body}
--B--
"""


def dsn(
    n: int = 1,
    *,
    id: str = "m1@example.test",
    recipient: str = CUSTOMER,
    action: str = "failed",
    status: str = "5.1.1",
    type: str = "message/rfc822",
    body: str = "Private words.",
) -> bytes:
    text = DSN.format(n=n, to=PERSON, id=id, recipient=recipient, action=action, status=status, type=type, body=body)
    return text.replace("\n", "\r\n").encode()


def deliver(provider: Provider, octets: bytes) -> None:
    """As mail systems send: with an empty return path."""
    provider.dovecot.deliver(PERSON, octets, "<>")


@on_the_loop
async def test_a_bounce_that_is_read_before_its_mail_is_logged(tmp_path, provider: Provider):
    """The mail was sent by another device, whose copy in Sent came later than its provider's bounce; and the daemon was
    restarted in between."""
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        deliver(provider, dsn(1, id="somebody-elses@example.test"))
        deliver(provider, dsn(2, id="d2@phone"))
        await until(lambda: kept(w).count("INBOX") == 2 or None, "the bounces kept in mind")
        assert len(w.timeline()) == 1
        assert "d2@phone" not in kept(w)
    async with watched(tmp_path, provider) as w:
        provider.dovecot.append(PERSON, "Sent", message("More", id="d2@phone"))
        await until(lambda: len(w.timeline()) == 3 or None, "the mail and its bounce")
        states = {each["message_id"]: each["state"] for each in w.timeline()}
        assert states["<d2@phone>"] == "bounced"
        assert states["<bounce-2@mx.example.test>"] == "received"
        await until(lambda: kept(w).count("INBOX") == 1 or None, "the other's is kept, and no more than that")


def kept(w: Watched) -> str:
    return w.journal.known(PERSON, LATE_REPORTS) or ""


def uids_of(command: str) -> list[str]:
    """Of a sequence-set such as `1:3,7`."""
    if not command.startswith("UID FETCH "):
        return []
    ranges = (each.partition(":") for each in command.split()[2].split(","))
    return [str(uid) for first, _, last in ranges for uid in range(int(first), int(last or first) + 1)]


async def logged(w: Watched, count: int) -> dict[str, dict[str, Any]]:
    await until(lambda: len(w.timeline()) >= count or None, f"{count} in the log")
    return {each["message_id"]: each for each in w.timeline()}


@on_the_loop
async def test_a_bounce_is_found_by_what_it_returns_and_is_the_state_of_what_was_sent(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message(to=f"{CUSTOMER}, {OTHER_CUSTOMER}"), CUSTOMER, OTHER_CUSTOMER)
        deliver(provider, dsn())
        documents = await logged(w, 2)
        bounce, offer = documents["<bounce-1@mx.example.test>"], documents["<m1@example.test>"]
        assert (bounce["kind"], bounce["notice"], bounce["thread"]) == ("bounce", "delivery_failed", id)
        assert bounce["because"] == "it reports on <m1@example.test>"
        assert bounce["contacts"] == [CUSTOMER]
        assert offer["state"] == "bounced"
        (failed,) = offer["delivery"]
        assert failed.items() >= {"address": CUSTOMER, "state": "failed", "status": "5.1.1"}.items()
        assert failed["detail"] == f"550 5.1.1 <{CUSTOMER}>: no such user"
        assert failed["report"] == bounce["id"]
        (step,) = (row for row in w.rows(tables.steps) if row["what"] == "not delivered")
        assert step["owner"] == offer["id"]
        assert step["detail"].startswith(f"{CUSTOMER}: 5.1.1 550")


@on_the_loop
async def test_of_other_bounces_only_the_returned_id_is_read(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        deliver(provider, from_stranger(1))
        deliver(provider, dsn(1, id="private@example.test"))
        deliver(provider, dsn(2, type="text/rfc822-headers"))
        await logged(w, 2)
        asked = {each.split(" ", 3)[3] for each in commands(provider) if "2" in uids_of(each)}
        assert asked == {
            "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)])",
            "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID CONTENT-TYPE)])",
            "(BODY.PEEK[2.MIME] BODY.PEEK[3.MIME] BODY.PEEK[4.MIME])",
            "(BODY.PEEK[3.HEADER.FIELDS (MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID X-GOOGLE-ORIGINAL-MESSAGE-ID)])",
        }
        everything = repr([w.rows(table) for table in tables.metadata.sorted_tables])
        assert "private@example.test" not in everything
        assert not any(flags for flags in (each.flags for each in provider.dovecot.messages(PERSON)))


@on_the_loop
async def test_a_late_delay_changes_nothing_and_a_later_success_is_news(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        for n, action, status, seen in (
            (1, "delayed", "4.4.1", "delayed"),
            (2, "delivered", "2.0.0", "delivered"),
            (3, "delayed", "4.4.1", "delivered"),
        ):
            deliver(provider, dsn(n, action=action, status=status))
            offer = (await logged(w, n + 1))["<m1@example.test>"]
            assert (offer["state"], [each["state"] for each in offer["delivery"]]) == ("sent", [seen])
        found = answers.explain(w.database, "<m1@EXAMPLE.test>", w.clock.now())
        assert found is not None
        assert [each["state"] for each in found["delivery"]] == ["delivered"]
        assert [each["what"] for each in found["steps"] if CUSTOMER in each["detail"]] == [
            "delivery delayed",
            "delivered",
        ]


@on_the_loop
async def test_a_bounce_from_a_domain_on_never_log_is_about_our_own_mail(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, 'never_log: ["*@mx.example.test"]\n') as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        deliver(provider, dsn())
        assert (await logged(w, 2))["<m1@example.test>"]["state"] == "bounced"


@on_the_loop
async def test_one_search_for_a_batch_and_none_while_nothing_was_sent(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        deliver(provider, dsn(1))
        await until(lambda: any("FETCH 1 " in each for each in commands(provider)) or None, "the fields")
        await w.parked()
        assert not any("multipart/report" in each for each in commands(provider))
        await w.add_contact(CUSTOMER)
        await w.sent(message())
    for n in range(20):
        provider.dovecot.deliver(PERSON, from_stranger(n))
    async with watched(tmp_path, provider) as w:
        asked = [each for each in commands(provider) if "multipart/report" in each]
        assert [each.split()[3] for each in asked] == ["2:21"]


@on_the_loop
async def test_a_server_that_refuses_a_part_that_is_not_there_keeps_no_bounce_back(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    sections = Connection.sections

    def refuses(self: Connection, uids: Any, names: Any) -> dict[int, dict[str, bytes]]:
        found = sections(self, uids, names)
        if "4.MIME" in names and any(not parts["3.MIME"] for parts in found.values()):
            raise Refused("no such part", "NO")
        return found

    monkeypatch.setattr(Connection, "sections", refuses)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
    deliver(provider, dsn(1).partition(b"--B\r\nContent-Type: message/rfc822")[0] + b"--B--\r\n")
    deliver(provider, dsn(2))
    async with watched(tmp_path, provider) as w:
        assert "<bounce-2@mx.example.test>" in await logged(w, 2)


@on_the_loop
async def test_a_server_that_cannot_search_so_still_brings_replies(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    def refuses(self: Connection, uids: Any, keys: Any) -> list[int]:
        raise Refused("SEARCH", "NO too many keys")

    monkeypatch.setattr(Connection, "any_of", refuses)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        deliver(provider, dsn())
        provider.dovecot.deliver(PERSON, reply())
        assert "<r1@customer.test>" in await logged(w, 2)
