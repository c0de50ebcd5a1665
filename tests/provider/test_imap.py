"""Commands on one connection: against real Dovecot, and against written conversations where no server obliges."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.errors import Refused, SignInRefused
from proxyd.model import HealthCause
from proxyd.provider import tls
from proxyd.provider.imap import (
    Connection,
    Misconfigured,
    Throttled,
    Unreachable,
    UnsafeValue,
    health_of,
)
from proxyd.provider.imap_lines import checked
from proxyd.provider.tls import client_context
from tests.provider.scripted_imap import EXAMINE, GREETING, SIGN_IN, ScriptedImap
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.processes import free_port
from tests.servers.tls import ThrowAwayCa, server_context

PLAIN = ssl.create_default_context()
AT = datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC)


def mail(n: int, *, extra: str = "", body: str = "Hello\r\n") -> bytes:
    return f"Message-ID: <m{n}@customer.test>\r\nSubject: s{n}\r\n{extra}\r\n{body}".encode()


def signed_in(provider: Provider) -> Connection:
    context = provider.ca.client_context()
    connection = Connection.open("localhost", provider.dovecot.imaps_port, "implicit", context)
    connection.sign_in(PERSON, PASSWORD)
    return connection


@pytest.fixture
def connection(provider: Provider) -> Iterator[Connection]:
    connection = signed_in(provider)
    yield connection
    connection.close()


def scripted(script: str) -> tuple[ScriptedImap, Callable[[], Connection]]:
    server = ScriptedImap(GREETING + script)
    return server, lambda: Connection.open("127.0.0.1", server.port, "none", PLAIN)


# --- against Dovecot ----------------------------------------------------------------------------------------


def test_folders_carry_their_special_use_in_lower_case(connection: Connection) -> None:
    folders = {folder.name: folder for folder in connection.folders()}
    assert r"\sent" in folders["Sent"].attributes
    assert folders["Sent"].delimiter == "/"
    assert "INBOX" in folders


def test_new_uids_and_their_three_fields(provider: Provider, connection: Connection) -> None:
    opened = connection.examine("INBOX")
    assert connection.uids_from(opened.uidnext) == []
    provider.dovecot.deliver(PERSON, mail(1, extra="In-Reply-To: <a@example.test>\r\nReferences: <b@x>\r\n <c@x>\r\n"))
    provider.dovecot.deliver(PERSON, mail(2))
    connection.noop()
    assert connection.take_news()
    uids = connection.uids_from(opened.uidnext)
    assert len(uids) == 2
    fields = connection.fields([*uids, 9999], ("MESSAGE-ID", "IN-REPLY-TO", "REFERENCES"))
    assert list(fields) == uids
    assert b"<a@example.test>" in fields[uids[0]]
    assert b"<c@x>" in fields[uids[0]]
    assert fields[uids[1]] == b"Message-ID: <m2@customer.test>\r\n\r\n"
    sent = [command for session in provider.dovecot.sessions(PERSON) for command in session.commands]
    assert any("BODY.PEEK[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)]" in command for command in sent)
    assert all(not message.flags for message in provider.dovecot.messages(PERSON))


def test_a_message_in_parts(provider: Provider, connection: Connection) -> None:
    octets = mail(1, body="".join(f"line {n}\r\n" for n in range(1000)))
    uid = provider.dovecot.append(PERSON, "INBOX", octets, flags="")
    connection.examine("INBOX")
    facts = connection.facts(uid)
    assert facts is not None
    assert facts.size == len(octets)
    assert facts.internaldate is not None
    assert abs(facts.internaldate - datetime.now(UTC)) < timedelta(minutes=5)
    first, second = connection.part(uid, 0, 5000), connection.part(uid, 5000)
    assert first is not None
    assert second is not None
    assert first + second == octets
    assert connection.part(uid, len(octets)) == b""
    assert connection.part(uid + 1, 0) is None
    assert connection.facts(uid + 1) is None
    assert provider.dovecot.messages(PERSON)[0].flags == frozenset()


def test_status_tells_what_arrived_elsewhere(provider: Provider, connection: Connection) -> None:
    before = connection.status("Sent")
    uid = provider.dovecot.append(PERSON, "Sent", mail(1))
    after = connection.status("Sent")
    assert (before.uidvalidity, uid + 1, 1) == (after.uidvalidity, after.uidnext, after.messages)


def append(connection: Connection, folder: str, octets: bytes, at: datetime = AT) -> int:
    connection.append_begin(folder, len(octets), [r"\Seen"], at)
    for start in range(0, len(octets), 7):
        connection.append_octets(octets[start : start + 7])
    return connection.append_end().uid


def test_append_keeps_every_octet_the_flag_and_the_date(provider: Provider, connection: Connection) -> None:
    octets = mail(1, body=".\r\n..two\r\n \u00e4\u00f6 8-bit, and no line end")
    uid = append(connection, "Sent", octets)
    (stored,) = provider.dovecot.messages(PERSON, "Sent")
    assert (stored.uid, stored.octets, stored.flags) == (uid, octets, frozenset({"\\Seen"}))
    assert datetime.strptime(stored.internaldate, "%d-%b-%Y %H:%M:%S %z") == AT


def test_append_to_a_missing_folder_is_refused_before_the_octets(connection: Connection) -> None:
    with pytest.raises(Refused, match="TRYCREATE"):
        connection.append_begin("Nowhere", 10, [r"\Seen"], AT)
    connection.create("Nowhere")
    connection.create("Nowhere")  # and again: no error
    assert append(connection, "Nowhere", mail(1)) == 1


def test_search_by_id_quotes_what_strangers_wrote(provider: Provider, connection: Connection) -> None:
    odd = 'a"b\\(c{3}%*@x'
    uid = provider.dovecot.append(PERSON, "Sent", f"Message-ID: <{odd}>\r\n\r\nx\r\n".encode())
    connection.examine("Sent")
    assert connection.uids_of_id("no such@thing") == []
    assert connection.uids_of_id(odd) == [uid]
    assert connection.uids_of_id("\u00e4@x") == []
    with pytest.raises(UnsafeValue):
        connection.uids_of_id('x"\r\nX1 STORE 1:* +FLAGS (\\Deleted)')
    assert connection.uids_of_id(odd) == [uid]


def test_remove_takes_one_message_and_no_other(provider: Provider, connection: Connection) -> None:
    uids = [provider.dovecot.append(PERSON, "Sent", mail(n), flags=r"\Deleted" if n == 1 else "") for n in range(3)]
    connection.select("Sent")
    assert connection.remove(uids[2])
    assert [message.uid for message in provider.dovecot.messages(PERSON, "Sent")] == uids[:2]


def test_without_uidplus_it_is_done_only_where_nothing_else_would_go(make_provider: Callable[..., Provider]) -> None:
    provider = make_provider(hide=["UIDPLUS"])
    connection = signed_in(provider)
    uids = [provider.dovecot.append(PERSON, "Sent", mail(n), flags=r"\Deleted" if n == 1 else "") for n in range(3)]
    connection.select("Sent")
    assert not connection.remove(uids[0])
    stored = provider.dovecot.messages(PERSON, "Sent")
    assert [r"\Deleted" in message.flags for message in stored] == [False, True, False]
    with provider.dovecot.imap(PERSON) as imap:
        imap.select("Sent")
        imap.expunge()
    assert connection.remove(uids[0])
    assert [message.uid for message in provider.dovecot.messages(PERSON, "Sent")] == [uids[2]]
    connection.close()


def test_starttls(provider: Provider) -> None:
    context = provider.ca.client_context()
    connection = Connection.open("localhost", provider.dovecot.imap_port, "starttls", context)
    connection.sign_in(PERSON, PASSWORD)
    assert connection.has("IDLE")
    connection.close()


def test_a_wrong_password_is_the_owners_to_mend(provider: Provider) -> None:
    context = provider.ca.client_context()
    connection = Connection.open("localhost", provider.dovecot.imaps_port, "implicit", context)
    with pytest.raises(SignInRefused) as caught:
        connection.sign_in(PERSON, "wr\u00f6ng")
    assert caught.value.evidence == "[AUTHENTICATIONFAILED] Authentication failed."
    assert health_of(caught.value).cause is HealthCause.SIGN_IN_REFUSED
    connection.close()


def test_a_foreign_certificate_is_for_whoever_edits_the_file(provider: Provider) -> None:
    with pytest.raises(Misconfigured) as caught:
        Connection.open("localhost", provider.dovecot.imaps_port, "implicit", ssl.create_default_context())
    assert health_of(caught.value).cause is HealthCause.MISCONFIGURED
    assert "certificate" in caught.value.evidence


def test_nobody_there() -> None:
    with pytest.raises(Unreachable) as caught:
        Connection.open("127.0.0.1", free_port(), "none", PLAIN)
    assert health_of(caught.value).cause is HealthCause.UNREACHABLE


def test_a_connection_limit_is_not_a_changed_password(make_provider: Callable[..., Provider]) -> None:
    provider = make_provider(dovecot={"connections_per_user": 1})
    first = signed_in(provider)
    with pytest.raises(Throttled) as caught:
        signed_in(provider)
    assert health_of(caught.value).cause is HealthCause.THROTTLED
    first.close()


# --- written conversations ----------------------------------------------------------------------------------

REFUSALS = [
    ("NO [AUTHENTICATIONFAILED] Invalid credentials", SignInRefused),
    ("NO LOGIN failed.", SignInRefused),
    ("NO [UNAVAILABLE] Temporary authentication failure.", Throttled),
    ("NO [ALERT] Too many simultaneous connections. (Failure)", Throttled),
    ("NO [LIMIT] Rate limit hit", Throttled),
    ("NO [INUSE] locked", Throttled),
    ("BAD internal server error, try again later", Throttled),
]


@pytest.mark.parametrize(("answer", "error"), REFUSALS, ids=[answer for answer, _ in REFUSALS])
def test_what_a_refused_sign_in_means(answer: str, error: type[Exception]) -> None:
    server, connect = scripted(
        'C: CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: %T OK done\nC: LOGIN "a" "b"\nS: %T ' + answer
    )
    with server:
        connection = connect()
        with pytest.raises(error) as caught:
            connection.sign_in("a", "b")
        assert caught.type is error
        words = answer.partition(" ")[2]
        assert words in caught.value.evidence  # type: ignore[attr-defined]
        connection.close()


def test_a_greeting_that_says_goodbye() -> None:
    with ScriptedImap("S: * BYE Too many connections from your address") as server, pytest.raises(Throttled):
        Connection.open("127.0.0.1", server.port, "none", PLAIN)


def test_octets_behind_starttls_end_the_connection() -> None:
    script = (
        "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 STARTTLS\nS: %T OK x\n"
        "C: STARTTLS\nS: %T OK go\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN\n"
    )
    with ScriptedImap(script) as server, pytest.raises(Unreachable, match="behind its answer to STARTTLS"):
        Connection.open("127.0.0.1", server.port, "starttls", PLAIN)


def test_no_starttls_offered() -> None:
    server, _ = scripted("C: CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: %T OK done")
    with server, pytest.raises(Misconfigured, match="STARTTLS"):
        Connection.open("127.0.0.1", server.port, "starttls", PLAIN)


def test_lost_in_the_middle_of_a_literal() -> None:
    server, connect = scripted(
        SIGN_IN + EXAMINE + "C: UID FETCH 5\nS: * 3 FETCH (UID 5 BODY[HEADER.FIELDS (X)] {400}\nS~ X: half\nclose"
    )
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        connection.examine("INBOX")
        with pytest.raises(Unreachable):
            connection.fields([5], ["X"])
        connection.close()


def test_announced_but_not_delivered_and_news_beside_an_answer() -> None:
    server, connect = scripted(
        SIGN_IN
        + EXAMINE
        + "C: UID SEARCH UID 4:*\nS: * SEARCH 3 9 7\nS: * 5 EXISTS\nS: %T OK done\n"
        + "C: UID FETCH 7,9\nS: * 1 FETCH (FLAGS (\\Seen))\n"
        + 'S: * 4 FETCH (UID 7 BODY[HEADER.FIELDS ("MESSAGE-ID")] NIL)\nS: * 5 EXISTS\nS: %T OK done\n'
    )
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        assert connection.examine("INBOX").uidvalidity == 7
        assert not connection.take_news()
        assert connection.uids_from(4) == [7, 9]
        assert connection.take_news()
        assert connection.fields([7, 9], ["MESSAGE-ID"]) == {7: b""}
        assert not connection.take_news()  # the same EXISTS once more is no news
        connection.close()


def test_xlist_where_only_that_knows() -> None:
    server, connect = scripted(
        SIGN_IN.replace("[CAPABILITY IMAP4rev1 IDLE]", "[CAPABILITY IMAP4rev1 XLIST]")
        + 'C: XLIST\nS: * XLIST (\\HasNoChildren \\Sent) "/" "[Gmail]/Gesendet"\nS: %T OK done'
    )
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        (folder,) = connection.folders()
        assert folder.name == "[Gmail]/Gesendet"
        assert r"\sent" in folder.attributes
        connection.close()


def test_an_answer_that_breaks_the_protocol_is_a_lost_connection() -> None:
    server, connect = scripted(SIGN_IN + EXAMINE + "C: UID FETCH\nS: * 3 FETCH (UID 5 BODY[X\nS: %T OK done")
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        connection.examine("INBOX")
        with pytest.raises(Unreachable):
            connection.fields([5], ["X"])
        connection.close()


def test_tls_by_a_server_of_another_name(tmp_path: Path) -> None:
    ca = ThrowAwayCa(tmp_path / "ca")
    with (
        ScriptedImap(GREETING, server_context(ca.foreign_leaf())) as server,
        pytest.raises(Misconfigured, match="another name"),
    ):
        Connection.open("127.0.0.1", server.port, "implicit", ca.client_context())


@given(st.text() | st.binary())
def test_no_value_with_a_line_end_or_nul_passes(value: str | bytes) -> None:
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if any(octet in octets for octet in (b"\r", b"\n", b"\0")):
        with pytest.raises(UnsafeValue):
            checked(value)
    else:
        assert checked(value) is value


@pytest.mark.parametrize("folder", ["a\r\nb", "a\nb", "a\0b", "a\r"])
def test_no_folder_name_with_a_line_end_passes(folder: str) -> None:
    server, connect = scripted(SIGN_IN)
    with server:
        connection = connect()
        connection.sign_in("a", "b")
        for command in (connection.examine, connection.select, connection.status, connection.create):
            with pytest.raises(UnsafeValue):
                command(folder)
        with pytest.raises(UnsafeValue):
            connection.append_begin(folder, 1, [], AT)
        connection.close()
        assert "LOGOUT" in server.heard[-1]


def test_the_next_connection_resumes_the_tls_session(provider: Provider) -> None:
    """It shares the reading of the server's certificates: with thousands of mailboxes that is most of their memory."""
    context = client_context("resumed", provider.dovecot.ca.ca)
    reused = []
    for _ in range(3):
        connection = Connection.open("localhost", provider.dovecot.imaps_port, "implicit", context)
        reused.append(connection._wire.sock.session_reused)
        connection.close()
    assert reused[0] is False
    assert reused[1:] == [True, True]


def test_a_session_is_resumed_for_an_hour_after_its_certificate_was_seen(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client_context("hour", provider.dovecot.ca.ca)
    at = ("localhost", provider.dovecot.imaps_port)
    Connection.open(*at, "implicit", context).close()
    now = tls.time.monotonic()
    assert tls.sessions.to(context, *at) is not None
    assert tls.sessions.to(context, "127.0.0.1", at[1]) is None  # another name is another certificate's business
    monkeypatch.setattr(tls.time, "monotonic", lambda: now + tls.RESUMED)
    assert tls.sessions.to(context, *at) is None
