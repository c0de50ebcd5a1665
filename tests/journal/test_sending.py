"""What the journal keeps of a message that is sent, and what it lets go."""

from __future__ import annotations

import hashlib

import pytest

from proxyd.journal import Begun, Joined, Logged, sending
from proxyd.journal.intake import MOST_HELD, Intake, KeptContent, Room
from proxyd.model import (
    CopyPostponed,
    CopyPresent,
    DropboxPostponed,
    DropboxTrying,
    FiledBy,
    Found,
    LookedFor,
    NotSent,
    SendUnknown,
    Sent,
    SmtpReply,
    State,
    Told,
)
from proxyd.store import content, tables
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, desk, message

TAKEN = SmtpReply(250, ("2.0.0 OK queued as 4711",))


async def octets(kept) -> bytes:
    return b"".join([chunk async for chunk in kept.chunks()])


def kept_chunks(d) -> int:
    return len(d.rows(tables.chunks))


@on_the_loop
async def test_a_tracked_message_from_begun_to_its_sent_copy(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message(more=f"Bcc: {ADA}\r\n"))
        assert isinstance(begun, Begun)
        assert d.timeline()[0]["state"] == "submitting"
        wire = await octets(begun.content)
        assert wire == message()
        assert begun.content.size == len(wire)

        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        (copy,) = await d.journal.copies.due(ADA)
        assert await octets(copy.content) == message(more=f"Bcc: {ADA}\r\n")
        assert copy.ids == ("m1@example.test",)
        assert (copy.due - copy.accepted_at).total_seconds() == 20
        await d.journal.record(CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, d.clock.now()))
        assert await d.journal.copies.due(ADA) == []

        (logged,) = d.timeline()
        assert logged["state"] == "sent"
        assert logged["because"] == f"recipient {GRACE} is a contact"
        assert logged["sent_copy"] == {"state": "present", "by": "client", "folder": "Sent", "copies": 1}
        assert logged["crm"] == [{"name": "local", "state": "delivered", "remote_id": begun.id}]
        assert kept_chunks(d) > 0


@on_the_loop
async def test_an_untracked_message_leaves_its_hashed_id_and_the_reason(tmp_path):
    async with desk(tmp_path) as d:
        begun = await d.begin(message(body="a secret\r\n"), ["private@elsewhere.test"])
        await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK <private@elsewhere.test>",)), d.clock.now()))
        await d.journal.record(Told(begun.id, TAKEN, d.clock.now()))
        assert kept_chunks(d) > 0  # its Sent copy is not verified yet
        await d.journal.record(
            CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.PROVIDER, 1, d.clock.now(), ("new@provider",))
        )
        assert kept_chunks(d) == 0
        assert d.timeline() == []
        everything = repr([d.rows(table) for table in tables.metadata.sorted_tables])
        for private in ("elsewhere.test", "secret", "Offer", "m1@example", "new@provider"):
            assert private not in everything, private
        (row,) = d.rows(tables.submissions)
        assert row["because"] == "no recipient is a known contact"
        with d.database.reading() as connection:
            from proxyd.store import submissions

            assert submissions.owners(connection, [d.database.hash_id("m1@example.test")]) != {}


@on_the_loop
async def test_a_late_upload_finds_the_copy_of_a_message_that_is_gone(tmp_path):
    async with desk(tmp_path) as d:
        begun = await d.begin(message(), ["private@elsewhere.test"])
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        await d.journal.record(CopyPresent(begun.id, Found("Sent", 9, 7), FiledBy.PROXYD, 1, d.clock.now()))
        assert kept_chunks(d) == 0
        copies = await d.journal.copies.owned(ADA, ["m1@example.test", "other@example.test"])
        assert set(copies) == {"m1@example.test"}
        copy = copies["m1@example.test"]
        assert (copy.appended_uid, copy.uidvalidity, copy.folder, copy.content) == (7, 9, "Sent", None)


@on_the_loop
async def test_sent_copies_that_are_not_wanted_keep_nothing(tmp_path):
    async with desk(tmp_path, "sent_copy: {of: tracked}\n") as d:
        begun = await d.begin(message(), ["private@elsewhere.test"])
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        assert await d.journal.copies.due(ADA) == []
        await d.settled()
        assert kept_chunks(d) == 0


