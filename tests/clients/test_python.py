"""Python's imaplib and imapclient: a whole session of commands each, and IDLE."""

from __future__ import annotations

import base64
import imaplib
from collections.abc import Iterator

import imapclient
import pytest

from tests.clients.place import Place, plain
from tests.servers.mailprovider import CUSTOMER, PERSON


@pytest.fixture
def client(place: Place) -> Iterator[imapclient.IMAPClient]:
    with imapclient.IMAPClient(place.host, place.imaps, ssl_context=place.context, timeout=60) as client:
        client.login(place.user, place.password)
        yield client


def test_imaplib(place: Place) -> None:
    place.fill(5)
    imap = place.signed_in()
    assert imap.select("INBOX") == ("OK", [b"5"])
    assert imap.search(None, "FROM", CUSTOMER) == ("OK", [b"1 2 3 4 5"])
    kind, data = imap.fetch("2", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE)")
    assert (kind, data[0][1]) == ("OK", b"Subject: Number 2\r\n\r\n")
    kind, data = imap.uid("FETCH", "1:*", "(BODY.PEEK[])")
    assert [item[1] for item in data if isinstance(item, tuple)] == [
        each.octets for each in place.provider.dovecot.messages(PERSON)
    ]
    assert imap.create('"Old mail"')[0] == "OK"
    assert imap.uid("MOVE", "1", '"Old mail"')[0] == "OK"
    assert imap.store("1", "+FLAGS", "(\\Deleted keyword)")[0] == "OK"
    assert imap.expunge() == ("OK", [b"1", b"1"]), "MOVE told of one"
    assert imap.append('"Old mail"', "\\Flagged", imaplib.Time2Internaldate(0), plain("Appended"))[0] == "OK"
    assert imap.status('"Old mail"', "(MESSAGES UIDNEXT)") == ("OK", [b'"Old mail" (MESSAGES 2 UIDNEXT 3)'])
    assert imap.rename('"Old mail"', "Archive")[0] == "OK"
    assert imap.delete("Archive")[0] == "OK"
    assert imap.delete("Archive")[0] == "NO", "there is none"
    with pytest.raises(imaplib.IMAP4.error, match=r"(?i)BAD.*Unknown"):
        imap.xatom("XUNHEARDOF")
    assert imap.noop()[0] == "OK"
    assert imap.close()[0] == "OK"
    assert imap.logout()[0] == "BYE"
    assert place.subjects() == ["Number 3", "Number 4", "Number 5"]


@pytest.mark.parametrize("way", ["LOGIN", "PLAIN", "PLAIN with what it says first", "quotes"])
def test_signs_in(place: Place, way: str) -> None:
    imap = imaplib.IMAP4(place.host, place.imap, timeout=60)
    assert "LOGINDISABLED" not in imap.capabilities, "on loopback"
    imap.starttls(place.context)
    assert "STARTTLS" not in imap.capabilities
    plainly = f"\0{place.user}\0{place.password}".encode()
    if way == "LOGIN":
        imap.login(place.user, place.password)
    elif way == "PLAIN":
        imap.authenticate("PLAIN", lambda _: plainly)
    elif way == "quotes":
        imap._simple_command("LOGIN", f'"{place.user}"', f'"{place.password}"')
        imap.state = "AUTH"
    else:
        imap._simple_command("AUTHENTICATE", "PLAIN", base64.b64encode(plainly).decode())
        imap.state = "AUTH"
    assert imap.select()[0] == "OK"
    imap.logout()


def test_a_wrong_password_then_the_right_one(place: Place) -> None:
    imap = imaplib.IMAP4_SSL(place.host, place.imaps, ssl_context=place.context, timeout=60)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login(place.user, "wrong")
    imap.login(place.user, place.password)
    imap.logout()


def test_imapclient(place: Place, client: imapclient.IMAPClient) -> None:
    place.fill(4)
    assert client.find_special_folder(imapclient.imapclient.SENT) == "Sent"
    assert client.select_folder("INBOX")[b"EXISTS"] == 4
    assert client.search(["SUBJECT", "Number 3"]) == [3]
    assert client.search(["SUBJECT", "Größe"], charset="UTF-8") == []
    envelope = client.fetch([3], ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE"])[3][b"ENVELOPE"]
    assert envelope.subject == b"Number 3"
    client.create_folder("Entwürfe & mehr")
    assert "Entwürfe & mehr" in [name for _, _, name in client.list_folders()]
    client.copy([1, 2], "Entwürfe & mehr")
    client.move([4], "Trash")
    client.set_flags([1], [imapclient.FLAGGED, b"$label1"])
    assert set(client.get_flags([1])[1]) - {imapclient.RECENT} == {imapclient.FLAGGED, b"$label1"}
    assert b"APPENDUID" in client.append("Entwürfe & mehr", plain("Appended"), [imapclient.DRAFT])
    client.select_folder("Entwürfe & mehr")
    assert client.thread("REFERENCES") == ((1,), (2,), (3,))
    assert client.sort("REVERSE SUBJECT") == [2, 1, 3]
    client.delete_messages([2])
    client.expunge([2])
    client.unselect_folder()
    assert client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] == 3
    assert client.namespace().personal == (("", "/"),)
    assert place.subjects("Entw&APw-rfe &- mehr") == ["Number 1", "Appended"]
    assert place.subjects("Trash") == ["Number 4"]
    assert place.flags()["Number 1"] == {"\\Flagged", "$label1"}


def test_idle_tells_of_new_mail(place: Place, client: imapclient.IMAPClient) -> None:
    client.select_folder("INBOX")
    client.idle()
    place.provider.dovecot.deliver(PERSON, plain("News", sender=CUSTOMER, to=PERSON))
    told = client.idle_check(timeout=20)
    assert (1, b"EXISTS") in told
    client.idle_done()
    assert client.search() == [1]
    client.idle()
    client.idle_done()


def test_condstore_and_qresync(place: Place, client: imapclient.IMAPClient) -> None:
    place.fill(3)
    assert {b"CONDSTORE", b"QRESYNC"} <= set(client.capabilities())
    client.enable("QRESYNC")
    first = client.select_folder("INBOX")
    with place.provider.dovecot.imap(PERSON) as other:
        other.select()
        other.store("1", "+FLAGS", "\\Deleted")
        other.expunge()
    client.unselect_folder()
    kind, _ = client._imap._simple_command(
        "SELECT", "INBOX", f"(QRESYNC ({first[b'UIDVALIDITY']} {first[b'HIGHESTMODSEQ']}))"
    )
    assert kind == "OK"
    assert client._imap.untagged_responses.pop("VANISHED") == [b"(EARLIER) 1"]
