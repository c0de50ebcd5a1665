"""Dovecot as our tests start it does what they take for granted."""

from __future__ import annotations

import imaplib
import smtplib
from pathlib import Path

import pytest

from tests.servers.dovecot import Dovecot
from tests.servers.processes import ServerFailed, listens

pytestmark = pytest.mark.servers

ADA, GRACE = "ada@example.test", "grace@customer.test"
USERS = {ADA: "one", GRACE: "two"}
LETTER = b"From: a@b.test\r\nMessage-ID: <1@b.test>\r\nSubject: hi\r\n\r\n.hello\r\n"


def test_mail_delivered_by_lmtp_is_seen_by_its_owner_alone(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS) as dovecot:
        dovecot.deliver(ADA, LETTER)
        (stored,) = dovecot.messages(ADA)
        assert stored.octets.endswith(LETTER)
        assert stored.flags == frozenset()
        assert dovecot.messages(GRACE) == []
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            dovecot.deliver("nobody@example.test", LETTER)


def test_looking_changes_nothing(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS) as dovecot:
        dovecot.deliver(ADA, LETTER)
        assert dovecot.messages(ADA) == dovecot.messages(ADA)


@pytest.mark.parametrize("special_use", [True, False], ids=["with SPECIAL-USE", "without SPECIAL-USE"])
def test_special_use(server_folder: Path, special_use: bool) -> None:
    with Dovecot(server_folder, users=USERS, special_use=special_use, sent_name="Gesendet") as dovecot:
        assert any('"/" Gesendet' in line for line in dovecot.folders(ADA))
        with dovecot.imap(ADA) as imap:
            capability = imap.capability()[1][0].split()
            kind, data = imap._simple_command("LIST", "(SPECIAL-USE)", '""', '"*"')
            _, lines = imap._untagged_response(kind, data, "LIST")
        assert (b"SPECIAL-USE" in capability) is special_use
        assert any(b"\\Sent" in (line or b"") for line in lines) is special_use


def test_no_sent_folder_at_all(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS, sent_name=None) as dovecot:
        assert not any("Sent" in line for line in dovecot.folders(ADA))


def test_capabilities_can_be_hidden(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS, hide=["UIDPLUS", "NOTIFY"]) as dovecot, dovecot.imap(ADA) as imap:
        capability = imap.capability()[1][0].split()
        assert b"IDLE" in capability
        assert b"UIDPLUS" not in capability
        assert b"NOTIFY" not in capability


def test_the_rawlog_has_every_word_but_ours(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS) as dovecot:
        dovecot.deliver(ADA, LETTER)
        dovecot.messages(ADA)
        assert dovecot.sessions() == []
        client = imaplib.IMAP4("localhost", dovecot.imap_port)
        client.starttls(dovecot.ca.client_context())
        client.login(ADA, "one")
        client.select()
        client.uid("FETCH", "1", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        client.logout()
        (session,) = dovecot.sessions(ADA)
        assert "UID FETCH 1 (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])" in session.commands
        assert b"<1@b.test>" in session.received
        assert b".hello" not in session.received
        assert "C: " in dovecot.rawlog()
        assert dovecot.sessions(GRACE) == []


def test_a_new_password_holds_at_once(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS) as dovecot:
        dovecot.set_password(ADA, "changed")
        client = imaplib.IMAP4_SSL("localhost", dovecot.imaps_port, ssl_context=dovecot.ca.client_context())
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login(ADA, "one")
        client.login(ADA, "changed")
        client.logout()


def test_down_and_up_again_with_the_same_mail_on_the_same_ports(server_folder: Path) -> None:
    with Dovecot(server_folder, users=USERS) as dovecot:
        uid = dovecot.append(ADA, "Sent", LETTER)
        ports = (dovecot.imap_port, dovecot.imaps_port, dovecot.lmtp_port)
        dovecot.stop()
        assert not any(listens(port) for port in ports)
        dovecot.start()
        (stored,) = dovecot.messages(ADA, "Sent")
        assert (stored.uid, stored.flags, stored.octets) == (uid, frozenset({"\\Seen"}), LETTER)


def test_what_ends_its_sign_in_process_is_said_at_once(server_folder: Path) -> None:
    """A client would wait for a greeting."""
    wrong = server_folder / "oauth2.conf.ext"
    wrong.write_text("no_such_setting = x\n")
    server = Dovecot(server_folder / "d", users=USERS, settings=f"passdb {{\n  driver = oauth2\n  args = {wrong}\n}}\n")
    try:
        with pytest.raises(ServerFailed, match="Unknown setting: no_such_setting"):
            server.start()
    finally:
        server.stop()