@on_the_loop
async def test_what_a_kill_left_is_let_go_of_at_the_start(tmp_path):
    async with desk(tmp_path, "sent_copy: {of: tracked}\n") as d:
        begun = await d.begin(message(), ["private@elsewhere.test"])
        await d.database.write(lambda c: sending.sent(c, d.accounts, Sent(begun.id, TAKEN, d.clock.now()), str))
        assert kept_chunks(d) == 2
    async with desk(tmp_path) as d:
        assert kept_chunks(d) == 0


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@on_the_loop
async def test_a_refused_message(tmp_path, tracked):
    async with desk(tmp_path) as d:
        if tracked:
            await d.add_contact(GRACE)
        begun = await d.begin(message())
        await d.journal.record(NotSent(begun.id, SmtpReply(550, ("5.1.1 no such user",)), d.clock.now()))
        assert [each["state"] for each in d.timeline()] == (["refused"] if tracked else [])
        assert kept_chunks(d) == (1 if tracked else 0) * 2
        assert await d.journal.copies.due(ADA) == []
        again = await d.begin(message())
        assert isinstance(again, Begun)
        await d.journal.record(Sent(again.id, TAKEN, d.clock.now()))
        assert [each["state"] for each in d.timeline()] == (["sent"] if tracked else [])


@on_the_loop
async def test_the_same_mail_again_finds_its_first_outcome_until_250_was_heard(tmp_path):
    async with desk(tmp_path) as d:
        first = await d.begin(message())
        assert await d.begin(message()) == Joined(first.id, State.SUBMITTING, None)
        await d.journal.record(Sent(first.id, TAKEN, d.clock.now()))
        assert await d.begin(message()) == Joined(first.id, State.SENT, TAKEN)
        await d.journal.record(Told(first.id, SmtpReply(451), d.clock.now()))
        assert await d.begin(message()) == Joined(first.id, State.SENT, TAKEN)
        await d.journal.record(Told(first.id, TAKEN, d.clock.now()))
        second = await d.begin(message())
        assert isinstance(second, Begun)
        assert second.id != first.id


@pytest.mark.parametrize(
    ("octets", "recipients"),
    [
        (message(body="Dear Grace,\r\nhere it is, corrected.\r\n"), (GRACE,)),
        (message(), (GRACE, "more@customer.test")),
        (message(id="m2@example.test"), (GRACE,)),
    ],
    ids=["other words", "other recipients", "other id"],
)
@on_the_loop
async def test_another_mail_is_never_joined(tmp_path, octets, recipients):
    async with desk(tmp_path) as d:
        await d.begin(message())
        assert isinstance(await d.begin(octets, recipients), Begun)


@on_the_loop
async def test_after_a_day_the_same_mail_is_a_new_one(tmp_path):
    async with desk(tmp_path) as d:
        await d.begin(message())
        await d.clock.advance(25 * 3600)
        assert isinstance(await d.begin(message()), Begun)


@on_the_loop
async def test_an_unknown_outcome_is_looked_for_before_it_is_sent_again(tmp_path):
    async with desk(tmp_path) as d:
        first = await d.begin(message())
        await d.journal.record(SendUnknown(first.id, "the connection was lost", d.clock.now()))
        assert d.journal.wakes.copies(ADA).is_set()
        (unknown,) = await d.journal.unknown_submissions(ADA)
        assert unknown.ids == ("m1@example.test",)
        assert await d.begin(message()) == Joined(first.id, State.UNKNOWN, None)
        await d.journal.record(LookedFor(first.id, "Sent", d.clock.now()))
        again = await d.begin(message())
        assert isinstance(again, Begun)
        assert await d.journal.unknown_submissions(ADA) == []


