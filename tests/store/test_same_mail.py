"""One mail in two accounts' logs is known to be one; a stranger's mail under its Message-ID is another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxyd.formats.message import heading, split_header
from proxyd.journal.forwarding import Octets
from proxyd.model import CopyPresent, Direction, FiledBy, Found, Seen, Sent, SmtpReply, Source, Tracked
from proxyd.rules import threads
from proxyd.store import same_mail
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, desk, message

COLLEAGUE = "charles@example.test"
TAKEN = SmtpReply(250, ("2.0.0 OK",))


def seen(d, octets: bytes, account: str = COLLEAGUE) -> Seen:
    said = heading(octets[: split_header(octets) or len(octets)])
    return Seen(
        account=account,
        direction=Direction.INCOMING,
        source=Source.CONTACT,
        heading=said,
        content=Octets(octets),
        found=Found("INBOX", 1, 5),
        at=d.clock.now(),
        verdict=Tracked("sender is a contact"),
    )


async def sent(d) -> str:
    begun = await d.begin(message())
    await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
    return begun.id


def keys(d) -> dict[str, str]:
    return {each["account"]: each["mail"] for each in d.timeline()}


@on_the_loop
async def test_sent_by_one_and_received_by_a_colleague(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        assert keys(d) == {ADA: id}
        await d.journal.record(seen(d, message()))
        assert keys(d) == {ADA: id, COLLEAGUE: id}
        with d.database.reading() as connection:
            assert len(same_mail.records(connection, id)) == 2


@on_the_loop
async def test_under_the_id_that_the_provider_gave_it_later(tmp_path):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        id = await sent(d)
        await d.journal.record(seen(d, message(id="replaced@provider.test")))
        assert len(set(keys(d).values())) == 2
        found = Found("Sent", 1, 7)
        await d.journal.record(
            CopyPresent(id, found, FiledBy.PROVIDER, 1, d.clock.now(), ids=("replaced@provider.test",))
        )
        assert keys(d) == {ADA: id, COLLEAGUE: id}


@pytest.mark.parametrize(
    "other",
    [
        message(sender="mallory@elsewhere.test"),
        message().replace(b"23 Nov 2026", b"24 Nov 2026"),
        message(id="m2@example.test"),
    ],
    ids=["another author", "another day", "another id"],
)
@on_the_loop
async def test_what_is_another_mail(tmp_path, other: bytes):
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        await sent(d)
        await d.journal.record(seen(d, other))
        assert len(set(keys(d).values())) == 2


@on_the_loop
async def test_an_answer_that_was_found_before_what_it_answers_shares_its_thread(tmp_path):
    async with desk(tmp_path) as d:
        answer = message("Re: Offer", id="r1@customer.test", sender=GRACE, more="In-Reply-To: <m1@example.test>\r\n")
        await d.journal.record(seen(d, answer))
        await d.journal.record(seen(d, message()))
        assert len({each["thread"] for each in d.timeline()}) == 1
        await d.journal.record(seen(d, message(id="m3@example.test")))
        assert len({each["thread"] for each in d.timeline()}) == 2


@on_the_loop
async def test_what_is_found_last_joins_two_conversations_that_were_one(tmp_path):
    async with desk(tmp_path) as d:
        for id, to in (("a@x.test", ""), ("c@x.test", "b@x.test"), ("d@x.test", "c@x.test")):
            more = f"In-Reply-To: <{to}>\r\n" if to else ""
            await d.journal.record(await answering(d, message(id=id, more=more)))
        assert len({each["thread"] for each in d.timeline()}) == 2
        await d.journal.record(await answering(d, message(id="b@x.test", more="In-Reply-To: <a@x.test>\r\n")))
        assert len(d.timeline()) == 4
        assert len({each["thread"] for each in d.timeline()}) == 1


async def answering(d, octets: bytes) -> Seen:
    found = seen(d, octets)
    known = await d.journal.tracked(COLLEAGUE, threads.named_ids(found.heading))
    return replace(found, match=threads.match(found.heading, known))
