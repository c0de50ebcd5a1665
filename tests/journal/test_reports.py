"""What a report changes at the message that it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxyd.model import MailAddress, Sent, SmtpReply, ThreadMatch
from proxyd.store import tables
from tests.journal.test_finding import seen, sent
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, Desk, desk, message

MARY = "mary@customer.test"


def bounce(
    *said: tuple[str, str], text: str = "Sorry.", id: str = "b1@mx.test", returned: str = "m1@example.test"
) -> bytes:
    groups = "".join(f"\r\nFinal-Recipient: rfc822; {address}\r\nAction: {action}\r\n" for address, action in said)
    returns = f"--B\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{returned}>\r\n" if returned else ""
    return (
        f"From: MAILER-DAEMON@mx.test\r\nTo: {ADA}\r\nSubject: Undelivered\r\nMessage-ID: <b1@mx.test>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        f"--B\r\n\r\n{text}\r\n"
        f"--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n{groups}{returns}--B--\r\n"
    ).encode()


def matched(id: str) -> ThreadMatch:
    return ThreadMatch(id, id, "it reports on <m1@example.test>")


def offer(d: Desk, id: str) -> dict[str, Any]:
    (found,) = (each for each in d.timeline() if each["id"] == id)
    return found


def told(d: Desk, id: str) -> list[tuple[str, str]]:
    return [(each["address"], each["state"]) for each in offer(d, id)["delivery"]]


async def sent_to_both(d: Desk) -> str:
    begun = await d.begin(message(to=f"{GRACE}, Mary <{MARY}>"), (GRACE, MARY))
    await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), d.clock.now()))
    return begun.id


@pytest.mark.parametrize(
    ("octets", "seen_of_it"),
    [
        (bounce((GRACE, "failed")), [(GRACE, "failed")]),
        (bounce(("Grace@CUSTOMER.test", "failed"), (MARY, "delivered")), [(GRACE, "failed"), (MARY, "delivered")]),
        (bounce(("g@elsewhere.test", "failed")), [("g@elsewhere.test", "failed")]),
        (bounce(text=f"<{MARY}>: 550 5.1.1 no such user; ask postmaster@mx.test"), [(MARY, "failed")]),
        (bounce(text="We tell nothing."), []),
    ],
    ids=["one of two", "in other letters", "somebody behind a list", "named by the text", "nobody named"],
)
@on_the_loop
async def test_whom_it_is_about_where_two_were_written_to(tmp_path, octets, seen_of_it):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent_to_both(d)
        await d.journal.record(seen(d, octets, matched(id)))
        assert told(d, id) == sorted(seen_of_it)
        assert offer(d, id)["state"] == "bounced"


@on_the_loop
async def test_it_is_about_what_it_returns_and_not_about_what_the_thread_begins_with(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        first = await sent(d)
        second = await sent(d, id="m2@example.test", subject="Offer 2")
        await d.journal.record(seen(d, bounce((GRACE, "failed"), returned="m2@EXAMPLE.test"), matched(first)))
        assert (offer(d, first)["state"], offer(d, second)["state"]) == ("sent", "bounced")
        (report,) = (each for each in d.timeline() if each["kind"] == "bounce")
        assert report["thread"] == second
        assert report["contacts"] == [GRACE]


@on_the_loop
async def test_a_late_answer_of_the_provider_does_not_make_it_sent_and_sending_again_does(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message())
        await d.journal.record(seen(d, bounce((GRACE, "failed")), matched(begun.id)))
        await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), d.clock.now()))
        assert offer(d, begun.id)["state"] == "bounced"
        again = await d.begin(message(body="Once more.\r\n"))
        assert told(d, begun.id) == []
        await d.journal.record(Sent(again.id, SmtpReply(250, ("OK",)), d.clock.now()))
        assert offer(d, begun.id)["state"] == "sent"


@on_the_loop
async def test_a_persons_answer_is_searched_for_no_report(tmp_path):
    """Whatever a person attaches: only a mail system reports."""
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        octets = bounce((GRACE, "failed")).replace(b"multipart/report", b"multipart/mixed")
        octets = octets.replace(b"MAILER-DAEMON@mx.test", GRACE.encode())
        await d.journal.record(seen(d, octets, matched(id)))
        assert (offer(d, id)["state"], told(d, id)) == ("sent", [])
        assert not d.rows(tables.deliveries)


@pytest.mark.parametrize(
    ("author", "participant"), [(GRACE, "known"), ("kay@customer.test", "unknown")], ids=["known", "a third party"]
)
@on_the_loop
async def test_who_answers(tmp_path, author, participant):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        found = seen(d, message("Re: Offer", id="r1@customer.test", sender=author, to=ADA), matched(id))
        await d.journal.record(replace(found, heading=replace(found.heading, from_=(MailAddress("", author),))))
        (answer,) = (each for each in d.timeline() if each["direction"] == "incoming")
        assert answer["participant"] == participant
        assert [row["key"] for row in d.rows(tables.contacts)] == [GRACE], "no contact is made or changed"
