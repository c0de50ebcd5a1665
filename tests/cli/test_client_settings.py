from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, account
from tests.web.served import served

CLIENT = "client: {password: {file: client.password}}\n"


def test_what_the_configuration_says_and_a_password_that_is_made_once(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    document = typed("client-settings", ADA.title(), "--json", folder=tmp_path).json
    assert document["login"] == ADA
    assert document["outgoing"] == [
        {"host": "localhost", "port": 1465, "security": "SSL/TLS"},
        {"host": "localhost", "port": 1587, "security": "STARTTLS"},
    ]
    assert document["incoming"] == {"host": "localhost", "port": 1, "security": "none", "login": ADA}
    kept = tmp_path / "config/client.password"
    assert kept.read_text().strip() == document["password"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate(Path(document["certificate"]["file"]).read_bytes())
    assert certificate.fingerprint(hashes.SHA256()).hex(":").upper() == document["certificate"]["sha256"]
    assert typed("client-settings", ADA, "--json", folder=tmp_path).json == document
    changed = typed("client-settings", ADA, "--new-password", "--json", folder=tmp_path).json
    assert changed["password"] == kept.read_text().strip() != document["password"]


def test_a_person_gets_steps_for_both_clients(tmp_path: Path) -> None:
    account(tmp_path, CLIENT)
    seen = typed("client-settings", ADA, folder=tmp_path)
    assert seen.code == 0
    for word in ("Thunderbird", "Outlook (classic)", "localhost, port 1465", ADA, "SHA-256 "):
        assert word in seen.out
    fingerprint = typed("client-settings", ADA, "--json", folder=tmp_path).json["certificate"]["sha256"]
    assert fingerprint in seen.out


def test_an_account_that_is_not_there(tmp_path: Path) -> None:
    account(tmp_path)
    seen = typed("client-settings", "eve@example.test", folder=tmp_path)
    assert (seen.code, seen.err) == (
        1,
        f"proxyd: there is no account 'eve@example.test'; the accounts are: {ADA}\n",
    )


@on_the_loop
async def test_the_running_daemon_knows_its_ports_best(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        account(tmp_path, CLIENT)
        s.listening = {"smtps": "127.0.0.1:40001"}
        document = (await typed_beside("client-settings", ADA, "--json", folder=tmp_path)).json
        assert document["outgoing"] == [{"host": "localhost", "port": 40001, "security": "SSL/TLS"}]