@on_the_loop
async def test_an_unknown_outcome_that_is_found_counts_as_sent(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        first = await d.begin(message())
        await d.journal.record(SendUnknown(first.id, "the connection was lost", d.clock.now()))
        assert d.timeline()[0]["state"] == "unknown"
        await d.journal.record(Sent(first.id, SmtpReply(250, ("2.0.0 found in Sent",)), d.clock.now()))
        assert d.timeline()[0]["state"] == "sent"
        assert (await d.begin(message())).state is State.SENT


@on_the_loop
async def test_whoever_waits_hears_the_outcome(tmp_path):
    import asyncio

    async with desk(tmp_path) as d:
        begun = await d.begin(message())
        waiting = asyncio.ensure_future(d.journal.wait_settled(begun.id, 60))
        await d.clock.sleeper()
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        assert await waiting == (State.SENT, TAKEN)
        assert await d.journal.wait_settled(begun.id, 60) == (State.SENT, TAKEN)

        other = await d.begin(message(id="m2@example.test"))
        waiting = asyncio.ensure_future(d.journal.wait_settled(other.id, 60))
        await d.clock.sleeper()
        await d.clock.advance(61)
        assert await waiting == (State.SUBMITTING, None)


@on_the_loop
async def test_what_was_under_way_at_a_kill_is_unknown_after_the_start(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message())
        half = d.journal.intake(ADA)
        await half.header(b"Subject: half\r\n\r\n")
        await half.write(b"x" * ((MOST_HELD + 1) * content.CHUNK + 1))
        await d.database.write(lambda connection: None)
        before = kept_chunks(d)
        assert before == 2 + 1 + MOST_HELD + 1
    async with desk(tmp_path, clock=d.clock) as d:
        assert [row.id for row in await d.journal.unknown_submissions(ADA)] == [begun.id]
        assert d.timeline()[0]["state"] == "unknown"
        assert kept_chunks(d) == 2
        assert await d.begin(message()) == Joined(begun.id, State.UNKNOWN, None)


@on_the_loop
async def test_a_large_message_is_kept_in_chunks_and_read_back(tmp_path):
    body = "".join(f"line {n}\r\n" for n in range(200_000))
    async with desk(tmp_path) as d:
        begun = await d.begin(message(body=body))
        wire = await octets(begun.content)
        assert hashlib.sha256(wire).digest() == hashlib.sha256(message(body=body)).digest()
        assert kept_chunks(d) == 1 + -(-len(body) // content.CHUNK)


@on_the_loop
async def test_messages_on_their_way_hold_no_more_memory_than_there_is_room_for(tmp_path):
    async with desk(tmp_path) as d:
        room = Room(3 * content.CHUNK)

        async def come(id: str, chunks: int) -> tuple[Intake, int]:
            """(the message, how many of its chunks are in the store before it is begun)"""
            intake = Intake(d.database, d.workers, id, room)
            await intake.header(b"Subject: s\r\n\r\n")
            await intake.write(b"x" * chunks * content.CHUNK)
            await d.database.write(lambda connection: None)
            with d.database.reading() as connection:
                return intake, content.count(connection, id)

        first, written = await come("1", 2)
        assert written == 0
        second, written = await come("2", 2)
        assert written == 1 + 2
        await d.database.write(first.finish)
        kept = first.kept()
        assert await octets(kept) == await octets(KeptContent(d.database, d.workers, "1", kept.header, 0, None))
        del first
        assert (await come("3", 2))[1] == 1 + 2, "it can still be read"
        del kept
        assert (await come("4", 2))[1] == 0
        await second.abandon()


@on_the_loop
async def test_a_joined_message_is_not_kept_twice(tmp_path):
    body = "x" * 1000 + "\r\n"
    async with desk(tmp_path) as d:
        await d.begin(message(body=body * 600))
        before = kept_chunks(d)
        assert isinstance(await d.begin(message(body=body * 600)), Joined)
        await d.database.write(lambda connection: None)
        assert kept_chunks(d) == before


@on_the_loop
async def test_the_dropbox_gets_its_copy_and_nobody_sees_it(tmp_path):
    box = "4711@bcc.crm.test"
    async with desk(tmp_path, f"dropbox: {box}\n") as d:
        big = "x" * 600_000 + "\r\n"
        begun = await d.begin(message(more=f"Cc: {box}, mary@customer.test\r\nBcc: {box}\r\n", body=big), [GRACE, box])
        assert [each.address for each in begun.envelope.recipients] == [GRACE]
        assert box.encode() not in await octets(begun.content)
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        (copy,) = await d.journal.copies.due(ADA)
        assert box.encode() not in await octets(copy.content)
        ((owed, kept),) = await d.journal.due_dropboxes()
        assert (owed.address, owed.sender) == (box, ADA)
        assert b"mary@customer.test" in await octets(kept)
        assert d.timeline()[0]["dropbox"] == {"address": box, "state": "waiting"}
        await d.journal.record(DropboxPostponed(begun.id, "550 no", None, d.clock.now()))
        assert d.timeline()[0]["dropbox"] == {"address": box, "state": "failed", "error": "550 no"}
        assert d.timeline()[0]["state"] == "sent"


@pytest.mark.parametrize(
    ("refused", "state", "again"),
    [
        ((), {"state": "sent"}, 0),
        ((SmtpReply(550, ("no",)),), {"state": "failed", "error": "550 no"}, 0),
        ((SmtpReply(451, ("not now",)),), {"state": "waiting", "error": "451 not now"}, 1),
    ],
    ids=["taken", "refused", "not now: alone, later"],
)
@on_the_loop
async def test_where_the_provider_files_it_the_dropbox_is_in_the_one_transaction(tmp_path, refused, state, again):
    box = "4711@bcc.crm.test"
    async with desk(tmp_path, f"dropbox: {box}\n") as d:
        await d.add_contact(GRACE)
        await d.journal.learn(ADA, "files_sent", "yes")
        begun = await d.begin(message(more=f"Bcc: {box}\r\n"), [GRACE, box])
        assert [(each.address, each.optional) for each in begun.envelope.recipients] == [(GRACE, False), (box, True)]
        assert box.encode() not in await octets(begun.content)
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now(), tuple((box, each) for each in refused)))
        assert d.timeline()[0]["dropbox"] == {"address": box} | state
        assert len(await d.journal.due_dropboxes()) == again


