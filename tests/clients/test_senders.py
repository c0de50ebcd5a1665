"""msmtp and swaks: they send, with each kind of TLS and of sign-in."""

from __future__ import annotations

import pytest

from tests.clients.place import Place, plain, subject
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON
from tests.servers.waiting import eventually


def arrived(place: Place, who: str, about: str) -> None:
    (got,) = eventually(lambda: place.provider.dovecot.messages(who), f"the message to {who}")
    assert subject(got.octets) == about
    assert b"\r\nBcc:" not in got.octets
    assert got.octets.endswith(b"\r\n\r\nHere it is.\r\n")


@pytest.mark.parametrize("auth", ["plain", "login"])
@pytest.mark.parametrize("tls", ["smtps", "starttls"])
def test_msmtp(place: Place, tls: str, auth: str) -> None:
    place.write(
        "msmtprc",
        f"""account default
host {place.host}
port {place.smtps if tls == "smtps" else place.smtp}
tls on
tls_starttls {"off" if tls == "smtps" else "on"}
tls_trust_file {place.ca}
auth {auth}
user {place.user}
password "{place.password}"
from {PERSON}
""",
    )
    copied = plain("By msmtp").replace(b"\r\n\r\n", f"\r\nBcc: {OTHER_CUSTOMER}\r\n\r\n".encode(), 1)
    place.command("msmtp", "-C", "msmtprc", "--read-recipients", input=copied)
    for who in (CUSTOMER, OTHER_CUSTOMER):
        arrived(place, who, "By msmtp")


def test_msmtp_is_told_why_nothing_was_sent(place: Place) -> None:
    login = [f"--user={place.user}", f"--passwordeval=echo '{place.password}'", "--auth=on", f"--from={PERSON}"]
    trust = ["--tls=on", "--tls-starttls=off", f"--tls-trust-file={place.ca}"]
    where = [f"--host={place.host}", f"--port={place.smtps}"]
    said = place.command("msmtp", *where, *trust, *login, "nobody@example.test", input=plain("To nobody"), check=False)
    assert said == b""
    assert place.subjects("Sent") == []


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["--tls-on-connect", "--tls"])
def test_swaks(place: Place, tls: str, auth: str) -> None:
    port = place.smtps if tls == "--tls-on-connect" else place.smtp
    where = ["--server", place.host, "--port", str(port), tls, "--tls-verify", "--tls-ca-path", str(place.ca)]
    login = ["--auth", auth, "--auth-user", place.user, "--auth-password", place.password]
    message = ["--from", PERSON, "--to", CUSTOMER, "--data", "-", "--pipeline"]
    place.command("swaks", *where, *login, *message, input=plain("By swaks").removesuffix(b"\r\n"))  # it adds one
    arrived(place, CUSTOMER, "By swaks")
