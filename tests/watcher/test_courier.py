"""Courier: no SPECIAL-USE, every folder below `INBOX.`, another parser's idea of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.model import LOGGED_MARK, MARK
from proxyd.watcher.mailbox import CHECK
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.courier import Courier
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.watcher.watched import answered_before_it_is_filed, from_stranger, reply, until, watched


class AtCourier:
    """The provider's side of an account file, and the place of the one whose sessions can be read."""

    def __init__(self, courier: Courier, folder: Path) -> None:
        self.courier = courier
        self.dovecot = self
        self._password = folder / "password"
        self._password.touch(mode=0o600)
        self._password.write_text(PASSWORD + "\n")

    def sessions(self, user: str) -> list[Any]:
        return []

    def account_yaml(self, more: str = "") -> str:
        return (
            f"address: {PERSON}\nprovider:\n"
            f"  imap: {{host: localhost, port: {self.courier.imaps_port}, tls: implicit}}\n"
            f"  smtp: {{host: localhost, port: {self.courier.imaps_port}, tls: implicit}}\n"
            f"  ca: {self.courier.ca.ca}\nsign_in:\n  password: {{file: {self._password}}}\n" + more
        )


@pytest.fixture(params=[("Sent", "Trash"), ("Trash",)], ids=["Sent is there", "no Sent"])
def courier(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Courier]:
    with Courier(server_folder / "courier", users={PERSON: PASSWORD}, folders=request.param) as courier:
        yield courier


@on_the_loop(timeout=90)
async def test_the_main_job(tmp_path: Path, courier: Courier, monkeypatch: pytest.MonkeyPatch):
    at_courier: Any = AtCourier(courier, tmp_path)
    async with watched(tmp_path, at_courier, started=False) as w:
        await w.add_contact(CUSTOMER)
        w.mailbox.start()
        await until(lambda: w.state() == "connected" or None, "connected")
        id = await w.sent(message())
        await until(lambda: w.mailbox._copies._until or None, "the wait for the client's own copy")
        row = await w.ripened(id)
        (copy,) = courier.messages(PERSON, "INBOX.Sent")
        assert (row["by"], row["folder"], row["appended_uid"]) == ("proxyd", "INBOX.Sent", copy.uid)
        assert copy.octets == message()
        assert copy.flags == frozenset({"\\Seen", LOGGED_MARK})

        courier.deliver(PERSON, from_stranger())
        courier.deliver(PERSON, reply())
        for _ in range(100):
            if len(w.timeline()) == 2:
                break
            await asyncio.sleep(0.1)
        assert {each["message_id"] for each in w.timeline()} == {"<m1@example.test>", "<r1@customer.test>"}
        assert all(message.flags == frozenset() for message in courier.messages(PERSON))

        theirs = courier.append(PERSON, "INBOX.Sent", message(more="Bcc: boss@example.test\r\n"))
        await w.as_time_passes(60, lambda: w.copy(id)["by"] == "client", "theirs on record")  # Sent has no IDLE by then
        assert [copy.uid for copy in courier.messages(PERSON, "INBOX.Sent")] == [theirs]

        def deliver(octets: bytes) -> None:
            courier.deliver(PERSON, octets)

        def file(octets: bytes) -> None:
            courier.append(PERSON, "INBOX.Sent", octets)

        await answered_before_it_is_filed(w, monkeypatch, deliver, file)


@on_the_loop(timeout=90)
async def test_logged_by_hand(tmp_path: Path, courier: Courier):
    """Put into the folder, or given the keyword; then it shows that it is logged."""
    with courier.imap(PERSON) as imap:
        assert imap.create("INBOX.CRM.Log")[0] == "OK"
    at_courier: Any = AtCourier(courier, tmp_path)
    courier.append(PERSON, "INBOX.CRM.Log", from_stranger(1))
    courier.append(PERSON, "INBOX", from_stranger(2))
    courier.append(PERSON, "INBOX", from_stranger(3))
    async with watched(tmp_path, at_courier, started=False) as w:
        w.mailbox.start()
        await until(lambda: len(w.timeline()) == 1 or None, "what lay in the folder")
        with courier.imap(PERSON) as imap:
            imap.select("INBOX.CRM.Log")  # the person's mail client takes notice of what lies there
            imap.select("INBOX")
            assert imap.uid("STORE", "2", "+FLAGS", f"({MARK})")[0] == "OK"
        await w.as_time_passes(CHECK + 1, lambda: len(w.timeline()) == 2, "what bears the keyword")
        assert {each["message_id"] for each in w.timeline()} == {"<s1@elsewhere.test>", "<s3@elsewhere.test>"}
        assert {each["source"] for each in w.timeline()} == {"marked"}

        def marked() -> list[bool]:
            return [
                LOGGED_MARK in each.flags
                for name in ("INBOX.CRM.Log", "INBOX")
                for each in courier.messages(PERSON, name)
            ]

        await w.as_time_passes(CHECK + 1, lambda: marked() == [True, False, True], "the marks")