@on_the_loop
async def test_a_dropbox_copy_interrupted_by_a_kill_is_not_sent_twice(tmp_path):
    async with desk(tmp_path, "dropbox: 4711@bcc.crm.test\ntrack: everything\n") as d:
        begun = await d.begin(message())
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        await d.journal.record(DropboxTrying(begun.id, d.clock.now()))
    async with desk(tmp_path, "dropbox: 4711@bcc.crm.test\ntrack: everything\n") as d:
        assert await d.journal.due_dropboxes() == []
        assert "proxyd stopped" in d.timeline()[0]["dropbox"]["error"]


@on_the_loop
async def test_sending_again_what_is_logged_updates_the_one_record(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        for _ in range(2):
            begun = await d.begin(message())
            await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
            await d.journal.record(Told(begun.id, TAKEN, d.clock.now()))
        assert len(d.timeline()) == 1
        assert len(d.rows(tables.submissions)) == 2


@on_the_loop
async def test_the_id_in_the_providers_answer_is_one_more_name(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message())
        answer = SmtpReply(250, ("2.0.0 OK <VI1P123@eurprd.prod.outlook.com> [Hostname=VI1]",))
        await d.journal.record(Sent(begun.id, answer, d.clock.now()))
        assert d.timeline()[0]["other_ids"] == ["<VI1P123@eurprd.prod.outlook.com>"]
        assert set(await d.journal.tracked(ADA, ["VI1P123@eurprd.prod.outlook.com", "x@y"])) == {
            "VI1P123@eurprd.prod.outlook.com"
        }


@pytest.mark.parametrize("how", ["attached", "inline"])
@on_the_loop
async def test_mail_for_the_log_alone_logs_what_it_forwards(tmp_path, how):
    original = message("An older answer", id="old@customer.test", sender=f"Grace <{GRACE}>", to=ADA)
    if how == "attached":
        forwarding = message(
            "Fwd",
            to="log@crm.localhost",
            more='MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n',
            body="--b\r\nContent-Type: text/plain\r\n\r\nfor the file\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            + original.decode()
            + "\r\n--b--\r\n",
        )
    else:
        block = f"---------- Forwarded message ---------\r\nFrom: Grace <{GRACE}>\r\nSubject: An older answer\r\n"
        forwarding = message("Fwd", to="log@crm.localhost", body=f"see\r\n\r\n{block}To: {ADA}\r\n\r\nYes, please.\r\n")
    async with desk(tmp_path) as d:
        logged = await d.begin(forwarding, ["log@crm.localhost"])
        assert isinstance(logged, Logged)
        (shown,) = d.timeline()
        assert (shown["subject"], shown["direction"], shown["source"]) == ("An older answer", "incoming", "forwarded")
        assert shown["from"]["address"] == GRACE
        if how == "attached":
            assert shown["message_id"] == "<old@customer.test>"
        assert await d.journal.copies.due(ADA) == []
        assert d.rows(tables.submissions) == []


@on_the_loop
async def test_mail_to_the_dropbox_alone_goes_there_once(tmp_path):
    box = "4711@bcc.crm.test"
    async with desk(tmp_path, f"dropbox: {box}\n") as d:
        begun = await d.begin(message(to=box), [box])
        assert [each.address for each in begun.envelope.recipients] == [box]
        assert f"To: {box}".encode() in await octets(begun.content)
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        assert await d.journal.due_dropboxes() == []


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@on_the_loop
async def test_what_was_never_settled_is_not_kept_for_ever(tmp_path, tracked):
    async with desk(tmp_path) as d:
        if tracked:
            await d.add_contact(GRACE)
        unknown = await d.begin(message())
        await d.journal.record(SendUnknown(unknown.id, "lost", d.clock.now()))
        unfiled = await d.begin(message(id="m2@example.test"))
        await d.journal.record(Sent(unfiled.id, TAKEN, d.clock.now()))
        now = d.clock.now()
        await d.journal.record(CopyPostponed(unfiled.id, "mailbox full", now, now, failed=True))
        await d.clock.advance(8 * 86400)
        await d.journal.tidy()
        assert kept_chunks(d) == (4 if tracked else 2)
        await d.clock.advance(23 * 86400)
        await d.journal.tidy()
        assert kept_chunks(d) == (4 if tracked else 0)
