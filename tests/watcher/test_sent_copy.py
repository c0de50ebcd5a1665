"""Exactly one copy in Sent, on real Dovecot: whoever files it, whenever, and whatever breaks in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from proxyd.model import LOGGED_MARK, CopyPostponed, SendUnknown, SmtpReply, Spooled
from proxyd.provider.imap import Connection, Unreachable
from proxyd.rules import sent_copy as rules
from proxyd.store import submissions, tables
from proxyd.web import answers_copies, answers_spool
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, commands, idling, until, watched

RECEIVED = "Received: from laptop by mail.example.test with ESMTPSA id 1; Mon, 23 Nov 2026 10:00:01 +0000\r\n"
YEAR = 365 * 86400
OTHER = message("Other", id="x@phone", to="a@b.test")


def copies(provider: Provider, folder: str = "Sent"):
    return provider.dovecot.messages(PERSON, folder)


async def waited_for(w: Watched) -> None:
    """Until the watcher knows of the due copy and sleeps until then."""
    await until(lambda: w.mailbox._copies._until or None, "the wait for the client's own copy")
    await w.parked()


@on_the_loop
async def test_nobody_files_it_and_we_do(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        octets = message(more="Bcc: boss@example.test\r\n", body=".\r\n\u00e4 no line end")
        id = await w.sent(octets)
        await waited_for(w)
        assert copies(provider) == []
        row = await w.ripened(id)
        (copy,) = copies(provider)
        assert copy.octets == octets
        assert copy.flags == frozenset({"\\Seen", LOGGED_MARK})
        assert datetime.strptime(copy.internaldate, "%d-%b-%Y %H:%M:%S %z") == row["accepted_at"]
        assert (row["state"], row["by"], row["appended_uid"], row["copies"]) == ("present", "proxyd", copy.uid, 1)
        await w.clock.advance(301)  # seen again by its own watch, it changes nothing
        await w.parked()
        assert len(copies(provider)) == 1
        assert w.copy(id)["by"] == "proxyd"
        assert not any(command.startswith(("SELECT", "UID STORE")) for command in commands(provider))


@pytest.mark.parametrize(
    ("filed", "by"),
    [
        (message(), "client"),
        (message(more="Bcc: boss@example.test\r\n"), "client"),
        (RECEIVED.encode() + message(), "provider"),
        (message(id="new@provider.test", more="X-Microsoft-Original-Message-ID: <m1@example.test>\r\n"), "provider"),
        (message(id="other@provider.test"), "provider"),
    ],
    ids=["client", "client with Bcc", "provider", "provider with another id beside ours", "another id alone"],
)
@on_the_loop
async def test_somebody_else_files_it(tmp_path, provider: Provider, filed: bytes, by: str):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        uid = provider.dovecot.append(PERSON, "Sent", filed)
        row = await w.settled(id)
        assert (row["state"], row["by"], row["uid"], row["appended_uid"]) == ("present", by, uid, None)
        await w.clock.advance(330)
        assert len(copies(provider)) == 1
        assert (await w.journal.learned(PERSON, "files_sent")) == (f"once {id}" if by == "provider" else None)
        if b"provider.test" in filed:  # a reply names the id that its author saw
            (logged,) = w.timeline()
            assert any("provider.test" in each for each in logged["other_ids"])


@on_the_loop
async def test_filed_before_the_provider_answered_us(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        uid = provider.dovecot.append(PERSON, "Sent", message())
        await w.parked()
        id = await w.sent(message())
        row = await w.settled(id)
        assert (row["by"], row["uid"]) == ("client", uid)
        assert len(copies(provider)) == 1


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@on_the_loop
async def test_the_client_is_late_and_ours_goes(tmp_path, provider: Provider, tracked: bool):
    async with watched(tmp_path, provider) as w:
        if tracked:
            await w.add_contact(CUSTOMER)
        other = provider.dovecot.append(PERSON, "Sent", OTHER, flags="\\Deleted")
        id = await w.sent(message())
        await waited_for(w)
        ours = (await w.ripened(id))["appended_uid"]
        await w.parked()
        theirs = provider.dovecot.append(PERSON, "Sent", message(more="Bcc: boss@example.test\r\n"), flags="")
        await until(lambda: w.copy(id)["by"] == "client" or None, "theirs on record")
        left = {copy.uid: copy.flags for copy in copies(provider)}
        assert left == {other: frozenset({"\\Deleted"}), theirs: frozenset({LOGGED_MARK} if tracked else ())}
        row = w.copy(id)
        assert (row["uid"], row["appended_uid"], row["copies"]) == (theirs, None, 1)
        assert ours not in left
        await w.parked()  # the folder is open read-only again
        assert commands(provider)[-2].startswith(("EXAMINE", "UID")) or idling(provider) == 2


@on_the_loop
async def test_without_uidplus_ours_stays_while_others_are_marked_deleted(
    tmp_path, make_provider: Callable[..., Provider]
):
    provider = make_provider(hide=["UIDPLUS"])
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        with provider.dovecot.imap(PERSON) as imap:
            imap.append("Sent", "\\Deleted", "", OTHER)
        id = await w.sent(message())
        await waited_for(w)
        ours = (await w.ripened(id))["appended_uid"]
        assert ours == 2
        await w.parked()
        with provider.dovecot.imap(PERSON) as imap:
            imap.append("Sent", "", "", message())
        await until(lambda: w.copy(id)["copies"] == 2 or None, "both on record")
        assert [copy.uid for copy in copies(provider)] == [1, 2, 3]
        assert (w.copy(id)["by"], w.copy(id)["appended_uid"]) == ("proxyd", 2)


@on_the_loop
async def test_a_message_with_our_uid_that_is_not_ours_is_never_touched(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        await w.ripened(id)
        await w.parked()
        private = provider.dovecot.append(PERSON, "Sent", message("Private", id="p@phone", to="a@b.test"))
        await w.database.write(lambda c: c.execute(tables.sent_copies.update().values(appended_uid=private)))
        provider.dovecot.append(PERSON, "Sent", message())
        await until(lambda: w.copy(id)["copies"] > 1 or None, "more than one on record")
        assert private in {copy.uid for copy in copies(provider)}


@on_the_loop
async def test_the_provider_files_it_and_is_late_we_never_append(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, files_sent="yes") as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        for _ in range(4):
            await w.clock.advance(20)
        assert copies(provider) == []
        assert w.copy(id)["state"] == "waiting"
        for _ in range(8):
            await w.parked()
            await w.clock.advance(300)
        row = await w.settled(id)
        assert (row["state"], row["error"]) == ("failed", "sent_copy_missing")
        assert not any(command.startswith("APPEND") for command in commands(provider))
        provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + message())
        await until(lambda: w.copy(id)["state"] == "present" or None, "present after all")


@on_the_loop
async def test_what_was_sent_while_the_clock_was_ahead_is_settled_when_it_is_right_again(tmp_path, provider: Provider):
    """A machine that took local time for UTC, or 2037 for now: nobody waits for that."""
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        w.clock.set_by(10 * YEAR)
        id = await w.sent(message())
        lost = await w.begin(message(id="m2@example.test"))
        await w.journal.record(SendUnknown(lost.id, "lost behind the dot", w.clock.now()))
        await waited_for(w)
        w.clock.set_by(-10 * YEAR)
        await w.clock.advance(301)  # it is looked at before anybody knows that the clock was set
        await w.parked()
        assert w.copy(id)["state"] == "waiting"
        await w.journal.clock_was_set()
        assert (await w.ripened(id))["by"] == "proxyd"
        assert len(copies(provider)) == 1
        assert w.copy(id)["accepted_at"] <= w.clock.now()

        def looked_at() -> object:
            with w.database.reading() as connection:
                return submissions.get(connection, lost.id).looked_at

        await w.as_time_passes(21, looked_at, "a look for what nobody knows of")


async def tried_again(w: Watched) -> None:
    """What `proxyd copies retry` asks of the daemon."""
    at = w.clock.now()
    _, accounts = await w.workers.run(answers_copies.retry, w.database, None, None, None, at)
    for account in accounts:
        w.journal.wakes.copies(account).set()


@pytest.mark.parametrize("by_hand", [False, True], ids=["it never came", "somebody put it there meanwhile"])
@pytest.mark.parametrize("files_sent", ["yes", "no"])
@on_the_loop
async def test_a_copy_that_was_given_up_is_looked_for_and_filed_when_a_person_says_so(
    tmp_path, provider: Provider, files_sent: str, by_hand: bool
):
    async with watched(tmp_path, provider, files_sent=files_sent, started=False) as w:
        await w.add_contact(CUSTOMER)
        id, now = await w.sent(message()), w.clock.now()
        error = rules.MISSING if files_sent == "yes" else "the server said NO [OVERQUOTA]"
        await w.journal.record(CopyPostponed(id, error, now, now, failed=True))
        await w.clock.advance(rules.LOOK_AGAIN[-1] + 1)
        if by_hand:
            provider.dovecot.append(PERSON, "Sent", message())
            await tried_again(w)
            w.mailbox.start()
        else:
            w.mailbox.start()
            await w.parked()
            assert w.copy(id)["state"] == "failed", "it is not tried by itself"
            await tried_again(w)
        row = await w.settled(id)
        assert (row["state"], row["by"]) == ("present", "client" if by_hand else "proxyd")
        (copy,) = copies(provider)
        assert copy.octets == message()
        await until(lambda: w.copy(id)["promised_flags"] is None or None, "nothing to be owed any more")
        assert len(copies(provider)) == 1


@pytest.mark.parametrize("arrived", [True, False], ids=["it had arrived", "it had not"])
@on_the_loop
async def test_an_append_of_unknown_outcome_is_looked_for_first(
    tmp_path, provider: Provider, arrived: bool, monkeypatch: pytest.MonkeyPatch
):
    end = Connection.append_end

    def cut(self: Connection):
        monkeypatch.setattr(Connection, "append_end", end)
        if arrived:
            end(self)
        self.drop()
        raise Unreachable("the connection was lost (APPEND): cut by the test")

    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        monkeypatch.setattr(Connection, "append_end", cut)
        id = await w.sent(message())
        await waited_for(w)
        await w.clock.advance(21)
        await until(lambda: w.copy(id)["appending_since"], "the APPEND on record")
        await until(lambda: w.state() == "unreachable" or None, "the cut")
        await w.as_time_passes(2, lambda: w.state() == "connected", "back")
        await w.as_time_passes(5, lambda: w.copy(id)["state"] != "waiting", "settled")
        row = await w.settled(id)
        (copy,) = copies(provider)
        assert (row["by"], row["appended_uid"], row["state"]) == ("proxyd", copy.uid, "present")
        assert sum(command.startswith("APPEND") for command in commands(provider)) == (1 if arrived else 2)


@on_the_loop
async def test_killed_between_record_and_append(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
    async with watched(tmp_path, provider, started=False) as w:
        from proxyd.model import CopyAppending

        await w.clock.advance(25)
        await w.journal.record(CopyAppending(id, "Sent", w.clock.now()))
        w.mailbox.start()
        await waited_for(w)
        assert copies(provider) == []
        await w.clock.advance(15)
        await w.settled(id)
        assert len(copies(provider)) == 1


@on_the_loop
async def test_out_of_reach_and_back(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        provider.dovecot.stop()
        await until(lambda: w.state() == "unreachable" or None, "unreachable")
        id = await w.sent(message())
        await w.as_time_passes(10, lambda: w.copy(id)["error"], "a word of it")
        assert w.copy(id)["state"] == "waiting"
        provider.dovecot.start()
        await w.mailbox.retry_now()
        assert (await w.settled(id))["by"] == "proxyd"
        assert len(copies(provider)) == 1


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"sent_name": "Gesendete Objekte"}, "Gesendete Objekte"),
        ({"special_use": False, "sent_name": "Gesendete Objekte"}, "Gesendete Objekte"),
        ({"special_use": False, "sent_name": None}, "Sent"),
    ],
    ids=["by SPECIAL-USE", "by its localized name", "created"],
)
@on_the_loop
async def test_the_folder(tmp_path, make_provider: Callable[..., Provider], options: dict, folder: str):
    provider = make_provider(**options)
    async with watched(tmp_path, provider, started=False) as w:
        w.mailbox.start()
        await until(lambda: w.state() == "connected" or None, "connected")
        assert copies(provider, folder) == []
        id = await w.sent(message())
        await until(lambda: w.mailbox._copies._until or None, "the wait for the client's own copy")
        row = await w.ripened(id)
        assert row["folder"] == folder
        assert len(copies(provider, folder)) == 1
        assert any(line.rstrip().endswith((folder, f'"{folder}"')) for line in provider.dovecot.folders(PERSON))
        assert await w.journal.learned(PERSON, "sent_folder") == folder


@on_the_loop
async def test_no_folder_is_made_before_it_is_needed(tmp_path, make_provider: Callable[..., Provider]):
    provider = make_provider(special_use=False, sent_name=None)
    async with watched(tmp_path, provider, started=False) as w:
        w.mailbox.start()
        await w.parked(1)
        await w.clock.advance(301)
        await w.clock.advance(301)
        assert not any("Sent" in line for line in provider.dovecot.folders(PERSON))


@pytest.mark.parametrize("search", [True, False], ids=["search knows the field", "search finds nothing"])
@on_the_loop
async def test_an_unknown_outcome_found_in_sent(
    tmp_path, provider: Provider, search: bool, monkeypatch: pytest.MonkeyPatch
):
    if not search:
        monkeypatch.setattr(Connection, "uids_of_id", lambda self, id: [])
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        begun = await w.begin(message())
        provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + message())
        await w.journal.record(SendUnknown(begun.id, "lost behind the dot", w.clock.now()))
        await until(lambda: w.timeline()[0]["state"] == "sent" or None, "settled")
        row = await w.settled(begun.id)
        assert (row["by"], row["copies"]) == ("provider", 1)
        assert len(copies(provider)) == 1


@on_the_loop
async def test_an_unknown_outcome_not_found_waits_for_the_provider_then_says_so(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        begun = await w.begin(message())
        provider.dovecot.append(PERSON, "Sent", message())  # the client's own upload is no proof of sending
        await w.journal.record(SendUnknown(begun.id, "lost behind the dot", w.clock.now()))

        def looked_at():
            with w.database.reading() as connection:
                return submissions.get(connection, begun.id).looked_at

        await w.parked()
        assert looked_at() is None
        await w.as_time_passes(21, looked_at, "the look on record")
        assert w.rows(tables.submissions)[0]["state"] == "unknown"
        provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + message())  # late, but there
        await until(lambda: w.rows(tables.submissions)[0]["state"] == "sent" or None, "found after all")


@on_the_loop
async def test_the_provider_names_another_id_in_its_answer(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message(), taken=SmtpReply(250, ("2.0.0 OK <replaced@provider.test>",)))
        await waited_for(w)
        octets = message("Another subject by a gateway", id="replaced@provider.test")
        provider.dovecot.append(PERSON, "Sent", octets)
        assert (await w.settled(id))["state"] == "present"
        await w.clock.advance(30)
        assert len(copies(provider)) == 1


# --- outcomes that nobody knows, of mail whose client heard 250 -------------------------------------------------------


async def tried_from_the_spool(w: Watched) -> str:
    """It waited, was handed over, and the connection was lost behind the final dot."""
    begun = await w.begin(message())
    await w.journal.record(Spooled(begun.id, "no route", w.clock.now(), w.clock.now()))
    assert await w.journal.spool.handing_over(begun.id)
    await w.journal.record(SendUnknown(begun.id, "lost behind the dot", w.clock.now()))
    return str(begun.id)


def in_spool(w: Watched) -> tuple[str, str | None]:
    (row,) = w.rows(tables.spool)
    return row["state"], row["report"]


@on_the_loop
async def test_where_the_provider_files_and_has_not_it_is_tried_again(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, files_sent="yes") as w:
        began = w.clock.now()
        await tried_from_the_spool(w)
        await w.parked()
        assert in_spool(w) == ("unknown", None)
        await w.as_time_passes(60, lambda: in_spool(w) == ("waiting", None), "to be tried again")
        assert (w.clock.now() - began).total_seconds() >= 1800
        assert w.rows(tables.submissions)[0]["state"] == "submitting"


@on_the_loop
async def test_what_the_client_filed_at_our_250_proves_nothing_either_way(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, files_sent="yes") as w:
        await tried_from_the_spool(w)
        provider.dovecot.append(PERSON, "Sent", message())
        await w.as_time_passes(60, lambda: in_spool(w) == ("unknown", "owed"), "the person to be asked")
        assert w.rows(tables.submissions)[0]["state"] == "unknown"
        provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + message())
        await until(lambda: w.rows(tables.submissions)[0]["state"] == "sent" or None, "found after all")
        assert w.rows(tables.spool) == []


@on_the_loop
async def test_where_nobody_knows_what_the_provider_does_the_person_is_asked(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await tried_from_the_spool(w)
        await w.as_time_passes(21, lambda: in_spool(w) == ("unknown", "owed"), "the person to be asked")
        for _ in range(5):
            await w.clock.advance(3600)
        assert in_spool(w) == ("unknown", "owed")
        (row,) = w.rows(tables.spool)
        answers_spool.retry(w.database, [row["id"]], None, w.clock.now())
        assert in_spool(w) == ("waiting", None)
        assert await w.journal.spool.handing_over(row["id"])
        await w.journal.record(SendUnknown(row["id"], "lost once more", w.clock.now()))
        await w.as_time_passes(21, lambda: in_spool(w) == ("unknown", "owed"), "the person to be asked anew")
