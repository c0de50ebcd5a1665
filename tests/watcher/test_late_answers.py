"""Answers that were read before the message that they answer was on record. On real Dovecot, and through kills."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from proxyd.provider.imap import Connection
from proxyd.store import tables
from proxyd.watcher import late_answers
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.unruly import UnrulyImap
from tests.watcher.unruled import unruled
from tests.watcher.watched import THREE_FIELDS, Watched, commands, from_stranger, reply, until, watched

COLLEAGUE = "colleague@customer.test"


def from_phone(to: str = CUSTOMER, *, id: str = "p1@phone", answers: str = "", more: str = "") -> bytes:
    named = f"In-Reply-To: <{answers}>\r\n" if answers else ""
    return message("Offer", id=id, sender=PERSON, to=to, more=named + more)


def answer(id: str) -> bytes:
    return message("Re: Offer", id=id, sender=GRACE, to=ADA, more="In-Reply-To: <p1@phone>\r\n")


def logged(w: Watched) -> set[str]:
    return {each["message_id"].strip("<>") for each in w.timeline()}


async def is_logged(w: Watched, *ids: str) -> None:
    await until(lambda: logged(w) == set(ids) or None, f"{ids} in the log")


async def was_read(w: Watched, messages: int, folder: str = "INBOX") -> None:
    """Until everything in the folder was read."""
    while (position := await w.journal.position(PERSON, folder)) is None or position.uidnext <= messages:
        await asyncio.sleep(0.02)


async def nothing_is_due(w: Watched) -> None:
    await until(lambda: not w.rows(tables.late_looks) or None, "no look due")


@on_the_loop
async def test_answered_before_the_sent_copy_was_read(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        provider.dovecot.deliver(PERSON, from_stranger())
        provider.dovecot.deliver(PERSON, reply(to="p1@phone"), CUSTOMER)
        await was_read(w, 2)
        assert w.timeline() == []
        provider.dovecot.append(PERSON, "Sent", from_phone())
        await is_logged(w, "p1@phone", "r1@customer.test")
        assert len({each["thread"] for each in w.timeline()}) == 1
        said = next(each for each in w.timeline() if each["direction"] == "incoming")
        assert (said["source"], said["because"]) == ("reply", "In-Reply-To names <p1@phone>")
        await nothing_is_due(w)
        fetches = [each for each in commands(provider) if each.startswith("UID FETCH")]
        bodies = {each.split()[2] for each in fetches if "BODY.PEEK[]" in each}
        assert bodies == {"1", "2"}, "UID 1 of Sent and 2 of INBOX"
        assert sum(THREE_FIELDS in each for each in fetches) >= 2
        assert not any(each.startswith("SELECT") for each in commands(provider))
        assert sum(each.startswith("EXAMINE") for each in commands(provider)) < 12
        kept = repr([w.rows(table) for table in tables.metadata.sorted_tables])
        assert "elsewhere.test" not in kept


@on_the_loop
async def test_a_chain_of_answers_in_every_folder(tmp_path, provider: Provider):
    """The colleague's answer names only the answer; so does the person's own, to somebody who is no contact."""
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("Customers")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        colleagues = reply(2, to="r1@customer.test").replace(CUSTOMER.encode(), COLLEAGUE.encode())
        provider.dovecot.append(PERSON, "Customers", colleagues, flags="")
        provider.dovecot.append(PERSON, "Sent", from_phone(COLLEAGUE, id="p2@phone", answers="r2@customer.test"))
        provider.dovecot.deliver(PERSON, reply(1, to="p1@phone"))
        await was_read(w, 1, "Customers")
        await was_read(w, 1, "Sent")
        await was_read(w, 1)
        assert w.timeline() == []
        await w.parked()
        await w.clock.advance(90)  # on record within a minute, the answer would have none yet
        provider.dovecot.append(PERSON, "Sent", from_phone())
        await is_logged(w, "p1@phone", "r1@customer.test", "r2@customer.test", "p2@phone")
        assert len({each["thread"] for each in w.timeline()}) == 1
        await nothing_is_due(w)


@on_the_loop
async def test_an_answer_to_an_id_that_the_copy_tells(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply(to="new@provider.test"))
        await was_read(w, 1)
        await w.parked()
        assert logged(w) == {"m1@example.test"}
        renamed = message(id="new@provider.test", more="X-Microsoft-Original-Message-ID: <m1@example.test>\r\n")
        provider.dovecot.append(PERSON, "Sent", renamed)
        await is_logged(w, "m1@example.test", "r1@customer.test")
        await nothing_is_due(w)


@pytest.mark.parametrize("together", [True, False], ids=["together", "one after the other"])
@on_the_loop
async def test_the_phones_copy_and_the_providers_under_another_id(tmp_path, provider: Provider, together: bool):
    """One message, and both its ids are known."""
    renamed = from_phone(id="new@provider.test", more="X-Microsoft-Original-Message-ID: <p1@phone>\r\n")
    async with watched(tmp_path, provider, started=not together) as w:
        await w.add_contact(CUSTOMER)
        if together:
            w.mailbox.start()
            await w.parked()
            await w.mailbox.stop()
        provider.dovecot.deliver(PERSON, reply(to="new@provider.test"))
        if not together:
            await was_read(w, 1)
        provider.dovecot.append(PERSON, "Sent", from_phone())
        if not together:
            await is_logged(w, "p1@phone")
        provider.dovecot.append(PERSON, "Sent", renamed)
        if together:
            w.mailbox.start()
        await is_logged(w, "p1@phone", "r1@customer.test")


@pytest.mark.parametrize("hide", [(), ("NOTIFY",)], ids=["NOTIFY", "no NOTIFY"])
@on_the_loop
async def test_after_a_down_period_sent_is_read_first(
    tmp_path, make_provider: Callable[..., Provider], hide: tuple[str, ...]
):
    provider = make_provider(hide=hide)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
    provider.dovecot.deliver(PERSON, reply(to="p1@phone"))
    provider.dovecot.append(PERSON, "Sent", from_phone())
    async with watched(tmp_path, provider) as w:
        await is_logged(w, "p1@phone", "r1@customer.test")
        first = next(row for row in w.rows(tables.steps) if row["what"] == "found in the mailbox")
        assert first["detail"] == "Sent"
        await nothing_is_due(w)


@pytest.mark.parametrize("finds", [True, False], ids=["the server finds them", "the server finds nothing"])
@on_the_loop
async def test_where_there_is_much_the_server_is_asked(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch, finds: bool
):
    monkeypatch.setattr(late_answers, "MANY", 4)
    monkeypatch.setattr(late_answers, "NEWEST", 2)
    if not finds:
        monkeypatch.setattr(Connection, "uids_naming", lambda *_: [])
    both = "References: <other@elsewhere.test>\r\n"
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        provider.dovecot.deliver(PERSON, reply(1, to="p1@phone"))
        provider.dovecot.deliver(PERSON, reply(2, to="p1@phone", field="References"))
        for n in range(3, 8):
            provider.dovecot.deliver(PERSON, reply(n, to="other@elsewhere.test", more=both))
        await was_read(w, 7)
        await w.parked()
        before = len(commands(provider))
        provider.dovecot.append(PERSON, "Sent", from_phone())
        await is_logged(w, "p1@phone", "r1@customer.test", "r2@customer.test")
        await nothing_is_due(w)
        again = [each.split()[2] for each in commands(provider)[before:] if THREE_FIELDS in each]
        assert ("1:7" not in again) == finds, again


@on_the_loop
async def test_a_few_folders_at_a_time_and_what_is_withheld_is_looked_for_again(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(late_answers, "FOLDERS", 2)
    with provider.dovecot.imap(PERSON) as imap:
        for n in range(5):
            imap.create(f"Customers{n}")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        provider.dovecot.append(PERSON, "Customers3", reply(to="p1@phone"), flags="")
        await was_read(w, 1, "Customers3")
        fields, withheld = Connection.fields, []

        def some(self: Connection, uids: list[int], names: tuple[str, ...]) -> dict[int, bytes]:
            found = fields(self, uids, names)
            if self.selected == "Customers3" and len(withheld) < 5:
                withheld.extend(found)
                return {}
            return found

        monkeypatch.setattr(Connection, "fields", some)
        provider.dovecot.append(PERSON, "Sent", from_phone())
        await w.as_time_passes(5, lambda: logged(w) == {"p1@phone", "r1@customer.test"}, "the answer")
        assert len(withheld) == 5
        await nothing_is_due(w)


@on_the_loop
async def test_of_what_came_before_the_account_was_read_nothing_is_logged(tmp_path):
    """That is for `proxyd backfill`, as long ago as the message was written that is logged now."""
    with UnrulyImap() as server:
        server.deliver("INBOX", answer("r1@x"), at=server.now - timedelta(days=5))
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            server.deliver("INBOX", answer("r2@x"))
            await w.turn(lambda: any("UID FETCH 2 " in each for each in server.commands()), "the new one was read")
            old = message(id="p1@phone").replace(b"23 Nov", b"18 Nov")
            server.deliver("Sent", old)
            await w.turn(lambda: len(w.everything()) == 2 and not w.rows(tables.late_looks), "both", step=61)
            assert sorted(each["message_id"] for each in w.everything()) == ["p1@phone", "r2@x"]


@on_the_loop
async def test_incoming_nothing_looks_through_sent_alone(tmp_path):
    with UnrulyImap() as server:
        async with unruled(tmp_path, server, "incoming: nothing\n") as w:
            await w.add_contact(GRACE)
            server.deliver("INBOX", answer("r1@x"))
            server.deliver("Sent", message(id="p1@phone"))
            await w.turn(lambda: len(w.everything()) == 1 and not w.rows(tables.late_looks), "what was sent", step=61)
            assert [each["message_id"] for each in w.everything()] == ["p1@phone"]
            assert not server.bodies.count("r1@x")


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False], ids=["before it", "after it"])
@on_the_loop
async def test_killed_at_any_commit_it_is_found_after_the_restart(tmp_path, writes: int, before: bool):
    with UnrulyImap() as server:
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            server.deliver("INBOX", answer("r1@x"))

            async def read() -> bool:
                position = await w.journal.position(ADA, "INBOX")
                return position is not None and position.uidnext == 2

            while not await read():
                await asyncio.sleep(0.01)
            await w.dies_at(writes, before=before)
            server.deliver("Sent", message(id="p1@phone"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    await w.turn(w.dead.is_set, "dead", step=61)
            await w.kill()
        async with unruled(tmp_path, server) as w:
            await w.turn(lambda: len(w.everything()) == 2, "both in the log", step=5)
            await w.turn(lambda: not w.rows(tables.late_looks), "no look due")
            assert w.subjects() == ["Offer", "Re: Offer"]
