"""Cyrus: roles in lower case (`\\sent`), IDLE told at once, a Sent folder that nothing but its role names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.model import LOGGED_MARK, MARK
from proxyd.watcher.mailbox import CHECK
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.cyrus import Cyrus
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.watcher.watched import answered_before_it_is_filed, from_stranger, reply, until, watched


class AtCyrus:
    """The provider's side of an account file, and the place of the one whose sessions can be read."""

    def __init__(self, cyrus: Cyrus, folder: Path) -> None:
        self.cyrus = cyrus
        self.dovecot = self
        self._password = folder / "password"
        self._password.touch(mode=0o600)
        self._password.write_text(PASSWORD + "\n")

    def sessions(self, user: str) -> list[Any]:
        return []

    def account_yaml(self, more: str = "") -> str:
        return (
            f"address: {PERSON}\nprovider:\n"
            f"  imap: {{host: localhost, port: {self.cyrus.imaps_port}, tls: implicit}}\n"
            f"  smtp: {{host: localhost, port: {self.cyrus.imaps_port}, tls: implicit}}\n"
            f"  ca: {self.cyrus.ca.ca}\nsign_in:\n  password: {{file: {self._password}}}\n" + more
        )


@pytest.fixture(
    params=[{"Sent": "sent", "Trash": "trash"}, {"Outbound": "sent", "Sent": ""}], ids=["Sent", "by its role alone"]
)
def cyrus(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Cyrus]:
    with Cyrus(server_folder / "cyrus", users={PERSON: PASSWORD}, folders=request.param) as cyrus:
        yield cyrus


@on_the_loop(timeout=90)
async def test_the_main_job(tmp_path: Path, cyrus: Cyrus, monkeypatch: pytest.MonkeyPatch):
    sent = next(iter(cyrus.folders_made))
    at_cyrus: Any = AtCyrus(cyrus, tmp_path)
    async with watched(tmp_path, at_cyrus, started=False) as w:
        await w.add_contact(CUSTOMER)
        w.mailbox.start()
        await until(lambda: w.state() == "connected" or None, "connected")
        id = await w.sent(message())
        await until(lambda: w.mailbox._copies._until or None, "the wait for the client's own copy")
        row = await w.ripened(id)
        (copy,) = cyrus.messages(PERSON, sent)
        assert (row["by"], row["folder"], row["appended_uid"]) == ("proxyd", sent, copy.uid)
        assert copy.octets == message()
        assert copy.flags == frozenset({"\\Seen", LOGGED_MARK})

        cyrus.deliver(PERSON, from_stranger())
        cyrus.deliver(PERSON, reply())  # IDLE brings it: the clock stands still
        await until(lambda: len(w.timeline()) == 2 or None, "the reply")
        assert {each["message_id"] for each in w.timeline()} == {"<m1@example.test>", "<r1@customer.test>"}
        assert all(message.flags == frozenset() for message in cyrus.messages(PERSON))

        theirs = cyrus.append(PERSON, sent, message(more="Bcc: boss@example.test\r\n"))
        await until(lambda: w.copy(id)["by"] == "client" or None, "theirs on record")
        assert [copy.uid for copy in cyrus.messages(PERSON, sent)] == [theirs]
        assert all(cyrus.messages(PERSON, name) == [] for name in cyrus.folders_made if name != sent)

        def deliver(octets: bytes) -> None:
            cyrus.deliver(PERSON, octets)

        def file(octets: bytes) -> None:
            cyrus.append(PERSON, sent, octets)

        await answered_before_it_is_filed(w, monkeypatch, deliver, file)


@on_the_loop(timeout=90)
async def test_logged_by_hand(tmp_path: Path, cyrus: Cyrus):
    """Put into the folder, or given the keyword; then it shows that it is logged."""
    with cyrus.imap(PERSON) as imap:
        assert imap.create("CRM/Log")[0] == "OK"
    at_cyrus: Any = AtCyrus(cyrus, tmp_path)
    cyrus.append(PERSON, "CRM/Log", from_stranger(1))
    cyrus.append(PERSON, "INBOX", from_stranger(2))
    cyrus.append(PERSON, "INBOX", from_stranger(3))
    async with watched(tmp_path, at_cyrus, started=False) as w:
        w.mailbox.start()
        await until(lambda: len(w.timeline()) == 1 or None, "what lay in the folder")
        with cyrus.imap(PERSON) as imap:
            imap.select("CRM/Log")  # the person's mail client takes notice of what lies there
            imap.select("INBOX")
            assert imap.uid("STORE", "2", "+FLAGS", f"({MARK})")[0] == "OK"
        await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 2, "what bears the keyword")
        assert {each["message_id"] for each in w.timeline()} == {"<s1@elsewhere.test>", "<s3@elsewhere.test>"}
        assert {each["source"] for each in w.timeline()} == {"marked"}

        def marked() -> list[bool]:
            there = [each for name in ("CRM/Log", "INBOX") for each in cyrus.messages(PERSON, name)]
            return [LOGGED_MARK in each.flags for each in there]

        await w.as_time_passes(CHECK + 1, lambda: marked() == [True, False, True], "the marks")
