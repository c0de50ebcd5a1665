"""Postfix as our tests start it, in front of Dovecot."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from functools import partial

import pytest

from tests.servers.mailprovider import COLLEAGUE, CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.waiting import eventually

LETTER = b"From: ada@example.test\r\nTo: grace@customer.test\r\nMessage-ID: <1@example.test>\r\n\r\nhi\r\n"


def test_what_it_offers(provider: Provider) -> None:
    with provider.postfix.connect() as smtp:
        smtp.ehlo()
        for word in ("pipelining", "size", "8bitmime", "dsn", "smtputf8", "chunking", "enhancedstatuscodes"):
            assert smtp.has_extn(word), word
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]


def test_starttls_with_a_certificate_that_is_believed(provider: Provider) -> None:
    with smtplib.SMTP("localhost", provider.postfix.submission_port, timeout=60) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")
        smtp.starttls(context=provider.ca.client_context())
        smtp.login(PERSON, PASSWORD)
        smtp.sendmail(PERSON, [CUSTOMER], LETTER)
    eventually(lambda: provider.dovecot.messages(CUSTOMER))


def test_nothing_without_signing_in(provider: Provider) -> None:
    with provider.postfix.connect() as smtp:
        smtp.ehlo()
        smtp.mail(PERSON)
        assert smtp.rcpt(CUSTOMER)[0] == 554
    with provider.postfix.connect() as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login(PERSON, "wrong")


def test_an_unknown_recipient_is_refused_at_rcpt(provider: Provider) -> None:
    with provider.postfix.connect() as smtp:
        smtp.login(PERSON, PASSWORD)
        smtp.mail(PERSON)
        assert smtp.rcpt(CUSTOMER)[0] == 250
        code, text = smtp.rcpt("nobody@customer.test")
        assert (code, text[:5]) == (550, b"5.1.1")


def test_a_domain_it_does_not_know_gives_a_bounce(provider: Provider) -> None:
    provider.postfix.submit(PERSON, ["somebody@elsewhere.test"], LETTER)
    (bounce,) = eventually(lambda: provider.dovecot.messages(PERSON))
    assert b"multipart/report" in bounce.octets


@pytest.mark.parametrize("files_sent", [True, False], ids=["files by itself", "files nothing"])
def test_who_files_the_sent_copy(make_provider: Callable[..., Provider], files_sent: bool) -> None:
    provider = make_provider(files_sent=files_sent)
    provider.postfix.submit(PERSON, [CUSTOMER, COLLEAGUE], LETTER)
    for address in (CUSTOMER, COLLEAGUE):
        eventually(partial(provider.dovecot.messages, address))
    if files_sent:
        (copy,) = eventually(lambda: provider.dovecot.messages(PERSON, "Sent"))
        assert copy.flags == {"\\Seen"}
        assert b"Message-ID: <1@example.test>" in copy.octets
    eventually(lambda: provider.postfix.log().count(": removed") == 1, "the queue is empty")
    assert len(provider.dovecot.messages(PERSON, "Sent")) == int(files_sent)
    assert provider.dovecot.messages(PERSON) == []


def test_its_size_limit(make_provider: Callable[..., Provider]) -> None:
    provider = make_provider(message_size_limit=10_000)
    with provider.postfix.connect() as smtp:
        smtp.login(PERSON, PASSWORD)
        assert smtp.esmtp_features["size"] == "10000"
        assert smtp.docmd("MAIL", f"FROM:<{PERSON}> SIZE=20000")[0] == 552


def test_down_and_up_again(provider: Provider) -> None:
    provider.postfix.stop()
    with pytest.raises(OSError):
        provider.postfix.connect()
    provider.postfix.start()
    provider.postfix.submit(PERSON, [CUSTOMER], LETTER)
    eventually(lambda: provider.dovecot.messages(CUSTOMER))
