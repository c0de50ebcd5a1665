"""One account's mailbox on real Dovecot: what is logged, what is never asked for, and what happens when it breaks."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable

import pytest

from proxyd.store import tables
from proxyd.workers import SystemClock
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PASSWORD, PERSON, Provider
from tests.watcher.watched import THREE_FIELDS, commands, from_stranger, idling, reply, until, watched

REFERENCES = "References: <m1@example.test>\r\n"


@on_the_loop
async def test_a_reply_is_logged_when_it_is_announced(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, clock=SystemClock()) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, from_stranger())
        provider.dovecot.deliver(PERSON, reply())
        await until(lambda: len(w.timeline()) == 2 or None, "the reply in the log")
        (logged,) = (each for each in w.timeline() if each["direction"] == "incoming")
        assert (logged["source"], logged["state"], logged["because"]) == (
            "reply",
            "received",
            "In-Reply-To names <m1@example.test>",
        )
        assert logged["thread"] == w.timeline()[-1]["thread"]
        await until(lambda: "Yes." in repr([each["text"] for each in w.timeline()]) or None, "its text")


@on_the_loop
async def test_nothing_of_other_mail_is_asked_for_and_nothing_is_marked_read(tmp_path, provider: Provider):
    dovecot = provider.dovecot
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        for n in range(5):
            dovecot.deliver(PERSON, from_stranger(n))
        dovecot.append(PERSON, "Sent", message("Private", id="p@example.test", to="friend@elsewhere.test"), flags="")
        dovecot.deliver(PERSON, reply(), CUSTOMER)
        await until(lambda: len(w.timeline()) == 2 or None, "the reply in the log")
        uid = dovecot.messages(PERSON)[-1].uid
        await until(lambda: idling(provider) == 2 or None, "both in IDLE again")
        said = commands(provider)
        fetches = [command for command in said if command.startswith("UID FETCH")]
        bodies = [command for command in fetches if "HEADER.FIELDS" not in command]
        assert {command.split()[2] for command in bodies} == {str(uid)}, bodies
        assert all("PEEK[" in command or "RFC822.SIZE" in command for command in fetches), fetches
        assert not any("TEXT" in command for command in fetches)
        assert any(THREE_FIELDS in command for command in fetches)
        assert not any("SUBJECT" in command for command in fetches if "IN-REPLY-TO" in command)
        assert not any(command.startswith(("SELECT", "UID STORE", "STORE")) for command in said)
        assert len(dovecot.sessions(PERSON)) == 2
        assert [message.flags for message in dovecot.messages(PERSON)] == [frozenset()] * 6
        assert [message.flags for message in dovecot.messages(PERSON, "Sent")] == [frozenset()]
        everything = repr([w.rows(table) for table in tables.metadata.sorted_tables])
        assert "elsewhere.test" not in everything
        assert "Private" not in everything


@on_the_loop
async def test_the_first_look_begins_at_the_end_and_a_restart_where_it_stood(tmp_path, provider: Provider):
    provider.dovecot.deliver(PERSON, reply(1))
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
    for n in range(2, 6):
        provider.dovecot.deliver(PERSON, reply(n) if n % 2 else from_stranger(n))
    async with watched(tmp_path, provider) as w:
        await until(lambda: len(w.timeline()) == 3 or None, "two replies")
        assert {each["subject"] for each in w.timeline()} == {"Offer", "Re: Offer 3", "Re: Offer 5"}
        position = await w.journal.position(PERSON, "INBOX")
        assert position is not None
        assert position.uidnext == 6


@on_the_loop
async def test_a_reply_by_references_to_a_replaced_id_and_one_to_the_reply(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply(1, field="References"))
        provider.dovecot.deliver(PERSON, reply(2, to="r1@customer.test"))
        await until(lambda: len(w.timeline()) == 3 or None, "both replies")
        assert len({each["thread"] for each in w.timeline()}) == 1


@on_the_loop
async def test_a_big_reply_comes_in_parts_and_whole(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        octets = reply(body="".join(f"line {n:07}\r\n" for n in range(200_000)))
        provider.dovecot.deliver(PERSON, octets)
        await until(lambda: len(w.timeline()) == 2 or None, "the reply")
        (stored,) = provider.dovecot.messages(PERSON)
        chunks = w.rows(tables.chunks)
        assert sum(len(row["data"]) for row in chunks) >= len(stored.octets)
        (owner,) = (row["content"] for row in w.rows(tables.messages) if row["direction"] == "incoming")
        kept = b"".join(row["data"] for row in sorted(chunks, key=lambda row: row["seq"]) if row["owner"] == owner)
        assert kept == stored.octets
        parts = [command for command in commands(provider) if "BODY.PEEK[]" in command]
        assert len(parts) == 3


@on_the_loop
async def test_mail_from_contacts_where_the_account_wants_it(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, "incoming: contacts\nnever_log: [mary@customer.test]\n") as w:
        await w.add_contact(CUSTOMER, OTHER_CUSTOMER)
        provider.dovecot.deliver(PERSON, message("New", id="n1@customer.test", sender=OTHER_CUSTOMER, to=PERSON))
        provider.dovecot.deliver(PERSON, from_stranger())
        provider.dovecot.deliver(PERSON, message("Question", id="n2@customer.test", sender=CUSTOMER, to=PERSON))
        await until(lambda: w.timeline() or None, "the contact's mail")
        (logged,) = w.timeline()
        assert (logged["source"], logged["message_id"]) == ("contact", "<n2@customer.test>")


@on_the_loop
async def test_in_junk_a_contacts_name_proves_nothing(tmp_path, provider: Provider):
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("Junk")
    async with watched(tmp_path, provider, "incoming: contacts\n") as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        forged = message("Pay here", id="forged@elsewhere.test", sender=CUSTOMER, to=PERSON)
        with provider.dovecot.imap(PERSON) as imap:
            imap.append("Junk", "", "", forged)
            imap.append("Junk", "", "", reply())  # who answers knows what only a reader of ours can know
        await w.as_time_passes(61, lambda: len(w.timeline()) == 2, "the answer that lay in Junk")
        assert {each["message_id"] for each in w.timeline()} == {"<m1@example.test>", "<r1@customer.test>"}


@on_the_loop
async def test_incoming_nothing_asks_nothing(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, "incoming: nothing\n") as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        await until(lambda: (idling(provider) == 2 and provider.dovecot.messages(PERSON)) or None, "delivered")
        provider.dovecot.append(PERSON, "Sent", message("More", id="m2@example.test"))
        await until(lambda: len(w.timeline()) == 2 or None, "what was sent from elsewhere")
        inbox = next(each for each in provider.dovecot.sessions(PERSON) if "INBOX" in "".join(each.commands))
        assert not any(command.startswith("UID FETCH") for command in inbox.commands)
        assert all(each["direction"] == "outgoing" for each in w.timeline())


@on_the_loop
async def test_our_own_mail_come_back_adds_nothing(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, message())  # a copy to oneself, the id known
        own = message("Re: Offer", id="o@example.test", to=PERSON, more="In-Reply-To: <m1@example.test>\r\n")
        provider.dovecot.deliver(PERSON, own)
        provider.dovecot.deliver(PERSON, reply())
        await until(lambda: len(w.timeline()) == 2 or None, "the reply alone")
        bodies = [command for command in commands(provider) if "BODY.PEEK[]" in command]
        assert [command.split()[2] for command in bodies] == ["3"]


@on_the_loop
async def test_what_was_sent_from_another_device(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message(), CUSTOMER)
        into_thread = message(
            "Re: Offer", id="d1@phone", to="new@customer.test", more="References: <m1@example.test>\r\n"
        )
        for octets in (
            into_thread,
            message("To a contact", id="d2@phone"),
            message("Private", id="d3@phone", to="friend@elsewhere.test"),
        ):
            provider.dovecot.append(PERSON, "Sent", octets)
        await until(lambda: len(w.timeline()) == 3 or None, "both in the log")
        logged = {each["message_id"]: each for each in w.timeline()}
        assert set(logged) == {"<m1@example.test>", "<d1@phone>", "<d2@phone>"}
        for id in ("<d1@phone>", "<d2@phone>"):
            said = logged[id]
            assert (said["source"], said["direction"], said["state"]) == ("sent_folder", "outgoing", "sent")
        assert logged["<d1@phone>"]["thread"] == logged["<m1@example.test>"]["thread"]
        provider.dovecot.deliver(PERSON, reply(9, to="d1@phone"))
        await until(lambda: len(w.timeline()) == 4 or None, "the answer to it")


@on_the_loop
async def test_what_went_through_us_and_is_not_to_be_logged_is_not_logged_by_its_copy(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        begun = await w.begin(message(more="X-CRM-Log: no\r\n"))  # on its way: its outcome is not known yet
        provider.dovecot.append(PERSON, "Sent", message())
        provider.dovecot.append(PERSON, "Sent", message("More", id="d2@phone"))
        await until(lambda: w.timeline() or None, "the other one")
        assert [each["message_id"] for each in w.timeline()] == ["<d2@phone>"]
        assert begun is not None


@on_the_loop
async def test_further_folders_by_list(tmp_path, provider: Provider):
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("Customers")
    async with watched(tmp_path, provider, "watch: {folders: [INBOX, Customers, Nowhere]}\n") as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.append(PERSON, "Customers", reply(), flags="")
        provider.dovecot.append(PERSON, "Sent", message("More", id="d2@phone"))
        await w.as_time_passes(301, lambda: len(w.timeline()) == 2, "the reply in the other folder")
        assert {each["message_id"] for each in w.timeline()} == {"<m1@example.test>", "<r1@customer.test>"}
        assert len(provider.dovecot.sessions(PERSON)) == 2


@on_the_loop
async def test_idle_is_renewed_and_the_truth_asked_for(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        before = commands(provider).count("IDLE")
        await w.clock.advance(299)
        assert commands(provider).count("IDLE") == before
        await w.clock.advance(2)
        await until(lambda: commands(provider).count("IDLE") >= before + 1 or None, "a new IDLE")
        assert sum(command.startswith("LIST") and "STATUS" in command for command in commands(provider)) == 2
        await w.parked()


@on_the_loop
async def test_the_folder_renumbered_is_matched_again_and_nothing_is_logged_twice(tmp_path, provider: Provider):
    dovecot = provider.dovecot
    async with watched(tmp_path, provider, clock=SystemClock()) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        dovecot.deliver(PERSON, reply(1))
        await until(lambda: len(w.timeline()) == 2 or None, "the first reply")
        before = await w.journal.position(PERSON, "INBOX")
    dovecot.stop()
    mailbox = next((dovecot.folder / "mail").glob("*/*/dovecot-uidlist"))
    for path in mailbox.parent.glob("dovecot*"):
        path.unlink()
    assert before is not None
    await until(lambda: time.time() > before.uidvalidity + 1 or None, "another second, which Dovecot's UIDVALIDITY is")
    dovecot.start()
    dovecot.deliver(PERSON, reply(2))
    async with watched(tmp_path, provider, clock=SystemClock()) as w:
        await until(lambda: len(w.timeline()) == 3 or None, "the second reply")
        after = await w.journal.position(PERSON, "INBOX")
        assert after is not None
        assert after.uidvalidity != before.uidvalidity
        assert sorted(each["subject"] for each in w.timeline()) == ["Offer", "Re: Offer 1", "Re: Offer 2"]


@on_the_loop
async def test_server_gone_and_back(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        assert w.state() == "connected"
        provider.dovecot.stop()
        await until(lambda: w.state() == "unreachable" or None, "unreachable")
        for _ in range(4):
            await w.clock.advance(20)
        assert w.state() == "unreachable"
        provider.dovecot.start()
        provider.dovecot.deliver(PERSON, reply())
        await w.mailbox.retry_now()
        await w.as_time_passes(20, lambda: len(w.timeline()) == 2, "the reply")
        assert w.state() == "connected"


@on_the_loop
async def test_a_changed_password_is_tried_three_times_and_then_hourly(tmp_path, provider: Provider):
    dovecot = provider.dovecot
    async with watched(tmp_path, provider, started=False) as w:
        dovecot.set_password(PERSON, "another")
        w.mailbox.start()

        for n in range(1, 4):
            await w.as_time_passes(61, lambda n=n: w.journal.condition(PERSON).refusals == n, f"refusal {n}")
        await w.as_time_passes(61, lambda: w.state() == "password_refused", "password_refused")
        condition = w.journal.condition(PERSON)
        assert "AUTHENTICATIONFAILED" in condition.evidence
        tries = condition.refusals
        for _ in range(10):
            await w.clock.advance(300)
        assert w.journal.condition(PERSON).refusals == tries
        dovecot.set_password(PERSON, PASSWORD)
        await w.mailbox.retry_now()
        await until(lambda: w.state() == "connected" or None, "connected")
        await w.parked()


@on_the_loop
async def test_one_connection_more_than_the_provider_allows(tmp_path, make_provider: Callable[..., Provider]):
    provider = make_provider(dovecot={"connections_per_user": 1})
    async with watched(tmp_path, provider, started=False) as w:
        w.mailbox.start()
        await w.parked(1)
        await w.add_contact(CUSTOMER)
        await w.sent(message())  # for its copy there is to be a second
        await until(lambda: "Maximum number of connections" in w.allowance.told or None, "what was learned")
        assert w.state() == "connected", "one connection is enough: nothing is wrong"
        assert w.allowance.told.startswith("by one connection")


@on_the_loop
async def test_an_untrusted_certificate(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, started=False, host="127.0.0.1") as w:
        w.mailbox._door._tls_context = ssl.create_default_context()  # as if `ca` were missing
        w.mailbox.start()
        await until(lambda: w.state() == "misconfigured" or None, "misconfigured")
        assert "certificate" in w.journal.condition(PERSON).evidence


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_both_kinds_of_tls_and_no_thread_kept(tmp_path, provider: Provider, tls: str):
    async with watched(tmp_path, provider, tls=tls) as w:
        assert w.state() == "connected"
        assert threading.active_count() < 16
