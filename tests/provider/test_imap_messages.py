"""Asking the server which messages are so, and for sections of them: against real Dovecot, and as others answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.errors import Refused
from proxyd.provider.imap import Connection, UnsafeValue
from proxyd.provider.imap_values import uid_set
from tests.provider.scripted_imap import EXAMINE, SIGN_IN
from tests.provider.test_imap import connection, scripted
from tests.servers.mailprovider import PERSON, Provider

__all__ = ["connection"]

FROM_GRACE = b"From: Grace <grace@customer.test>\r\nMessage-ID: <a@b>\r\n\r\nHello\r\n"
REPORT = (
    b'From: MAILER-DAEMON@mx.test\r\nContent-Type: multipart/report; boundary="B"\r\n\r\n'
    b"--B\r\n\r\nSorry.\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Message-ID: <m1@x>\r\nSubject: s\r\n\r\nText\r\n--B--\r\n"
)


def test_any_of_several_keys_among_some_messages(connection: Connection, provider: Provider) -> None:
    for octets in (FROM_GRACE, REPORT, FROM_GRACE, REPORT):
        provider.dovecot.append(PERSON, "INBOX", octets, flags="")
    connection.examine("INBOX")
    keys = [("FROM", 'nobody "x" \\'), ("HEADER", "Content-Type", "multipart/report"), ("FROM", "jean")]
    assert connection.any_of([1, 2, 3], keys) == [2]
    assert connection.any_of([1, 2, 3, 4], [("FROM", "grace@customer.test")]) == [1, 3]
    assert connection.any_of([1, 2, 3, 4], [("TEXT", f"<{n}@x>") for n in range(100)] + [("TEXT", "<m1@x>")]) == [2, 4]
    assert connection.any_of([], keys) == connection.any_of([1], []) == connection.any_of([1], [("FROM", "é")]) == []
    with pytest.raises(UnsafeValue):
        connection.any_of([1], [("TEXT", 'x"\r\nX1 STORE 1:* +FLAGS \\Deleted')])


def test_sections_by_name(connection: Connection, provider: Provider) -> None:
    for octets in (FROM_GRACE, REPORT):
        provider.dovecot.append(PERSON, "INBOX", octets, flags="")
    connection.examine("INBOX")
    names = ["2.MIME", "9.MIME", "2.HEADER.FIELDS (MESSAGE-ID X-OTHER)", "2<0.10>"]
    found = connection.sections([2], names)
    assert list(found) == [2]
    assert found[2]["2.MIME"] == b"Content-Type: message/rfc822\r\n\r\n"
    assert found[2]["9.MIME"] == b""
    assert found[2]["2.HEADER.FIELDS (MESSAGE-ID X-OTHER)"] == b"Message-ID: <m1@x>\r\n\r\n"
    assert found[2]["2<0.10>"] == b"Message-ID"
    assert set(connection.sections([1], ["2.MIME"]).get(1, {"": b""}).values()) == {b""}
    assert connection.sections([], names) == {}
    assert all(each.flags == frozenset() for each in provider.dovecot.messages(PERSON))


def test_a_server_that_quotes_field_names_and_one_that_refuses_a_part() -> None:
    server, connect = scripted(
        SIGN_IN
        + EXAMINE
        + "C: UID FETCH 5\n"
        + 'S: * 3 FETCH (UID 5 BODY[3.HEADER.FIELDS ("MESSAGE-ID")] "Message-ID: <m1@x>" BODY[2.mime] NIL)\n'
        + "S: %T OK done\n"
        + "C: UID FETCH 6\nS: %T NO no such part"
    )
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        connection.examine("INBOX")
        found = connection.sections([5], ["3.HEADER.FIELDS (MESSAGE-ID)", "2.MIME"])
        assert found == {5: {"3.HEADER.FIELDS (MESSAGE-ID)": b"Message-ID: <m1@x>", "2.MIME": b""}}
        with pytest.raises(Refused):
            connection.sections([6], ["2.MIME"])
        connection.close()


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_set_of_uids_names_exactly_these(uids: list[int]) -> None:
    named = set()
    for run in uid_set(uids).decode().split(",") if uids else ():
        first, _, last = run.partition(":")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == set(uids)
