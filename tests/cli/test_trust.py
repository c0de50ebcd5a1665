"""The certificate put into real NSS databases and a real system store, each below a temporary folder, and out again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxyd.cli import trust_stores
from proxyd.cli.trust_stores import SystemStore, authority, nss_databases, stores
from proxyd.relay import local_ca
from proxyd.web import certificate_lines as lines
from tests.cli.typed import Typed, typed

SPRING = datetime(2026, 3, 1, tzinfo=UTC)
STRANGER = "A stranger"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the home folder of whoever runs it."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "config").mkdir()
    return iter(())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system of its own, with one certificate authority that its packages brought."""
    made = tmp_path / "root"
    for folder in ("etc/ssl/certs", "etc/ca-certificates/update.d", "usr/share/ca-certificates/mozilla"):
        (made / folder).mkdir(parents=True)
    brought = local_ca.ensure(tmp_path / "brought").ca
    (made / "usr/share/ca-certificates/mozilla/Brought.crt").write_bytes(brought.read_bytes())
    (made / "etc/ca-certificates.conf").write_text("mozilla/Brought.crt\n")
    return made


def made(tmp_path: Path, now: datetime | None = None) -> local_ca.LocalCa:
    """The certificate in the data folder of `typed`, made anew where there was one."""
    for old in (tmp_path / "data").glob("*.pem"):
        old.unlink()
    (tmp_path / "data").mkdir(exist_ok=True, mode=0o700)
    return local_ca.ensure(tmp_path / "data", now)


