"""Answers are found wherever a rule files them: told by NOTIFY, else at the next look. On real Dovecot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from proxyd.provider.imap import Connection
from proxyd.store import tables
from proxyd.watcher import folders
from proxyd.watcher.mailbox import CHECK, LINGER
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, commands, reply, until, watched

SIEVE = """require ["fileinto", "mailbox"];
if header :contains "subject" "Offer" { fileinto :create "Customers/New"; stop; }
"""


def make(provider: Provider, *names: str) -> None:
    with provider.dovecot.imap(PERSON) as imap:
        for name in names:
            assert imap.create(f'"{name}"')[0] == "OK"


def opened(provider: Provider) -> list[str]:
    """The folders that were opened, in their order."""
    return [each.split(" ", 1)[1].strip('"') for each in commands(provider) if each.startswith(("EXAMINE", "SELECT"))]


async def logged(w: Watched, count: int) -> None:
    await until(lambda: len(w.timeline()) == count or None, f"{count} in the log")


@on_the_loop
async def test_one_connection_hears_of_every_folder(tmp_path, provider: Provider):
    make(provider, "Customers", "Archive", "Trash/Old")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        for n, folder in enumerate(("Customers", "Archive", "Trash", "Drafts", "Trash/Old")):
            provider.dovecot.append(PERSON, folder, reply(n), flags="")
        await logged(w, 3)
        await w.clock.advance(CHECK + 1)
        await w.parked()
        assert sorted(each["subject"] for each in w.timeline()) == ["Offer", "Re: Offer 0", "Re: Offer 1"]
        assert {"Trash", "Drafts", "Trash/Old"}.isdisjoint(opened(provider))
        assert len(provider.dovecot.sessions(PERSON)) == 2


@on_the_loop
async def test_sent_is_heard_of_without_a_connection_there(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        provider.dovecot.append(PERSON, "Sent", message("From the phone", id="d1@phone"))
        await logged(w, 1)
        assert w.allowance.watchers == 1


@on_the_loop
async def test_the_second_connection_comes_with_a_sent_message_and_leaves_after_its_copy(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        assert w.allowance.watchers == 1
        id = await w.sent(message())
        await w.parked(2)
        assert (await w.ripened(id))["by"] == "proxyd"
        await w.parked(2)
        await w.as_time_passes(LINGER + 1, lambda: w.allowance.watchers == 1)
        await w.parked(1)


@pytest.mark.parametrize(
    "hide",
    [("NOTIFY",), ("NOTIFY", "LIST-STATUS"), ("NOTIFY", "LIST-STATUS", "CONDSTORE", "QRESYNC", "SPECIAL-USE")],
    ids=["LIST-STATUS", "STATUS", "nothing but STATUS"],
)
@on_the_loop
async def test_without_notify_the_next_look_finds_it(
    tmp_path, make_provider: Callable[..., Provider], hide: Sequence[str]
):
    provider = make_provider(hide=hide)
    make(provider, "Customers", "Other")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        at_first = opened(provider).count("Customers")
        assert at_first <= 1, "what was marked while we were away"
        provider.dovecot.append(PERSON, "Customers", reply(), flags="")
        provider.dovecot.append(PERSON, "Sent", message("From the phone", id="d1@phone"))  # the second hears of it
        await logged(w, 2)
        await until(lambda: not w.rows(tables.late_looks) or None, "the look for what answered it before")
        await w.parked()
        at_first = opened(provider).count("Customers")
        await w.clock.advance(CHECK + 1)
        await logged(w, 3)
        await until(lambda: not w.rows(tables.late_looks) or None, "the look for what answered the answer")
        await w.parked()
        if "CONDSTORE" in hide:
            return
        assert opened(provider).count("Customers") == at_first + 2
        await w.clock.advance(CHECK + 1)
        await w.parked()
        assert opened(provider).count("Customers") == at_first + 2, "nothing new, nothing opened"


@pytest.mark.parametrize("hide", [(), ("NOTIFY",)], ids=["NOTIFY", "no NOTIFY"])
@on_the_loop
async def test_a_rule_at_the_server_files_into_a_folder_that_it_makes(
    tmp_path, make_provider: Callable[..., Provider], hide: Sequence[str]
):
    provider = make_provider(hide=hide)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        home = next((provider.dovecot.folder / "mail").glob("*/ada"))
        script = home / ".dovecot.sieve"
        script.write_text(SIEVE)
        home.chmod(0o777)
        provider.dovecot.deliver(PERSON, reply(), CUSTOMER)
        assert len(provider.dovecot.messages(PERSON, "Customers/New")) == 1
        if hide:
            await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 2, "the look")
        await logged(w, 2)


@on_the_loop
async def test_many_folders_cost_a_bounded_number_of_commands(
    tmp_path, make_provider: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders, "ROLLING", 10)
    monkeypatch.setattr(folders, "MANY", 30)
    provider = make_provider(hide=("NOTIFY", "LIST-STATUS"))
    make(provider, *(f"F{n:02}" for n in range(60)))
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        provider.dovecot.append(PERSON, "F57", reply(), flags="")
        looks = 0
        while len(w.timeline()) == 1:
            before = len(commands(provider))
            await w.clock.advance(CHECK + 1)
            await w.parked()
            looks += 1
            assert looks <= 8
            assert len(commands(provider)) - before < 100
        assert sum(each.startswith("LIST") for each in commands(provider)) < 5


@on_the_loop
async def test_numbers_that_promise_what_is_not_there_are_not_believed_for_ever(
    tmp_path, make_provider: Callable[..., Provider]
):
    provider = make_provider(hide=("NOTIFY",))
    make(provider, "Customers")
    async with watched(tmp_path, provider, "marking: {keyword: false}\n") as w:
        provider.dovecot.append(PERSON, "Customers", reply(), flags="")
        with provider.dovecot.imap(PERSON) as imap:
            imap.select("Customers")
            imap.store("1", "+FLAGS", "\\Deleted")
            imap.expunge()
        for _ in range(folders.FUTILE + 3):
            await w.clock.advance(CHECK + 1)
            await w.parked()
        assert opened(provider).count("Customers") <= folders.FUTILE


@on_the_loop
async def test_a_list_of_folders_wins_with_notify_too(tmp_path, provider: Provider):
    make(provider, "Customers", "Other")
    async with watched(tmp_path, provider, "watch: {folders: [INBOX, Customers]}\n") as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        provider.dovecot.append(PERSON, "Other", reply(1), flags="")
        provider.dovecot.append(PERSON, "Customers", reply(2), flags="")
        await logged(w, 2)
        assert "Other" not in opened(provider)
        assert any("MAILBOXES" in each for each in commands(provider) if each.startswith("NOTIFY"))


@on_the_loop
async def test_a_label_server_is_read_once(tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    """As Gmail has it: All Mail holds what the labels show."""
    has = Connection.has
    monkeypatch.setattr(Connection, "has", lambda self, name: name == "X-GM-EXT-1" or has(self, name))
    monkeypatch.setattr(Connection, "folders_and_status", lambda self: all_mail(self))
    make(provider, "All Mail", "Label")
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        await w.parked(2)
        for folder in ("Label", "INBOX", "All Mail"):
            provider.dovecot.append(PERSON, folder, reply(), flags="")
        await logged(w, 2)
        assert {"INBOX", "Label"}.isdisjoint(opened(provider))


def all_mail(connection: Connection) -> object:
    from dataclasses import replace

    there = connection.folders()
    return [replace(each, attributes=frozenset({"\\all"})) if each.name == "All Mail" else each for each in there], {}
