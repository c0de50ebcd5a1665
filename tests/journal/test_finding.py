"""What the journal keeps of messages found in the mailbox: each once, and never further than was read."""

from __future__ import annotations

import pytest

from proxyd.formats.message import heading, split_header
from proxyd.journal.forwarding import Octets
from proxyd.model import (
    CopyAppending,
    CopyPostponed,
    CopyPresent,
    Direction,
    FiledBy,
    Found,
    HealthCause,
    HealthEvent,
    MailboxPosition,
    Seen,
    Sent,
    SmtpReply,
    Source,
    ThreadMatch,
    Tracked,
)
from proxyd.store import tables
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, desk, message

TAKEN = SmtpReply(250, ("2.0.0 OK",))


def reply(**changes) -> bytes:
    given = {"id": "r1@customer.test", "sender": f"Grace <{GRACE}>", "to": ADA}
    return message("Re: Offer", **given | changes, more="In-Reply-To: <m1@example.test>\r\n")


def seen(d, octets: bytes, match: ThreadMatch | None, *, source=Source.REPLY, uid: int = 5) -> Seen:
    said = heading(octets[: split_header(octets) or len(octets)])
    outgoing = source is Source.SENT_FOLDER
    return Seen(
        account=ADA,
        direction=Direction.OUTGOING if outgoing else Direction.INCOMING,
        source=source,
        heading=said,
        content=Octets(octets),
        found=Found("Sent" if outgoing else "INBOX", 1, uid),
        at=d.clock.now(),
        verdict=Tracked(match.because if match else "sender is a contact"),
        match=match,
    )


async def sent(d, **changes):
    begun = await d.begin(message(**changes))
    await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
    return begun.id


def match(id: str) -> ThreadMatch:
    return ThreadMatch(id, id, "In-Reply-To names <m1@example.test>")


@on_the_loop
async def test_a_reply_is_logged_once_with_the_cursor_in_one_commit(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        at = MailboxPosition(1, 6, d.clock.now())
        for _ in range(2):  # the second time as after a crash before the cursor was believed
            await d.journal.set_position(ADA, "INBOX", at, [seen(d, reply(), match(id))])
        assert await d.journal.position(ADA, "INBOX") == at
        answer, offer = sorted(d.timeline(), key=lambda each: each["direction"])
        assert (answer["direction"], answer["state"], answer["source"]) == ("incoming", "received", "reply")
        assert answer["thread"] == offer["thread"] == id
        assert answer["in_reply_to"] == offer["message_id"]
        assert answer["contacts"] == [GRACE]
        assert set(await d.journal.tracked(ADA, ["r1@customer.test"])) == {"r1@customer.test"}
        assert len(d.rows(tables.chunks)) == 4


@on_the_loop
async def test_a_message_without_an_id_has_a_name_of_its_own(tmp_path):
    async with desk(tmp_path) as d:
        id = await sent(d)
        for _ in range(2):
            await d.journal.record(seen(d, reply(id=""), match(id)))
        incoming = [each for each in d.timeline() if each["direction"] == "incoming"]
        assert len(incoming) == 1
        assert incoming[0]["message_id"].endswith("@no-message-id.invalid>")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("", "message"),
        ("Auto-Submitted: auto-replied\r\n", "auto_reply"),
        ('Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n', "bounce"),
    ],
    ids=["person", "out of office", "bounce"],
)
@on_the_loop
async def test_what_kind_of_answer_it_is(tmp_path, more, kind):
    async with desk(tmp_path) as d:
        await d.journal.record(seen(d, message(sender=GRACE, to=ADA, id="r@c", more=more), None))
        assert d.timeline()[0]["kind"] == kind


@on_the_loop
async def test_mail_sent_from_elsewhere_is_in_sent_already(tmp_path):
    async with desk(tmp_path) as d:
        await d.journal.record(seen(d, message(id="phone@example.test"), None, source=Source.SENT_FOLDER))
        (logged,) = d.timeline()
        assert (logged["state"], logged["source"]) == ("sent", "sent_folder")
        assert logged["sent_copy"]["state"] == "present"


@on_the_loop
async def test_our_own_copy_found_in_sent_is_no_second_message(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        await sent(d)
        await d.journal.record(seen(d, message(), None, source=Source.SENT_FOLDER))
        assert [each["source"] for each in d.timeline()] == ["smtp"]


@on_the_loop
async def test_a_sent_copy_that_takes_several_tries(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        await d.journal.record(CopyAppending(id, "Sent", d.clock.now()))
        (copy,) = await d.journal.copies.due(ADA)
        assert copy.appending_since == d.clock.now()
        await d.journal.record(CopyPostponed(id, "no answer", d.clock.now(), d.clock.now()))
        (copy,) = await d.journal.copies.due(ADA)
        assert copy.appending_since is not None, "an APPEND of unknown outcome is remembered until a copy is seen"
        ours = Found("Sent", 1, 9)
        await d.journal.record(CopyPresent(id, ours, FiledBy.PROXYD, 1, d.clock.now()))
        theirs = Found("Sent", 1, 10)
        await d.journal.record(CopyPresent(id, theirs, FiledBy.CLIENT, 1, d.clock.now(), ("renamed@provider",)))
        copy = (await d.journal.copies.owned(ADA, ["renamed@provider"]))["renamed@provider"]
        assert (copy.by, copy.appended_uid) == (FiledBy.CLIENT, None)
        assert d.timeline()[0]["other_ids"] == ["<renamed@provider>"]


@on_the_loop
async def test_a_copy_given_up_is_shown_with_its_reason(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        await d.journal.record(CopyPostponed(id, "mailbox full", d.clock.now(), d.clock.now(), failed=True))
        assert d.timeline()[0]["sent_copy"] == {
            "state": "failed",
            "by": None,
            "folder": None,
            "copies": 0,
            "error": "mailbox full",
        }
        assert await d.journal.copies.due(ADA) == []


@on_the_loop
async def test_what_was_learned_is_remembered(tmp_path):
    async with desk(tmp_path) as d:
        assert await d.journal.learned(ADA, "files_sent") is None
        await d.journal.learn(ADA, "files_sent", "no")
        await d.journal.learn(ADA, "files_sent", "yes")
    async with desk(tmp_path) as d:
        assert await d.journal.learned(ADA, "files_sent") == "yes"


@on_the_loop
async def test_health_goes_through_the_rule(tmp_path):
    async with desk(tmp_path) as d:
        assert d.journal.condition(ADA).state == "connecting"
        await d.journal.health(ADA, HealthEvent(HealthCause.SIGNED_IN, "IMAP"))
        assert d.journal.last_seen(ADA) == d.clock.now()
        await d.journal.health(ADA, HealthEvent(HealthCause.UNREACHABLE, "IMAP", "connection refused"))
        assert d.journal.condition(ADA).state == "unreachable"
        assert "connection refused" in d.journal.condition(ADA).sentence
