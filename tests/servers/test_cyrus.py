"""Cyrus as our tests start it: what it does in its own way is why it is here."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path

import imapclient
import pytest

from tests.servers.cyrus import Cyrus

ADA = "ada@example.test"
LETTER = (
    b"From: a@b.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@b.test>\r\nSubject: hi\r\n\r\nhello\r\n"
)


@pytest.fixture
def cyrus(server_folder: Path) -> Iterator[Cyrus]:
    with Cyrus(server_folder, users={ADA: "one", "grace@customer.test": "two words"}) as cyrus:
        yield cyrus


def test_roles_in_lower_case_that_imapclient_does_not_see(cyrus: Cyrus) -> None:
    assert cyrus.folders(ADA) == [
        '(\\HasNoChildren) "/" INBOX',
        '(\\HasNoChildren \\sent) "/" Sent',
        '(\\HasNoChildren \\trash) "/" Trash',
    ]
    with imapclient.IMAPClient("localhost", cyrus.imaps_port, ssl_context=cyrus.ca.client_context()) as client:
        client.login(ADA, "one")
        assert client.has_capability("SPECIAL-USE")
        assert [name for flags, _, name in client.list_folders() if b"\\Sent" in flags] == []


def test_mail_arrives_and_is_filed(cyrus: Cyrus) -> None:
    cyrus.deliver(ADA, LETTER)
    (stored,) = cyrus.messages(ADA)
    assert stored.octets.endswith(LETTER)
    assert stored.octets.startswith(b"Return-Path: <somebody@elsewhere.test>\r\nReceived: ")
    uid = cyrus.append(ADA, "Sent", LETTER)
    (copy,) = cyrus.messages(ADA, "Sent")
    assert (copy.uid, copy.flags, copy.octets) == (uid, frozenset({"\\Seen"}), LETTER)
    assert cyrus.messages("grace@customer.test") == []


def test_idle_hears_of_new_mail(cyrus: Cyrus) -> None:
    with cyrus.imap(ADA) as imap:
        imap.select()
        imap.send(b"i1 IDLE\r\n")
        assert imap.readline().startswith(b"+")
        cyrus.deliver(ADA, LETTER)
        while b"EXISTS" not in (line := imap.readline()):
            assert line, "connection lost"
        imap.send(b"DONE\r\n")


def test_starttls_and_no_password_without(cyrus: Cyrus) -> None:
    client = imaplib.IMAP4("localhost", cyrus.imap_port)
    assert "LOGINDISABLED" in client.capabilities
    client.starttls(cyrus.ca.client_context())
    client.login(ADA, "one")
    client.logout()


def test_a_wrong_password(cyrus: Cyrus) -> None:
    client = imaplib.IMAP4_SSL("localhost", cyrus.imaps_port, ssl_context=cyrus.ca.client_context())
    with pytest.raises(imaplib.IMAP4.error):
        client.login(ADA, "two words")
    client.logout()


def test_down_and_up_again(cyrus: Cyrus) -> None:
    cyrus.append(ADA, "Sent", LETTER)
    cyrus.stop()
    cyrus.start()
    assert len(cyrus.messages(ADA, "Sent")) == 1
