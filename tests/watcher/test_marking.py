"""A message marked by hand is logged, what is logged is marked, and nothing else is ever touched. On real Dovecot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import pytest

from proxyd.journal.marks import PATIENCE
from proxyd.model import LOGGED_MARK, MARK
from proxyd.store import tables
from proxyd.watcher.mailbox import CHECK, FLAGS
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.unruly import UnrulyImap
from tests.watcher.unruled import unruled
from tests.watcher.watched import Watched, commands, from_stranger, reply, until, watched

STRANGER = "somebody@elsewhere.test"


def keyword(provider: Provider, folder: str, uid: int, flag: str = MARK) -> None:
    """As a mail client does it; opening the folder takes \\Recent off everything in it."""
    with provider.dovecot.imap(PERSON) as imap:
        assert imap.select(f'"{folder}"')[0] == "OK"
        assert imap.uid("STORE", str(uid), "+FLAGS.SILENT", f"({flag})")[0] == "OK"


def flags(provider: Provider, folder: str = "INBOX") -> list[frozenset[str]]:
    return [each.flags for each in provider.dovecot.messages(PERSON, folder)]


async def logged(w: Watched, count: int) -> None:
    await until(lambda: len(w.timeline()) == count or None, f"{count} in the log")


async def has_flags(provider: Provider, folder: str, expected: list[frozenset[str]]) -> None:
    await until(lambda: flags(provider, folder) == expected or None, f"{expected} in {folder}")


@on_the_loop
async def test_a_keyword_in_the_open_folder(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, f"never_log: [{STRANGER}]\n") as w:
        provider.dovecot.deliver(PERSON, from_stranger(1))
        provider.dovecot.deliver(PERSON, from_stranger(2))
        await w.parked()
        keyword(provider, "INBOX", 2)
        await logged(w, 1)
        (said,) = w.timeline()
        assert (said["message_id"], said["source"], said["direction"]) == ("<s2@elsewhere.test>", "marked", "incoming")
        assert said["because"] == f"marked by hand: the keyword {MARK}"
        await has_flags(provider, "INBOX", [frozenset(), frozenset({MARK, LOGGED_MARK})])
        bodies = {each.split()[2] for each in commands(provider) if "BODY.PEEK[]" in each}
        assert bodies == {"2"}
        provider.dovecot.deliver(PERSON, reply(3, to="s2@elsewhere.test"), CUSTOMER)  # its thread is tracked
        await logged(w, 2)
        assert len({each["thread"] for each in w.timeline()}) == 1
        stores = [each for each in commands(provider) if "STORE" in each]
        assert stores
        assert all(each.endswith(f"+FLAGS.SILENT ({LOGGED_MARK})") for each in stores)


@pytest.mark.parametrize(
    ("hide", "wait"),
    [((), FLAGS + 1), (("NOTIFY",), CHECK + 1), (("NOTIFY", "CONDSTORE", "QRESYNC", "LIST-STATUS"), CHECK + 1)],
    ids=["NOTIFY", "CONDSTORE", "neither"],
)
@on_the_loop
async def test_a_keyword_in_another_folder(
    tmp_path, make_provider: Callable[..., Provider], hide: Sequence[str], wait: float
):
    provider = make_provider(hide=hide)
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("Projects")
    provider.dovecot.append(PERSON, "Projects", from_stranger(), flags="\\Seen")
    async with watched(tmp_path, provider) as w:
        keyword(provider, "Projects", 1)
        await w.as_time_passes(wait, lambda: len(w.timeline()) == 1)
        assert w.timeline()[0]["source"] == "marked"
        await has_flags(provider, "Projects", [frozenset({"\\Seen", MARK, LOGGED_MARK})])


@pytest.mark.parametrize("hide", [(), ("NOTIFY",)], ids=["NOTIFY", "no NOTIFY"])
@on_the_loop
async def test_what_is_put_into_the_folder(tmp_path, make_provider: Callable[..., Provider], hide: Sequence[str]):
    provider = make_provider(hide=hide)
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("CRM/Log")
    provider.dovecot.append(PERSON, "CRM/Log", from_stranger(1), flags="")  # before we ever looked: it was put there
    async with watched(tmp_path, provider) as w:
        await logged(w, 1)
        own = message("Private offer", id="p@example.test", to="friend@elsewhere.test")
        provider.dovecot.append(PERSON, "CRM/Log", own)
        provider.dovecot.append(PERSON, "CRM/Log", from_stranger(1), flags="")  # a second copy of the same
        if hide:
            await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 2, "the look")
        await logged(w, 2)
        said = {each["message_id"]: each for each in w.timeline()}
        assert {each["source"] for each in said.values()} == {"marked"}
        assert said["<p@example.test>"]["direction"] == "outgoing"
        assert said["<s1@elsewhere.test>"]["because"] == "marked by hand: put into the folder CRM/Log"
        with provider.dovecot.imap(PERSON) as imap:
            imap.select("CRM/Log")  # a mail client takes notice
        await w.as_time_passes(
            CHECK + 1, lambda: all(LOGGED_MARK in each for each in flags(provider, "CRM/Log")), "the marks"
        )
        assert len(flags(provider, "CRM/Log")) == 3
        assert set().union(*flags(provider, "CRM/Log")) <= {LOGGED_MARK, "\\Seen"}


@on_the_loop
async def test_what_is_new_to_the_persons_client_stays_new_to_it(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        await logged(w, 2)
        await w.clock.advance(CHECK + 1)
        await w.parked()
        with provider.dovecot.imap(PERSON) as imap:
            assert imap.status("INBOX", "(RECENT)")[1] == [b"INBOX (RECENT 1)"]
            assert not any(each.startswith("SELECT") for each in commands(provider))
            imap.select("INBOX")
        await w.as_time_passes(CHECK + 1, lambda: flags(provider) == [frozenset({LOGGED_MARK})], "the mark")
        provider.dovecot.deliver(PERSON, reply(2))  # opening the folder for writing lost no news
        await logged(w, 3)


@on_the_loop
async def test_after_a_day_it_is_left_alone(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        await logged(w, 2)
        await w.parked()
        await w.clock.advance(PATIENCE.total_seconds() + CHECK)
        await w.parked()
        await w.as_time_passes(CHECK + 1, lambda: not w.rows(tables.marks))
        assert flags(provider) == [frozenset()]


@on_the_loop
async def test_switched_off_nothing_is_searched_and_nothing_marked(tmp_path, provider: Provider):
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("CRM/Log")
    off = "marking: {keyword: false, folder: false, flag_logged: false}\n"
    async with watched(tmp_path, provider, off) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        provider.dovecot.deliver(PERSON, from_stranger())
        keyword(provider, "INBOX", 1)
        provider.dovecot.append(PERSON, "CRM/Log", from_stranger(2))
        provider.dovecot.deliver(PERSON, reply())
        await logged(w, 2)
        await w.ripened(id)
        await w.clock.advance(CHECK + 1)
        await w.parked()
        assert len(w.timeline()) == 2
        assert flags(provider, "Sent") == [frozenset({"\\Seen"})]
        assert not any("KEYWORD" in each or each.startswith(("SELECT", "UID STORE")) for each in commands(provider))
        assert flags(provider) == [frozenset({MARK}), frozenset()]


@on_the_loop
async def test_what_waited_when_the_daemon_ended_is_marked_after_the_restart(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply())
        await logged(w, 2)
    with provider.dovecot.imap(PERSON) as imap:
        imap.select("INBOX")  # a mail client takes notice
    async with watched(tmp_path, provider) as w:
        await has_flags(provider, "INBOX", [frozenset({LOGGED_MARK})])
        await until(lambda: not w.rows(tables.marks) or None, "nothing owed")


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False], ids=["before it", "after it"])
@on_the_loop
async def test_killed_at_any_commit_it_is_marked_once_it_is_logged(tmp_path, writes: int, before: bool):
    octets = message("Re: Offer", id="r1@x", sender=GRACE, to=ADA, more="In-Reply-To: <m1@example.test>\r\n")
    with UnrulyImap() as server:
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            await w.sent(message())
            await w.dies_at(writes, before=before)
            uid = server.deliver("INBOX", octets)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    await w.turn(w.dead.is_set, "dead", step=61)
            await w.kill()
        async with unruled(tmp_path, server) as w:
            await w.turn(lambda: len(w.everything()) == 2, "both in the log", step=5)
            await w.turn(lambda: server.find("INBOX", uid).flags == {LOGGED_MARK}, "the mark", step=5)
            await w.turn(lambda: not w.rows(tables.marks), "nothing owed")


@on_the_loop
async def test_the_copy_in_sent_whoever_filed_it(tmp_path, provider: Provider):
    """Of what is logged, once a mail client has noticed it; of nothing else, and no other flag."""
    private = message("Private", id="p@example.test", to="friend@elsewhere.test")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.sent(private, "friend@elsewhere.test")
        for octets in (message(), private, message("From the phone", id="d1@phone")):
            provider.dovecot.append(PERSON, "Sent", octets, flags="\\Flagged")
        await until(lambda: len(w.timeline()) == 2 or None, "what was sent from the phone")
        await w.parked()
        assert flags(provider, "Sent") == [frozenset({"\\Flagged"})] * 3
        with provider.dovecot.imap(PERSON) as imap:
            imap.select("Sent")
        expected = [frozenset({"\\Flagged"}), frozenset({"\\Flagged", LOGGED_MARK})]
        await w.as_time_passes(
            CHECK + 1, lambda: flags(provider, "Sent") == [expected[1], expected[0], expected[1]], "the marks"
        )
        await until(lambda: not w.rows(tables.marks) or None, "nothing owed")


@pytest.mark.parametrize("keywords", [True, False], ids=["with keywords", "without"])
@on_the_loop
async def test_our_own_copy_is_filed_with_it_or_as_the_server_takes_it(tmp_path, keywords: bool):
    with UnrulyImap() as server:
        server.keywords = keywords
        async with unruled(tmp_path, server, "sent_copy: {settle: 1s}\n") as w:
            await w.add_contact(GRACE)
            for n in (1, 2):
                await w.sent(message(id=f"m{n}@x"))
                await w.turn(lambda n=n: len(server.boxes["Sent"].mails) == n, "the copy")
            await w.turn(lambda: not w.rows(tables.marks), "nothing owed")
            mark = {LOGGED_MARK} if keywords else set()
            assert [mail.flags for mail in server.boxes["Sent"].mails] == [{"\\Seen"} | mark] * 2
            appends = [each for each in server.commands() if each.startswith("APPEND")]
            assert len(appends) == (2 if keywords else 3), "refused once, it is not tried again"
            assert not any("STORE" in each for each in server.commands())


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
@on_the_loop
async def test_killed_while_the_copy_is_settled_it_is_marked_after_the_restart(tmp_path, writes: int):
    with UnrulyImap() as server:
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            await w.sent(message())
            await w.dies_at(writes, before=writes % 2 == 0)
            server.deliver("Sent", message())  # by the mail client
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await w.turn(w.dead.is_set, "dead", step=5)
            await w.kill()
        async with unruled(tmp_path, server) as w:
            await w.turn(lambda: [each.flags for each in server.boxes["Sent"].mails] == [{LOGGED_MARK}], "it", step=5)
            await w.turn(lambda: not w.rows(tables.marks), "nothing owed")
