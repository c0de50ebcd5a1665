"""curl: one command, one connection; what it prints is what the server said."""

from __future__ import annotations

import pytest

from tests.clients.place import Place, plain, subject
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.waiting import eventually


def curl(place: Place, url: str, *options: str, input: bytes = b"") -> bytes:
    login = ["--user", f"{place.user}:{place.password}"]
    trust = ["--cacert", str(place.ca), "--silent", "--show-error", "--max-time", "30"]
    return place.command("curl", *trust, *login, *options, url, input=input)


@pytest.fixture(params=["imaps", "starttls"])
def url(place: Place, request: pytest.FixtureRequest) -> str:
    if request.param == "imaps":
        return f"imaps://{place.host}:{place.imaps}"
    return f"imap://{place.host}:{place.imap}"


def options(url: str) -> tuple[str, ...]:
    return ("--ssl-reqd",) if url.startswith("imap:") else ()


def test_lists_searches_and_fetches(place: Place, url: str) -> None:
    place.fill(3)
    by = options(url)
    folders = curl(place, f"{url}/", *by).splitlines()
    assert sorted(line.rpartition(b" ")[2] for line in folders) == [b"Drafts", b"INBOX", b"Sent", b"Trash"]
    assert any(b"\\Sent" in line for line in folders)
    assert curl(place, f"{url}/INBOX?SUBJECT%20%22Number%202%22", *by) == b"* SEARCH 2\r\n"
    assert curl(place, f"{url}/INBOX;UID=2", *by) == place.provider.dovecot.messages(place.user)[1].octets
    assert curl(place, f"{url}/INBOX;UID=2;SECTION=TEXT", *by) == b"Here it is.\r\n"
    assert place.flags()["Number 2"] == {"\\Seen"}


def test_appends_stores_and_copies(place: Place, url: str) -> None:
    by = options(url)
    curl(place, f"{url}/", *by, "--request", "CREATE Archive")
    octets = plain("Kept")
    (place.folder / "kept.eml").write_bytes(octets)
    curl(place, f"{url}/Archive", *by, "--upload-file", "kept.eml")
    (kept,) = place.provider.dovecot.messages(place.user, "Archive")
    assert kept.octets == octets
    curl(place, f"{url}/Archive", *by, "--request", "STORE 1 +FLAGS.SILENT (\\Flagged)")
    curl(place, f"{url}/Archive", *by, "--request", "COPY 1 Trash")
    assert place.flags("Archive") == {"Kept": {"\\Seen", "\\Flagged"}}
    assert place.flags("Trash") == {"Kept": {"\\Seen", "\\Flagged"}}


def test_a_large_message_both_ways(place: Place, url: str) -> None:
    """Larger than any buffer on the way."""
    octets = plain("Large", body="0123456789abcdef\n" * 400_000)
    (place.folder / "large.eml").write_bytes(octets)
    curl(place, f"{url}/Trash", *options(url), "--upload-file", "large.eml")
    assert curl(place, f"{url}/Trash;UID=1", *options(url)) == octets


def test_the_wrong_password_is_refused(place: Place) -> None:
    url = f"imaps://{place.host}:{place.imaps}/"
    wrong = ["--user", f"{place.user}:wrong", "--cacert", str(place.ca), "--silent", "--write-out", "%{exitcode}"]
    assert place.command("curl", *wrong, url, check=False) == b"67", "login denied"


@pytest.mark.parametrize("tls", ["smtps", "starttls"])
def test_sends(place: Place, tls: str) -> None:
    url = f"smtps://{place.host}:{place.smtps}" if tls == "smtps" else f"smtp://{place.host}:{place.smtp}"
    envelope = ["--mail-from", PERSON, "--mail-rcpt", CUSTOMER, "--upload-file", "-"]
    curl(place, url, "--ssl-reqd", *envelope, input=plain("By curl"))
    (got,) = eventually(lambda: place.provider.dovecot.messages(CUSTOMER), "the message")
    assert subject(got.octets) == "By curl"
    assert got.octets.endswith(b"\r\n\r\nHere it is.\r\n")