def certutil(*words: str) -> str:
    done = subprocess.run(["certutil", *words], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def database(folder: Path, *, password: str = "") -> Path:
    """A profile's database in which a stranger's authority is trusted."""
    folder.mkdir(parents=True)
    if password:
        (folder / "password").write_text(f"{password}\n")
        certutil("-N", "-d", f"sql:{folder}", "-f", str(folder / "password"))
        return folder
    certutil("-N", "-d", f"sql:{folder}", "--empty-password")
    stranger = local_ca.ensure(folder / "stranger", SPRING).ca
    certutil("-A", "-d", f"sql:{folder}", "-n", STRANGER, "-t", "C,,", "-i", str(stranger))
    return folder


def listed(folder: Path) -> dict[str, str]:
    rows = [line.rsplit(None, 1) for line in certutil("-L", "-d", f"sql:{folder}").splitlines() if ",," in line]
    return {nickname.strip(): trust for nickname, trust in rows}


def nickname(ours: local_ca.LocalCa) -> str:
    return f"proxyd {ours.fingerprint.replace(':', '')}"


def trust(tmp_path: Path, *words: str) -> Typed:
    return typed("trust", *words, folder=tmp_path, width=300)


# --- NSS -----------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_every_database_is_found_trusts_us_and_is_afterwards_as_it_was(tmp_path: Path) -> None:
    ours, home = made(tmp_path), tmp_path / "home"
    folders = [
        database(home / place)
        for place in (
            ".thunderbird/k3x.default-release",
            ".thunderbird/second profile",
            "snap/thunderbird/common/.thunderbird/s1.default",
            ".var/app/org.mozilla.Thunderbird/.thunderbird/f1.default",
            ".pki/nssdb",
        )
    ]
    (home / ".thunderbird/Crash Reports").mkdir()
    seen = trust(tmp_path, "install", "--only", "nss")
    assert (seen.code, seen.err) == (0, "")
    for folder in folders:
        assert listed(folder) == {STRANGER: "C,,", nickname(ours): "C,,"}
        assert f"trusted now ({folder})" in seen.out
        valid = certutil("-V", "-d", f"sql:{folder}", "-n", nickname(ours), "-u", "L")
        assert "certificate is valid" in valid
    again = trust(tmp_path, "install", "--only", "nss")
    assert (again.code, again.out.count("trusted already")) == (0, len(folders))
    removed = trust(tmp_path, "remove", "--only", "nss")
    assert (removed.code, removed.out.count("1 removed")) == (0, len(folders))
    assert [listed(folder) for folder in folders] == [{STRANGER: "C,,"}] * len(folders)
    assert trust(tmp_path, "remove", "--only", "nss").out.count("nothing of proxyd there") == len(folders)


@pytest.mark.servers
def test_a_renewed_certificate_takes_the_place_of_the_old_one_of_the_same_day_too(tmp_path: Path) -> None:
    folder = database(tmp_path / "home/.thunderbird/k3x.default")
    for _ in range(3):  # three authorities with one subject
        ours = made(tmp_path)
        assert trust(tmp_path, "install", "--only", "nss").code == 0
        assert listed(folder) == {STRANGER: "C,,", nickname(ours): "C,,"}
    (store,) = nss_databases(tmp_path / "home")
    assert store.trusts(authority(ours.ca))


@pytest.mark.servers
def test_several_of_ours_are_removed_even_where_the_certificate_itself_is_gone(tmp_path: Path) -> None:
    folder = database(tmp_path / "home/.thunderbird/k3x.default")
    for _ in range(2):
        ours = made(tmp_path)
        certutil("-A", "-d", f"sql:{folder}", "-n", nickname(ours), "-t", "C,,", "-i", str(ours.ca))
    ours.ca.unlink()
    seen = trust(tmp_path, "remove", "--only", "nss")
    assert (seen.code, listed(folder)) == (0, {STRANGER: "C,,"})
    assert "2 removed" in seen.out
    assert "On Windows" not in seen.out


@pytest.mark.servers
def test_one_imported_by_hand_counts_and_stays(tmp_path: Path) -> None:
    ours, folder = made(tmp_path), database(tmp_path / "home/.pki/nssdb")
    certutil("-A", "-d", f"sql:{folder}", "-n", "mine, by hand", "-t", "CT,,", "-i", str(ours.ca))
    assert "trusted already" in trust(tmp_path, "install", "--only", "nss").out
    assert trust(tmp_path, "remove", "--only", "nss").code == 0
    assert set(listed(folder)) == {STRANGER, "mine, by hand"}


@pytest.mark.servers
def test_a_database_with_a_password_is_left_as_it_was_and_the_line_for_it_is_told(tmp_path: Path) -> None:
    ours = made(tmp_path)
    locked = database(tmp_path / "home/.thunderbird/locked", password="only Ada knows")
    other = database(tmp_path / "home/.thunderbird/open")
    seen = trust(tmp_path, "install", "--only", "nss")
    assert seen.code == 1
    assert "Thunderbird locked: it has a primary password" in seen.err
    line = f"certutil -A -d sql:{locked} -n '{nickname(ours)}' -t C,, -i {ours.ca}"
    assert f"\n    {line}\n" in seen.err
    assert listed(locked) == {}
    assert nickname(ours) in listed(other), "one that fails stops no other"
    subprocess.run(f"{line} -f {locked / 'password'}", shell=True, check=True, timeout=60)
    assert trust(tmp_path, "install", "--only", "nss").code == 0


@pytest.mark.servers
def test_a_damaged_database_is_told_and_stops_no_other(tmp_path: Path) -> None:
    made(tmp_path)
    bad = tmp_path / "home/.thunderbird/bad"
    bad.mkdir(parents=True)
    (bad / "cert9.db").write_bytes(b"no database" * 100)
    database(tmp_path / "home/.thunderbird/good")
    for word in ("install", "remove"):
        seen = trust(tmp_path, word, "--only", "nss")
        assert seen.code == 1
        assert "Thunderbird bad: certutil: " in seen.err
        assert "Thunderbird good: " in seen.out


def test_without_certutil_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    (tmp_path / "home/.pki/nssdb").mkdir(parents=True)
    (tmp_path / "home/.pki/nssdb/cert9.db").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(trust_stores, "ADMINISTRATORS", "")
    seen = trust(tmp_path, "install", "--only", "nss")
    assert seen.code == 1
    assert "certutil is missing" in seen.err
    assert "sudo apt install libnss3-tools" in seen.err
    (store,) = [each for each in trust(tmp_path, "show", "--json").json["stores"] if each["kind"] == "nss"]
    assert store["trusted"] is None
    assert "libnss3-tools" in store["why"]


def test_where_there_is_no_database_there_is_nothing_to_do(tmp_path: Path) -> None:
    made(tmp_path)
    assert trust(tmp_path, "install", "--only", "nss").code == 0


# --- the system's store --------------------------------------------------------------------------------------


def bundle(root: Path) -> str:
    return (root / "etc/ssl/certs/ca-certificates.crt").read_text()


def links(root: Path) -> set[str]:
    return {each.name for each in (root / "etc/ssl/certs").iterdir() if each.is_symlink()}


@pytest.mark.servers
def test_the_systems_store_trusts_us_and_is_afterwards_as_it_was(tmp_path: Path, root: Path) -> None:
    ours = made(tmp_path)
    store = ["--only", "system", "--root", str(root)]
    seen = trust(tmp_path, "install", *store)
    assert (seen.code, seen.err) == (0, "")
    name = f"proxyd-{ours.fingerprint.replace(':', '')[:16].lower()}"
    kept = root / f"usr/local/share/ca-certificates/{name}.crt"
    assert kept.read_bytes() == ours.ca.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o644
    assert bundle(root).count("BEGIN CERTIFICATE") == 2
    verified = ["openssl", "verify", "-CApath", str(root / "etc/ssl/certs"), "-no-CAfile", str(ours.chain)]
    assert subprocess.run(verified, capture_output=True, timeout=60, check=False).returncode == 0
    assert "trusted already" in trust(tmp_path, "install", *store).out
    renewed = made(tmp_path, SPRING)
    assert trust(tmp_path, "install", *store).code == 0
    assert not kept.exists()
    assert bundle(root).count("BEGIN CERTIFICATE") == 2
    assert SystemStore(root).trusts(authority(renewed.ca))
    removed = trust(tmp_path, "remove", *store)
    assert (removed.code, "1 removed" in removed.out) == (0, True)
    assert bundle(root).count("BEGIN CERTIFICATE") == 1
    assert not any(name.startswith("proxyd") for name in links(root))
    assert "Brought.pem" in links(root)
    assert not list(kept.parent.iterdir())


def test_without_root_the_exact_line_is_told(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = made(tmp_path)
    anchors = root / "usr/local/share/ca-certificates"
    anchors.mkdir(parents=True)
    old = anchors / "proxyd-0123456789abcdef.crt"
    old.write_text("an old one")
    (anchors / "proxyd-of-somebody-else.crt").write_text("not ours")
    monkeypatch.setattr(trust_stores, "_writable", lambda folder: False)  # the tests may run as root
    monkeypatch.setattr(trust_stores, "_program", lambda name: f"/usr/sbin/{name}")
    options = " ".join(SystemStore(root)._update(fresh=True))
    target = anchors / f"proxyd-{ours.fingerprint.replace(':', '')[:16].lower()}.crt"
    seen = trust(tmp_path, "install", "--only", "system", "--root", str(root))
    assert seen.code == 1
    assert "the system: the system's store needs root" in seen.err
    line = f"sudo rm -f {old} && sudo install -D -m 644 {ours.ca} {target} && sudo {options}"
    assert f"\n    {line}\n" in seen.err
    seen = trust(tmp_path, "remove", "--only", "system", "--root", str(root))
    assert seen.code == 1
    assert f"\n    sudo rm -f {old} && sudo {options}\n" in seen.err
    assert sorted(each.name for each in anchors.iterdir()) == [old.name, "proxyd-of-somebody-else.crt"]


def test_the_line_for_the_machine_itself_needs_no_options() -> None:
    update = " ".join(SystemStore()._update(fresh=False))
    target = Path("/usr/local/share/ca-certificates/x.crt")
    line = lines.debian_install(Path("/home/a b/ca.pem"), target, [], update)
    assert line == f"sudo install -D -m 644 '/home/a b/ca.pem' {target} && sudo update-ca-certificates"


def test_a_system_of_another_kind_gets_its_own_line(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = made(tmp_path)
    monkeypatch.setattr(trust_stores, "_program", lambda name: None)
    seen = trust(tmp_path, "install", "--only", "system", "--root", str(root))
    assert (seen.code, f"sudo trust anchor --store {ours.ca}" in seen.err) == (1, True)


# --- show, and what comes before any store ---------------------------------------------------------------------


@pytest.mark.servers
def test_show_tells_where_it_is_and_who_trusts_it(tmp_path: Path, root: Path) -> None:
    ours, folder = made(tmp_path), database(tmp_path / "home/.thunderbird/k3x.default")
    document = trust(tmp_path, "show", "--json", "--root", str(root)).json
    assert document["file"] == str(ours.ca)
    assert document["sha256"] == ours.fingerprint
    assert datetime.fromisoformat(document["ends"]) == ours.ends.replace(microsecond=0)
    assert [(each["kind"], each["trusted"]) for each in document["stores"]] == [("system", False), ("nss", False)]
    assert document["by_hand"]["windows"] == {
        "install": f'certutil -addstore -user Root "{ours.ca}"',
        "remove": f"certutil -delstore -user Root {document['sha1'].replace(':', '')}",
    }
    keychain = "~/Library/Keychains/login.keychain-db"
    assert document["by_hand"]["macos"]["install"] == f"security add-trusted-cert -r trustRoot -k {keychain} {ours.ca}"
    assert trust(tmp_path, "install", "--root", str(root)).code == 0
    document = trust(tmp_path, "show", "--json", "--root", str(root)).json
    assert [each["trusted"] for each in document["stores"]] == [True, True]
    seen = trust(tmp_path, "show", "--root", str(root))
    for word in (str(ours.ca), ours.fingerprint, f"{ours.ends:%Y-%m-%d}", str(folder), "On Windows", "On macOS"):
        assert word in seen.out


def test_a_certificate_is_never_made_by_asking_for_it(tmp_path: Path) -> None:
    for words in (["show"], ["install", "--only", "nss"]):
        seen = trust(tmp_path, *words)
        assert seen.code == 1
        assert "it is made by proxyd run" in seen.err
    assert not list((tmp_path / "data").glob("*.pem"))


def test_a_certificate_of_ones_own_is_none_of_ours(tmp_path: Path) -> None:
    ours = made(tmp_path)
    (tmp_path / "config/proxyd.yaml").write_text(f"certificate: {{chain: {ours.chain}, key: {ours.key}}}\n")
    seen = trust(tmp_path, "install", "--only", "nss")
    assert seen.code == 1
    assert "a certificate of your own" in seen.err


def test_what_a_mutt_added_to_the_file_is_not_trusted_with_it(tmp_path: Path) -> None:
    ours = made(tmp_path)
    ours.ca.write_bytes(ours.ca.read_bytes() + local_ca.ensure(tmp_path / "other").ca.read_bytes())
    assert authority(ours.ca).pem.count("BEGIN CERTIFICATE") == 1
    assert authority(ours.ca).ends - datetime.now(UTC) < timedelta(days=400)


def test_only_one_kind_of_store(tmp_path: Path, root: Path) -> None:
    (tmp_path / "home/.pki/nssdb").mkdir(parents=True)
    (tmp_path / "home/.pki/nssdb/cert9.db").touch()
    home = tmp_path / "home"
    assert [each.kind for each in stores(home, root)] == ["system", "nss"]
    assert [each.kind for each in stores(home, root, "nss")] == ["nss"]
