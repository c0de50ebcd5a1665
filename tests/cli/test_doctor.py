"""Each thing that can be wrong is found, told in one sentence, and has its command."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxyd.cli import findings
from proxyd.cli.doctor import examined
from proxyd.config import SecretFile, load, make_key_file, store_key
from proxyd.config.sealed_files import of_keys, write_sealed
from proxyd.model import HealthCause, HealthEvent, LookedFor, SendUnknown
from proxyd.places import Places
from proxyd.provider import tokens
from proxyd.relay import local_ca
from proxyd.store import room, tables
from proxyd.store.opening import opened
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ACCOUNT, ADA, message
from tests.web.served import served


@pytest.fixture(autouse=True)
def kept_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine's own clock is kept is not what these tests ask."""
    assert findings._unsynchronised() in (True, False), "but the kernel answers"
    monkeypatch.setattr(findings, "_unsynchronised", lambda: False)


def found(seen: Any) -> list[tuple[str, str]]:
    return [(each["about"], each["cure"]) for each in seen.json["findings"]]


def places(folder: Path) -> Places:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True, mode=0o700)
    return Places(folder / "config", folder / "data", folder / "data")


def settings(folder: Path, text: str) -> Any:
    (folder / "config/accounts.d").mkdir(parents=True, exist_ok=True)
    (folder / "config/proxyd.yaml").write_text(text)
    return load(folder / "config")


def test_without_anything(tmp_path: Path) -> None:
    seen = typed("doctor", "--json", folder=tmp_path)
    assert seen.code == 1
    cures = dict(found(seen))
    assert cures["configuration"] == "proxyd connect ADDRESS"
    assert cures["daemon"] == "proxyd run"


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    """It stands still, or it is another user's: neither is cured by a second one."""
    (tmp_path / "Data").mkdir()
    there = Places(tmp_path, tmp_path / "Data", tmp_path / "Data")
    with socket.socket(socket.AF_UNIX) as still:
        still.bind(str(there.control_socket))
        still.listen()

        def hangs_up() -> None:
            with still.accept()[0] as asked:
                asked.recv(65536)

        answering = threading.Thread(target=hangs_up)
        answering.start()
        (found,) = [each for each in examined(there) if each.kind == "daemon"]
        answering.join()
    assert found.what.startswith("The daemon did not answer (RemoteProtocolError)")
    assert found.cure == ""
    there.control_socket.unlink()
    (gone,) = [each for each in examined(there) if each.kind == "daemon"]
    assert gone.what == f"The daemon is not running (there is no {there.control_socket})."
    assert gone.cure == "proxyd run"


