"""Contexts that are shared, and failures in one sentence."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest

from proxyd.errors import ConfigError
from proxyd.model import HealthCause
from proxyd.provider.tls import client_context, failure
from tests.servers.tls import ThrowAwayCa


def test_one_context_per_role_and_authority(tmp_path: Path) -> None:
    one, other = ThrowAwayCa(tmp_path / "one").ca, ThrowAwayCa(tmp_path / "other").ca
    assert client_context("smtp") is client_context("smtp")
    assert client_context("smtp", one) is client_context("smtp", one)
    made = {client_context(role, ca) for role in ("smtp", "imap") for ca in (None, one, other)}
    assert len(made) == 6


def test_it_verifies(tmp_path: Path) -> None:
    for context in (client_context("smtp"), client_context("smtp", ThrowAwayCa(tmp_path).ca)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_private_authority_is_trusted_beside_the_systems(tmp_path: Path) -> None:
    ca = ThrowAwayCa(tmp_path)
    system = client_context("smtp").cert_store_stats()["x509"]
    assert client_context("smtp", ca.ca).cert_store_stats()["x509"] == system + 1


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    ca = ThrowAwayCa(tmp_path / "a").ca
    before = client_context("smtp", ca)
    ca.write_bytes(ThrowAwayCa(tmp_path / "b").ca.read_bytes())
    os.utime(ca, ns=(1, 1))
    assert client_context("smtp", ca) is not before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("hello"), "holds no certificate in PEM form"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
    ids=["missing", "no PEM", "a folder"],
)
def test_an_authority_that_cannot_be_read(make: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    make(path)  # type: ignore[operator]
    with pytest.raises(ConfigError) as raised:
        client_context("smtp", path)
    assert str(raised.value).startswith(f"ca: {path}")
    assert words in str(raised.value)


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    error.verify_message = "odd thing"
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "handshake")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (certificate_error(10), HealthCause.MISCONFIGURED, "its certificate has expired"),
        (certificate_error(9), HealthCause.MISCONFIGURED, "not valid yet"),
        (certificate_error(62), HealthCause.MISCONFIGURED, "for another name"),
        (certificate_error(64), HealthCause.MISCONFIGURED, "for another name"),
        (certificate_error(18), HealthCause.MISCONFIGURED, "self-signed"),
        (certificate_error(20), HealthCause.MISCONFIGURED, "authority not known here"),
        (certificate_error(77), HealthCause.MISCONFIGURED, "its certificate is not trusted: odd thing"),
        (tls_error("WRONG_VERSION_NUMBER"), HealthCause.MISCONFIGURED, "does not speak TLS on this port"),
        (tls_error("UNSUPPORTED_PROTOCOL"), HealthCause.MISCONFIGURED, "no TLS newer than 1.1"),
        (tls_error("ODD_ALERT"), HealthCause.MISCONFIGURED, "the TLS handshake failed: odd alert"),
        (ssl.SSLEOFError(8, "EOF"), HealthCause.UNREACHABLE, "closed by the other side"),
        (ConnectionResetError(104, "reset"), HealthCause.UNREACHABLE, "closed by the other side"),
        (ConnectionRefusedError(111, "refused"), HealthCause.UNREACHABLE, "the connection was refused"),
        (TimeoutError(), HealthCause.UNREACHABLE, "no answer in time"),
        (socket.gaierror(-2, "Name or service not known"), HealthCause.NO_SUCH_NAME, "the name was not found"),
        (socket.gaierror(-3, "Temporary failure in name"), HealthCause.UNREACHABLE, "the name was not found"),
        (OSError(101, "Network is unreachable"), HealthCause.UNREACHABLE, "Network is unreachable"),
        (ValueError("x"), HealthCause.UNREACHABLE, "ValueError"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_failures_in_one_sentence(error: BaseException, cause: HealthCause, words: str) -> None:
    found, sentence = failure(error, "mail.example", 465)
    assert found is cause
    assert sentence.startswith("mail.example:465: ")
    assert words in sentence
    assert sentence.isprintable()
