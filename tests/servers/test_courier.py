"""Courier as our tests start it: what it lacks is why it is here."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.courier import Courier

pytestmark = pytest.mark.servers

ADA = "ada@example.test"
LETTER = b"From: a@b.test\r\nMessage-ID: <1@b.test>\r\nSubject: hi\r\n\r\nhello\r\n"


@pytest.fixture
def courier(server_folder: Path) -> Iterator[Courier]:
    with Courier(server_folder, users={ADA: "one", "grace@customer.test": "two"}) as courier:
        yield courier


def test_no_special_use_and_every_folder_for_an_answer(courier: Courier) -> None:
    with courier.imap(ADA) as imap:
        capability = imap.capability()[1][0].split()
        assert b"SPECIAL-USE" not in capability
        assert b"CONDSTORE" not in capability
        assert {b"UIDPLUS", b"IDLE", b"NAMESPACE"} <= set(capability)
        kind, data = imap._simple_command("LIST", "(SPECIAL-USE)", '""', '"*"')
        _, lines = imap._untagged_response(kind, data, "LIST")
    assert kind == "OK"
    assert len(lines) == 3
    assert not any(b"\\Sent" in (line or b"") for line in lines)


def test_folders_lie_under_inbox(courier: Courier) -> None:
    names = [line.rpartition(" ")[2].strip('"') for line in courier.folders(ADA)]
    assert sorted(names) == ["INBOX", "INBOX.Sent", "INBOX.Trash"]
    with courier.imap(ADA) as imap:
        assert imap.create("Sent")[0] == "NO"
        assert imap.create("INBOX.Outgoing")[0] == "OK"


def test_mail_arrives_and_is_filed(courier: Courier) -> None:
    courier.deliver(ADA, LETTER)
    (stored,) = courier.messages(ADA)
    assert stored.octets == LETTER
    uid = courier.append(ADA, "INBOX.Sent", LETTER)
    (copy,) = courier.messages(ADA, "INBOX.Sent")
    assert (copy.uid, copy.flags, copy.octets) == (uid, frozenset({"\\Seen"}), LETTER)
    assert courier.messages("grace@customer.test") == []


def test_idle_hears_of_new_mail(courier: Courier) -> None:
    with courier.imap(ADA) as imap:
        imap.select()
        imap.send(b"i1 IDLE\r\n")
        assert imap.readline().startswith(b"+")
        courier.deliver(ADA, LETTER)
        while b"EXISTS" not in (line := imap.readline()):
            assert line, "connection lost"
        imap.send(b"DONE\r\n")


def test_starttls(courier: Courier) -> None:
    client = imaplib.IMAP4("localhost", courier.imap_port)
    client.starttls(courier.ca.client_context())
    client.login(ADA, "one")
    client.logout()


def test_down_and_up_again(courier: Courier) -> None:
    courier.append(ADA, "INBOX.Sent", LETTER)
    courier.stop()
    courier.start()
    assert len(courier.messages(ADA, "INBOX.Sent")) == 1
