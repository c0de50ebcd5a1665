"""What a client is told the server can do."""

from __future__ import annotations

import pytest

from proxyd.formats.capabilities import after_login, before_login, found_in, rewritten, unknown


@pytest.mark.parametrize(
    ("facts", "offered"),
    [
        ((True, False, True), "IMAP4rev1 ID LITERAL+ SASL-IR STARTTLS AUTH=PLAIN"),
        ((True, True, True), "IMAP4rev1 ID LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN"),
        ((False, True, True), "IMAP4rev1 ID LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN"),
        ((True, False, False), "IMAP4rev1 ID LITERAL+ SASL-IR STARTTLS LOGINDISABLED"),
    ],
    ids=["in clear on loopback", "behind STARTTLS", "TLS from the first octet", "in clear from elsewhere"],
)
def test_before_login(facts: tuple[bool, bool, bool], offered: str) -> None:
    starttls, secure, may_sign_in = facts
    assert before_login(starttls=starttls, secure=secure, may_sign_in=may_sign_in) == tuple(offered.split())


@pytest.mark.parametrize(
    ("providers", "clients"),
    [
        ("IMAP4rev1", "IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev2 IMAP4rev1", "IMAP4rev2 IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev1 literal+ Id", "IMAP4rev1 literal+ Id"),
        ("IMAP4rev1 LITERAL-", "IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 auth=oauthbearer SASL-IR LOGINDISABLED STARTTLS", "IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev1 COMPRESS=DEFLATE compress=x", "IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev1 URLAUTH URLAUTH=BINARY CATENATE BINARY UTF8=ACCEPT UTF8=ONLY", "IMAP4rev1 ID LITERAL+"),
        ("IMAP4rev1 MULTIAPPEND NOTIFY UNAUTHENTICATE", "IMAP4rev1 ID LITERAL+"),
        (
            "IMAP4rev1 IDLE MOVE UIDPLUS UNSELECT NAMESPACE SPECIAL-USE CONDSTORE QRESYNC ENABLE ESEARCH LIST-STATUS "
            "QUOTA X-GM-EXT-1 XLIST APPENDLIMIT=35651584 STATUS=SIZE",
            "IMAP4rev1 IDLE MOVE UIDPLUS UNSELECT NAMESPACE SPECIAL-USE CONDSTORE QRESYNC ENABLE ESEARCH LIST-STATUS "
            "QUOTA X-GM-EXT-1 XLIST APPENDLIMIT=35651584 STATUS=SIZE ID LITERAL+",
        ),
        ("IMAP4rev1 XNEVERHEARD=1", "IMAP4rev1 XNEVERHEARD=1 ID LITERAL+"),
        ("", "ID LITERAL+"),
    ],
)
def test_after_login(providers: str, clients: str) -> None:
    assert after_login(providers.split()) == tuple(clients.split())
    assert after_login(after_login(providers.split())) == after_login(providers.split())


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        (b"* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE X\r\n", b"* CAPABILITY IMAP4rev1 X ID LITERAL+\r\n"),
        (b"* capability IMAP4rev1\r\n", b"* CAPABILITY IMAP4rev1 ID LITERAL+\r\n"),
        (b"* CAPABILITY\r\n", b"* CAPABILITY ID LITERAL+\r\n"),
        (b"a OK [CAPABILITY X AUTH=PLAIN] in {5}\r\n", b"a OK [CAPABILITY X ID LITERAL+] in {5}\r\n"),
        (b"* OK [CAPABILITY X] x\n", b"* OK [CAPABILITY X ID LITERAL+] x\n"),
        (b"a ok [capability X] x\r\n", b"a ok [capability X ID LITERAL+] x\r\n"),
    ],
)
def test_lines_that_tell(line: bytes, heard: bytes) -> None:
    assert rewritten(line) == heard
    assert found_in(line) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"* CAPABILITYX IMAP4rev1\r\n",
        b'* LIST () "/" "CAPABILITY COMPRESS=DEFLATE"\r\n',
        b"* OK the [CAPABILITY COMPRESS=DEFLATE] of this server\r\n",
        b"* OK CAPABILITY COMPRESS=DEFLATE\r\n",
        b"a BAD [ALERT] [CAPABILITY COMPRESS=DEFLATE]\r\n",
        b"a OK [CAPABILITY COMPRESS=DEFLATE\r\n",
        b"+ [CAPABILITY COMPRESS=DEFLATE]\r\n",
        b"",
    ],
)
def test_lines_that_only_talk_of_it(line: bytes) -> None:
    assert rewritten(line) == line
    assert found_in(line) is None


@pytest.mark.parametrize(
    ("offered", "found"),
    [
        pytest.param(
            "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ SORT THREAD=REFS MOVE", (), id="Dovecot"
        ),
        pytest.param("IMAP4rev1 UNSELECT X-GM-EXT-1 AUTH=XOAUTH2 APPENDLIMIT=35651584 UTF8=ACCEPT", (), id="Gmail"),
        pytest.param("imap4rev1 Idle XFUTURE=2 telepathy", ("TELEPATHY", "XFUTURE=2"), id="what nobody knows"),
        pytest.param("", (), id="nothing"),
    ],
)
def test_what_nobody_here_has_heard_of(offered: str, found: tuple[str, ...]) -> None:
    assert unknown(offered.split()) == found
