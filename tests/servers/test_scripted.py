"""The scripted provider keeps to its script, and is honest where nothing is scripted. Python's smtplib is the judge."""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.scripted import Script, ScriptedSubmission
from tests.servers.tls import ThrowAwayCa

ADA, GRACE, MARY = "ada@example.test", "grace@customer.test", "mary@customer.test"
LETTER = b"Message-ID: <mine@example.test>\r\nSubject: hi\r\n\r\n.one dot\r\n..two\r\n\r\nend"


@pytest.fixture
def ca(tmp_path: Path) -> ThrowAwayCa:
    return ThrowAwayCa(tmp_path)


@pytest.fixture
def scripted(ca: ThrowAwayCa) -> Iterator[ScriptedSubmission]:
    with ScriptedSubmission(ca, users={ADA: "pw"}) as provider:
        yield provider


@contextlib.contextmanager
def signed_in(provider: ScriptedSubmission, ca: ThrowAwayCa) -> Iterator[smtplib.SMTP_SSL]:
    smtp = smtplib.SMTP_SSL("localhost", provider.port, context=ca.client_context(), timeout=60)
    try:
        smtp.login(ADA, "pw")
        yield smtp
    finally:
        smtp.close()


def test_an_honest_server(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    with signed_in(scripted, ca) as smtp:
        smtp.sendmail(ADA, [GRACE, MARY], LETTER, ["BODY=8BITMIME"], ["NOTIFY=NEVER"])
        assert smtp.noop()[0] == 250
        assert smtp.docmd("SING")[0] == 502
        assert smtp.quit()[0] == 221
    (message,) = scripted.taken
    assert message.octets == LETTER + b"\r\n"
    assert (message.user, message.sender, message.addresses) == (ADA, ADA, (GRACE, MARY))
    assert message.parameters == (f"size={len(LETTER)}", "BODY=8BITMIME")
    assert message.recipients[0][1] == ("NOTIFY=NEVER",)
    assert message.by == "DATA"


def test_chunks(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    with signed_in(scripted, ca) as smtp:
        flight = f"MAIL FROM:<{ADA}>\r\nRCPT TO:<{GRACE}>\r\nBDAT 7\r\n.\r\n\r\n12BDAT 3 LAST\r\n345"
        smtp.send(flight.encode())
        assert [smtp.getreply()[0] for _ in range(4)] == [250] * 4
    assert [(message.octets, message.by) for message in scripted.taken] == [(b".\r\n\r\n12345", "BDAT")]


@pytest.mark.parametrize("content", [b"", b".", b"\r\n.\r", b"a\n.\nb\r\r\n", b"x" * 3_000_000])
def test_only_crlf_dot_crlf_ends_a_message(scripted: ScriptedSubmission, ca: ThrowAwayCa, content: bytes) -> None:
    with signed_in(scripted, ca) as smtp:
        smtp.mail(ADA)
        smtp.rcpt(GRACE)
        smtp.docmd("DATA")
        stuffed = (b"." + content if content.startswith(b".") else content).replace(b"\r\n.", b"\r\n..")
        smtp.send(stuffed + (b"\r\n.\r\n" if content else b".\r\n"))
        assert smtp.getreply()[0] == 250
    assert scripted.taken[0].octets == (content + b"\r\n" if content else b"")


def test_who_may_not_sign_in(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    with smtplib.SMTP_SSL("localhost", scripted.port, context=ca.client_context(), timeout=60) as smtp:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login(ADA, "wrong")
        assert smtp.mail(ADA)[0] == 530


def test_it_refuses_a_recipient_and_the_dot(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.script = Script(recipients={MARY: "550 5.1.1 no Mary"}, replies={"dot": "552 5.3.4 too big"})
    with signed_in(scripted, ca) as smtp:
        smtp.mail(ADA)
        assert smtp.rcpt(GRACE)[0] == 250
        assert smtp.rcpt(MARY) == (550, b"5.1.1 no Mary")
        assert smtp.data(LETTER) == (552, b"5.3.4 too big")
    assert [message.taken for message in scripted.messages] == [False]


def test_it_renames_a_message(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.script = Script(new_id="theirs@scripted.test")
    with signed_in(scripted, ca) as smtp:
        smtp.mail(ADA)
        smtp.rcpt(GRACE)
        assert b"<theirs@scripted.test>" in smtp.data(LETTER)[1]
    assert scripted.taken[0].filed.startswith(b"Message-ID: <theirs@scripted.test>\r\nSubject: hi")
    assert scripted.taken[0].octets.startswith(b"Message-ID: <mine@example.test>")


@pytest.mark.parametrize("takes", [True, False], ids=["taken", "not taken"])
def test_it_hangs_up_after_the_dot(scripted: ScriptedSubmission, ca: ThrowAwayCa, takes: bool) -> None:
    scripted.scripts.append(Script(cut="dot", takes=takes))
    with signed_in(scripted, ca) as smtp, pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        smtp.sendmail(ADA, [GRACE], LETTER)
    assert len(scripted.taken) == int(takes)
    with signed_in(scripted, ca) as smtp:
        smtp.sendmail(ADA, [GRACE], LETTER)
    assert len(scripted.taken) == int(takes) + 1


def test_it_hangs_up_amid_a_message(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.script = Script(cut="content")
    with signed_in(scripted, ca) as smtp, pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        smtp.sendmail(ADA, [GRACE], LETTER + b"x" * 5_000_000)
    assert scripted.messages == []


def test_it_waits_until_told(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.script = Script(hold=frozenset({"dot"}))
    with signed_in(scripted, ca) as smtp:
        smtp.mail(ADA)
        smtp.rcpt(GRACE)
        smtp.docmd("DATA")
        smtp.send(b"hi\r\n.\r\n")
        scripted.reached("dot").result(5)
        assert smtp.sock is not None
        smtp.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            smtp.sock.recv(1)
        smtp.sock.settimeout(5)
        scripted.go_on()
        assert smtp.sock.recv(100).startswith(b"250 ")


def test_it_says_421_unasked_and_ends(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    with signed_in(scripted, ca) as smtp:
        scripted.say_to_all("421 4.4.2 idle too long")
        assert smtp.getreply()[0] == 421
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            smtp.noop()
    scripted.script = Script(replies={"connect": "421 4.3.2 too many"})
    with pytest.raises(smtplib.SMTPConnectError):
        smtplib.SMTP_SSL("localhost", scripted.port, context=ca.client_context(), timeout=60)


def test_what_it_offers_is_scripted(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.script = Script(extensions=("SIZE 1000",), auth="LOGIN")
    with signed_in(scripted, ca) as smtp:
        assert smtp.esmtp_features == {"size": "1000", "auth": " LOGIN"}


def test_starttls(ca: ThrowAwayCa) -> None:
    with (
        ScriptedSubmission(ca, tls="starttls") as provider,
        smtplib.SMTP("localhost", provider.port, timeout=60) as smtp,
    ):
        smtp.ehlo()
        assert not smtp.has_extn("auth")
        smtp.starttls(context=ca.client_context())
        smtp.login(ADA, "anything")
        smtp.sendmail(ADA, [GRACE], LETTER)
        assert len(provider.taken) == 1


def test_down_and_up_again(scripted: ScriptedSubmission, ca: ThrowAwayCa) -> None:
    scripted.stop()
    with pytest.raises(OSError):
        smtplib.SMTP_SSL("localhost", scripted.port, context=ca.client_context(), timeout=60)
    scripted.start()
    with signed_in(scripted, ca) as smtp:
        assert smtp.noop()[0] == 250
