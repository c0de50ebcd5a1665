from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxyd.cli.client_settings import client_named
from proxyd.web.client_document import settings_document
from proxyd.web.client_steps import TITLES, mutt_quoted
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, account
from tests.web.served import served

CLIENT = "client: {password: {file: client.password}}\n"
ALL = {
    "smtp": "127.0.0.1:1587",
    "smtps": "127.0.0.1:1465",
    "imap": "127.0.0.1:1143",
    "imaps": "127.0.0.1:1993",
    "web": "127.0.0.1:1780",
}
CERTIFICATE = {"file": "/home/ada/.local/share/proxyd/ca.pem", "sha256": "AB:CD"}


def document(folder: Path, *names: str, more: str = "", certificate: Any = CERTIFICATE, sent: str = "") -> Any:
    listening = {name: ALL[name] for name in names} if names else ALL
    return settings_document(account(folder, more), listening, "kept-secret", certificate, sent)


def test_what_the_configuration_says_and_a_password_that_is_made_once(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    document = typed("client-settings", ADA.title(), "--json", folder=tmp_path).json
    assert document["login"] == ADA
    assert document["outgoing"] == [
        {"host": "localhost", "port": 1465, "security": "SSL/TLS"},
        {"host": "localhost", "port": 1587, "security": "STARTTLS"},
    ]
    assert document["incoming"] == [
        {"host": "localhost", "port": 1993, "security": "SSL/TLS", "login": ADA, "through": "proxyd"},
        {"host": "localhost", "port": 1143, "security": "STARTTLS", "login": ADA, "through": "proxyd"},
    ]
    path = f"/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress={ADA}"
    assert document["autoconfig"] == f"http://localhost:1780{path}"
    kept = tmp_path / "config/client.password"
    assert kept.read_text().strip() == document["password"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate(Path(document["certificate"]["file"]).read_bytes())
    assert certificate.fingerprint(hashes.SHA256()).hex(":").upper() == document["certificate"]["sha256"]
    assert typed("client-settings", ADA, "--json", folder=tmp_path).json == document
    changed = typed("client-settings", ADA, "--new-password", "--json", folder=tmp_path).json
    assert changed["password"] == kept.read_text().strip() != document["password"]


@pytest.mark.parametrize("off", ["off", '"127.0.0.1:0"'], ids=["off", "a port that only the daemon would know"])
def test_mail_is_read_from_the_provider_where_no_imap_listener_is_open(tmp_path: Path, off: str) -> None:
    account(tmp_path, CLIENT)
    (tmp_path / "config/proxyd.yaml").write_text(f"listen: {{imap: {off}, imaps: {off}, web: {off}}}\n")
    document = typed("client-settings", ADA, "--json", folder=tmp_path).json
    assert document["incoming"] == [
        {"host": "localhost", "port": 1, "security": "none", "login": ADA, "through": "provider"}
    ]
    assert document["autoconfig"] is None
    assert "Incoming (IMAP): your provider, as before" in typed("client-settings", ADA, folder=tmp_path).out


def test_a_person_gets_the_most_used_steps_and_the_way_to_the_others(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    seen = typed("client-settings", ADA, folder=tmp_path)
    assert seen.code == 0
    told = " ".join(seen.out.split())
    for word in (*TITLES.values(), "server localhost, port 1465", "server localhost, port 1993", ADA, "SHA-256 "):
        assert word in told
    document = typed("client-settings", ADA, "--json", folder=tmp_path).json
    assert list(document["clients"]) == list(TITLES), "a program gets them all"
    certificate = document["certificate"]
    lines = seen.out.splitlines()
    assert [title in lines for title in TITLES.values()] == [True, True, False, False]
    assert lines[-3:] == [
        "Steps for other programs:",
        f"  Apple Mail         proxyd client-settings {ADA} --client apple-mail",
        f"  neomutt            proxyd client-settings {ADA} --client neomutt",
    ]
    assert f"SHA-256 {certificate['sha256']}" in lines
    assert f'     certutil -addstore -user Root "{certificate["file"]}"' in lines, "what is to be typed is not folded"
    assert all(len(line) <= 100 for line in lines if str(tmp_path) not in line and certificate["sha256"] not in line)


@pytest.mark.parametrize("client", [client for client in TITLES if client != "neomutt"])
def test_one_client_alone(tmp_path: Path, client: str) -> None:
    account(tmp_path, CLIENT)
    seen = typed("client-settings", ADA, "--client", client, folder=tmp_path)
    for other, title in TITLES.items():
        assert (f"\n{title}\n" in seen.out) == (other == client)
    assert list(typed("client-settings", ADA, "--client", client, "--json", folder=tmp_path).json["clients"]) == [
        client
    ]


def test_mutt_and_neomutt_read_the_same_lines(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    as_mutt, as_neomutt = (
        typed("client-settings", ADA, "--client", name, folder=tmp_path) for name in ("mutt", "neomutt")
    )
    assert as_mutt.out == as_neomutt.out != ""
    assert as_mutt.out.startswith("set from = ")


def test_another_client_is_no_client_of_ours(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    seen = typed("client-settings", ADA, "--client", "eudora", folder=tmp_path)
    assert seen.code == 2
    assert "thunderbird" in seen.err


def test_the_steps_name_what_the_client_is_to_be_set_to(tmp_path: Path) -> None:
    clients = document(tmp_path)["clients"]
    for client in ("thunderbird", "outlook", "apple-mail"):
        told = "\n".join(clients[client]["steps"])
        for word in ("localhost", "1993", "1465", ADA, CERTIFICATE["file"]):
            assert word in told, client
        assert "kept-secret" not in told
    assert "new Outlook cannot be used" in clients["outlook"]["note"]
    assert f'certutil -addstore -user Root "{CERTIFICATE["file"]}"' in clients["outlook"]["steps"][0]
    assert (
        f"security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {CERTIFICATE['file']}"
        in (clients["apple-mail"]["steps"][0])
    )


def test_steps_where_only_starttls_is_open_and_the_certificate_is_ones_own(tmp_path: Path) -> None:
    clients = document(tmp_path, "smtp", "imap", certificate=None)["clients"]
    for client in ("thunderbird", "outlook", "apple-mail"):
        told = "\n".join(clients[client]["steps"])
        for word in ("1143", "1587"):
            assert word in told, client
        assert ("STARTTLS" in told) == (client != "apple-mail")
        for word in ("1993", "1465", "trust install", "certutil", "add-trusted-cert"):
            assert word not in told, client


def test_steps_where_only_sending_goes_through_us(tmp_path: Path) -> None:
    clients = document(tmp_path, "smtps")["clients"]
    for client in ("thunderbird", "outlook", "apple-mail"):
        told = "\n".join(clients[client]["steps"])
        assert "The incoming server stays as it is" in told
        assert "1465" in told


def test_without_an_smtp_listener_there_is_nothing_to_be_told(tmp_path: Path) -> None:
    assert document(tmp_path, "imaps")["clients"] == {}
    account(tmp_path, CLIENT)
    (tmp_path / "config/proxyd.yaml").write_text("listen: {smtp: off, smtps: off}\n")
    for more in ((), ("--client", "neomutt")):
        seen = typed("client-settings", ADA, *more, folder=tmp_path)
        assert (seen.code, seen.out) == (1, "")
        assert "no SMTP listener is open" in seen.err


# --- neomutt -------------------------------------------------------------------------------------------------


def test_a_muttrc_and_nothing_else_is_printed_so_that_it_can_be_a_file(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    seen = typed("client-settings", ADA, "--client", "neomutt", folder=tmp_path, width=20)
    document = typed("client-settings", ADA, "--json", folder=tmp_path).json
    assert seen.out == document["clients"]["neomutt"]["muttrc"]
    assert seen.out.splitlines() == [
        f"set from = '{ADA}'",
        "set realname = 'Ada Lovelace'",
        "set folder = 'imaps://localhost:1993/'",
        f"set imap_user = '{ADA}'",
        f"set imap_pass = '{document['password']}'",
        "set spoolfile = '+INBOX'",
        "set record = '+Sent'",
        "set smtp_url = 'smtps://ada%40example.test@localhost:1465/'",
        f"set smtp_pass = '{document['password']}'",
        f"set certificate_file = '{tmp_path / 'data/ca.pem'}'",
        "set use_from = yes",
        "set ssl_starttls = yes",
        "set ssl_force_tls = yes",
        "set ssl_verify_host = yes",
        "set ssl_verify_dates = yes",
    ]


@pytest.mark.parametrize(
    ("more", "sent", "record"),
    [("", "", "+Sent"), ("", "Gesendet", "+Gesendet"), ("sent_copy: {folder: Archive/Sent}\n", "", "+Archive/Sent")],
    ids=["usual", "the mailbox's own", "the account's setting"],
)
def test_neomutt_files_its_copy_where_the_sent_folder_is(tmp_path: Path, more: str, sent: str, record: str) -> None:
    muttrc = document(tmp_path, more=more, sent=sent)["clients"]["neomutt"]["muttrc"]
    assert f"set record = '{record}'" in muttrc


def test_neomutt_asks_for_the_providers_password_itself(tmp_path: Path) -> None:
    muttrc = document(tmp_path, "smtp", certificate=None)["clients"]["neomutt"]["muttrc"]
    assert "set folder = 'imap://localhost:1/'" in muttrc
    assert "set smtp_url = 'smtp://ada%40example.test@localhost:1587/'" in muttrc
    assert "imap_pass" not in muttrc
    assert "certificate_file" not in muttrc


AWKWARD = ["plain", "it's", '$HOME `id` \\ "quoted" it\'s #1; x', "ünïcode ' $x", "two\nlines\r\nset x", "'", '"']


@pytest.mark.servers
@pytest.mark.parametrize("value", AWKWARD, ids=repr)
def test_neomutt_reads_back_what_was_quoted(tmp_path: Path, value: str) -> None:
    muttrc = tmp_path / "muttrc"
    muttrc.write_text(
        f"set charset = utf-8\nset smtp_pass = {mutt_quoted(value)}\nset realname = {mutt_quoted(value)}\n"
    )
    seen = asked(muttrc, "real_name").removeprefix("real_name = ")
    assert re.sub(r"\\(.)", r"\1", seen[1:-1]) == " ".join(value.split())


@pytest.mark.servers
def test_neomutt_takes_the_printed_muttrc(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    muttrc = tmp_path / "muttrc"
    muttrc.write_text(typed("client-settings", ADA, "--client", "neomutt", folder=tmp_path).out)
    assert asked(muttrc, "record") == 'record = "imaps://localhost:1993/Sent"'
    assert asked(muttrc, "spool_file") == 'spool_file = "imaps://localhost:1993/INBOX"'
    assert asked(muttrc, "certificate_file") == 'certificate_file = "~/data/ca.pem"'
    assert asked(muttrc, "ssl_force_tls") == "ssl_force_tls = yes"


def asked(muttrc: Path, name: str) -> str:
    """The variable as neomutt has read it; a line that it does not understand is an error."""
    done = subprocess.run(
        ["neomutt", "-n", "-F", str(muttrc), "-Q", name],
        env={"HOME": str(muttrc.parent), "LANG": "C.UTF-8", "TERM": "dumb", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip().removeprefix("set ")


# --- beside a daemon, and without an account -----------------------------------------------------------------


def test_an_account_that_is_not_there(tmp_path: Path) -> None:
    account(tmp_path)
    seen = typed("client-settings", "eve@example.test", folder=tmp_path)
    assert (seen.code, seen.err) == (
        1,
        f"proxyd: there is no account 'eve@example.test'; the accounts are: {ADA}\n",
    )


@on_the_loop
async def test_the_running_daemon_knows_its_ports_and_the_sent_folder_best(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        account(tmp_path, CLIENT)
        s.listening = {"smtps": "127.0.0.1:40001"}
        await s.desk.journal.learn(ADA, "sent_folder", "Gesendet")
        document = (await typed_beside("client-settings", ADA, "--json", folder=tmp_path)).json
        assert document["outgoing"] == [{"host": "localhost", "port": 40001, "security": "SSL/TLS"}]
        assert document["incoming"][0]["through"] == "provider"
        assert document["sent_folder"] == "Gesendet"
        s.listening = {"smtps": "127.0.0.1:40001", "imap": "127.0.0.1:40002", "web": "[::1]:40003"}
        document = (await typed_beside("client-settings", ADA, "--json", folder=tmp_path)).json
        assert [each["port"] for each in document["incoming"]] == [40002]
        assert document["autoconfig"].startswith("http://localhost:40003/.well-known/autoconfig/")


@pytest.mark.parametrize(
    ("typed", "client"),
    [
        ("thunderbird", "thunderbird"),
        ("Thunderbird", "thunderbird"),
        ("thunder", "thunderbird"),
        ("Outlook (classic)", "outlook"),
        ("outlook", "outlook"),
        ("Apple Mail", "apple-mail"),
        (" apple  mail ", "apple-mail"),
        ("mutt", "neomutt"),
        ("NeoMutt", "neomutt"),
        ("", None),
        ("t", None),
        ("mail", None),
        ("another", None),
        ("K-9", None),
    ],
)
def test_a_client_by_what_people_type(typed: str, client: str | None) -> None:
    assert client_named(typed) == client