def test_a_broken_configuration(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/proxyd.yaml").write_text("listne: {}\n")
    seen = typed("doctor", folder=tmp_path)
    assert seen.code == 1
    assert "proxyd.yaml:1:1" in seen.out
    assert "    proxyd check" in seen.out, "there is no daemon that could read it anew"


@on_the_loop
async def test_all_well(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        password = tmp_path / "password"
        password.touch(mode=0o600)
        password.write_text("x\n")
        with (tmp_path / "config/accounts.d/ada.yaml").open("a") as file:
            file.write(f"sign_in: {{password: {{file: {password}}}}}\n")
        s.listening = dict.fromkeys(findings.LISTENERS, "127.0.0.1:1")
        seen = await typed_beside("doctor", folder=tmp_path)
        assert seen.out == "Nothing is wrong.\n"
        assert seen.code == 0


@on_the_loop
async def test_an_account_in_trouble_what_is_unknown_and_what_was_given_up(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.listening = dict.fromkeys(("smtp", "smtps", "imap", "imaps"), "127.0.0.1:1")
        s.event = HealthEvent(HealthCause.MISCONFIGURED, "IMAP", "its certificate has expired")
        begun = await s.desk.begin(message())
        await s.desk.journal.record(SendUnknown(begun.id, "the connection was lost", s.desk.clock.now()))
        await s.desk.journal.record(LookedFor(begun.id, "Sent", s.desk.clock.now()))
        await s.desk.database.write(lambda c: c.execute(tables.dropbox_copies.insert(), refused_copy()))
        await s.desk.journal.learn(ADA, "unknown_capabilities", "TELEPATHY")
        seen = await typed_beside("doctor", "--json", folder=tmp_path)
        assert seen.code == 1
        cures = found(seen)
        assert (ADA, "proxyd reload") in cures
        assert (ADA, "proxyd settle '<m1@example.test>'") in cures
        assert (ADA, f"proxyd copies retry --account {ADA}") in cures
        assert ("ports", "proxyd reload") in cures
        sentences = " ".join(each["what"] for each in seen.json["findings"])
        for words in ("certificate has expired", "550 no such CRM", "TELEPATHY", "listen.web: 127.0.0.1:1780"):
            assert words in sentences


@on_the_loop
async def test_a_port_that_the_daemon_did_not_get(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.not_listening = {"web": "listen.web: cannot listen on 127.0.0.1:1780: Address already in use"}
        seen = await typed_beside("doctor", "--json", folder=tmp_path)
        assert ("ports", "ss -tlnp sport = :1780") in found(seen)


def refused_copy() -> dict[str, Any]:
    from ulid import ULID

    return {
        "id": str(ULID.from_datetime(datetime.now(UTC))),
        "account": ADA,
        "address": "4711@crm.test",
        "state": "failed",
        "attempts": 1,
        "error": "550 no such CRM",
    }


def test_what_was_given_up_long_ago_is_not_told_any_more(tmp_path: Path) -> None:
    from proxyd.store.database import Database
    from proxyd.web.troubles import troubles

    database = Database(tmp_path, bytes(32))
    with database.writing() as connection:
        connection.execute(sa.insert(tables.dropbox_copies), refused_copy())
    assert [each["count"] for each in troubles(database, datetime.now(UTC))["failed"]] == [1]
    assert troubles(database, datetime.now(UTC) + timedelta(days=8))["failed"] == []
    database.close()


def test_the_folder_and_what_lies_in_it(tmp_path: Path) -> None:
    there = places(tmp_path)
    assert list(findings.folder(there)) == []
    (there.data / "store.key").write_text("")
    there.data.chmod(0o755)
    cures = [each.cure for each in findings.folder(there)]
    assert cures == [f"chmod 700 {there.data}", f"chmod 600 {there.data / 'store.key'}"]


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = places(tmp_path)
    monkeypatch.setattr(room, "WANTED", 0)
    assert list(findings.space(there)) == []
    monkeypatch.setattr(room, "WANTED", 1 << 60)
    assert next(findings.space(there)).cure == f"df -h {there.data}"


def test_the_key_of_a_store_that_is_there(tmp_path: Path) -> None:
    there = places(tmp_path)
    assert list(findings.key(there)) == [], "no store yet, and no key is made for looking"
    (there.data / "store.db").touch()
    (there.data / "store.key").touch(mode=0o600)
    assert "key" in next(findings.key(there)).what


def test_a_password_file_that_is_gone(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("x\n")
    (tmp_path / "config/accounts.d").mkdir(parents=True)
    (tmp_path / "config/accounts.d/ada.yaml").write_text(ACCOUNT + f"sign_in: {{password: {{file: {password}}}}}\n")
    ours = load(tmp_path / "config")
    assert list(findings.passwords(ours, places(tmp_path))) == []
    password.unlink()
    assert next(findings.passwords(ours, places(tmp_path))).cure == f"proxyd reconnect {ADA}"


def test_tokens_under_a_key_that_is_not_the_stores(tmp_path: Path) -> None:
    """But where systemd hands the key to the daemon alone, a command cannot say anything of them."""
    there = places(tmp_path)
    (there.config / "accounts.d").mkdir(parents=True)
    kept = SecretFile(file=tmp_path / "tokens")
    (there.config / "accounts.d/ada.yaml").write_text(
        f"address: {ADA}\nprovider: gmail\nsign_in: {{oauth: {{client_id: x, tokens: {{file: {kept.file}}}}}}}\n"
    )
    make_key_file(there.data)
    opened(there.data).close()
    key = store_key(there.data)
    text = tokens.text_of(tokens.Kept("1//given"))
    write_sealed(kept, text, tokens.what(ADA), of_keys([key]))
    ours = load(there.config)
    assert list(findings.passwords(ours, there)) == []
    write_sealed(kept, text, tokens.what(ADA), of_keys([b"x" * 32]))
    (found,) = findings.passwords(ours, there)
    assert ("another store's key" in found.what, found.cure) == (True, f"proxyd reconnect {ADA}")
    (there.data / "store.key").unlink()
    assert list(findings.passwords(ours, there)) == []


def test_a_certificate_that_ends(tmp_path: Path) -> None:
    there = places(tmp_path)
    ours = local_ca.ensure(tmp_path / "cert")
    text = f"certificate: {{chain: {ours.chain}, key: {ours.key}}}\n"
    chosen = settings(tmp_path, text)
    assert list(findings.certificate(chosen, there, datetime.now(UTC), running=True)) == []
    (soon,) = findings.certificate(chosen, there, ours.ends - timedelta(days=3), running=True)
    (late,) = findings.certificate(chosen, there, ours.ends + timedelta(days=3), running=True)
    assert (soon.grave, late.grave) == (False, True)
    assert "ended on" in late.what
    own = settings(tmp_path, "certificate: auto\n")
    local_ca.ensure(there.data)
    assert list(findings.certificate(own, there, datetime.now(UTC), running=True)) == []
    assert len(list(findings.certificate(own, there, ours.ends + timedelta(days=3), running=True))) == 1


def test_a_port_that_somebody_else_has(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ours = settings(
            tmp_path, f"listen: {{smtp: off, smtps: '127.0.0.1:{port}', imap: off, imaps: off, web: off}}\n"
        )
        (one,) = findings.ports(ours.daemon.listen)
        assert f"listen.smtps: 127.0.0.1:{port} cannot be had" in one.what
    assert list(findings.ports(ours.daemon.listen)) == []


def test_a_clock_that_nobody_keeps_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_unsynchronised", lambda: True)
    assert [each.grave for each in findings.clock()] == [False]
