"""Courier and Cyrus: other parsers' ideas of every answer.

Courier has no SPECIAL-USE, and every folder below `INBOX.`. Cyrus writes roles in lower case (`\\sent`), and Sent may
be a folder that nothing but its role names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.model import LOGGED_MARK, MARK
from proxyd.watcher.mailbox import CHECK
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.watcher.elsewhere import Elsewhere
from tests.watcher.watched import answered_before_it_is_filed, from_stranger, reply, until, watched

USERS = {PERSON: PASSWORD}


@pytest.fixture(params=["Courier", "Courier without Sent", "Cyrus", "Cyrus, Sent by its role alone"])
def place(server_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    server: Courier | Cyrus
    match request.param:
        case "Courier":
            server = Courier(server_folder / "courier", users=USERS, folders=("Sent", "Trash"))
        case "Courier without Sent":
            server = Courier(server_folder / "courier", users=USERS, folders=("Trash",))
        case "Cyrus":
            server = Cyrus(server_folder / "cyrus", users=USERS, folders={"Sent": "sent", "Trash": "trash"})
        case _:
            server = Cyrus(server_folder / "cyrus", users=USERS, folders={"Outbound": "sent", "Sent": ""})
    with server:
        if isinstance(server, Courier):
            yield Elsewhere(server, tmp_path, "INBOX.Sent", "INBOX.CRM.Log")
        else:
            yield Elsewhere(server, tmp_path, next(iter(server.folders_made)))


@on_the_loop(timeout=180)
async def test_the_main_job(tmp_path: Path, place: Any, monkeypatch: pytest.MonkeyPatch):
    server, sent = place.server, place.sent
    async with watched(tmp_path, place, started=False) as w:
        await w.add_contact(CUSTOMER)
        w.mailbox.start()
        await until(lambda: w.state() == "connected" or None, "connected")
        id = await w.sent(message())
        await until(lambda: w.mailbox._copies._until or None, "the wait for the client's own copy")
        row = await w.ripened(id)
        (copy,) = server.messages(PERSON, sent)
        assert (row["by"], row["folder"], row["appended_uid"]) == ("proxyd", sent, copy.uid)
        assert copy.octets == message()
        assert copy.flags == frozenset({"\\Seen", LOGGED_MARK})

        server.deliver(PERSON, from_stranger())
        server.deliver(PERSON, reply())  # IDLE brings it: the clock stands still
        await until(lambda: len(w.timeline()) == 2 or None, "the reply")
        assert {each["message_id"] for each in w.timeline()} == {"<m1@example.test>", "<r1@customer.test>"}
        assert all(message.flags == frozenset() for message in server.messages(PERSON))

        theirs = server.append(PERSON, sent, message(more="Bcc: boss@example.test\r\n"))
        await w.as_time_passes(
            60, lambda: w.copy(id)["by"] == "client", "theirs on record"
        )  # Sent may have no IDLE now
        assert [copy.uid for copy in server.messages(PERSON, sent)] == [theirs]
        if isinstance(server, Cyrus):
            assert all(server.messages(PERSON, name) == [] for name in server.folders_made if name != sent)

        def deliver(octets: bytes) -> None:
            server.deliver(PERSON, octets)

        def file(octets: bytes) -> None:
            server.append(PERSON, sent, octets)

        await answered_before_it_is_filed(w, monkeypatch, deliver, file)


@on_the_loop(timeout=180)
async def test_logged_by_hand(tmp_path: Path, place: Any):
    """Put into the folder, or given the keyword; then it shows that it is logged."""
    server, log = place.server, place.log
    with server.imap(PERSON) as imap:
        assert imap.create(log)[0] == "OK"
    server.append(PERSON, log, from_stranger(1))
    server.append(PERSON, "INBOX", from_stranger(2))
    server.append(PERSON, "INBOX", from_stranger(3))
    async with watched(tmp_path, place, started=False) as w:
        w.mailbox.start()
        await until(lambda: len(w.timeline()) == 1 or None, "what lay in the folder")
        with server.imap(PERSON) as imap:
            imap.select(log)  # the person's mail client takes notice of what lies there
            imap.select("INBOX")
            assert imap.uid("STORE", "2", "+FLAGS", f"({MARK})")[0] == "OK"
        await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 2, "what bears the keyword")
        assert {each["message_id"] for each in w.timeline()} == {"<s1@elsewhere.test>", "<s3@elsewhere.test>"}
        assert {each["source"] for each in w.timeline()} == {"marked"}

        def marked() -> list[bool]:
            there = [each for name in (log, "INBOX") for each in server.messages(PERSON, name)]
            return [LOGGED_MARK in each.flags for each in there]

        await w.as_time_passes(CHECK + 1, lambda: marked() == [True, False, True], "the marks")
