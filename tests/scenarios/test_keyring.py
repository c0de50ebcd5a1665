"""A keyring that is locked when proxyd starts, as after a login without a password: nothing is given up, and all goes
on when it is unlocked. A real gnome-keyring."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.manager import Manager
from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.gnome_keyring import GnomeKeyring
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.waiting import eventually

LISTEN = 'listen: {smtp: off, smtps: "127.0.0.1:0", imap: off, imaps: "127.0.0.1:0", web: off}\n'
UNLOCK = "Unlock your keyring: it goes on by itself."


@pytest.fixture
def keyring(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GnomeKeyring]:
    with GnomeKeyring(tmp_path / "session", **getattr(request, "param", {})) as running:
        yield running


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def rig(make_provider: Callable[..., Provider], tmp_path: Path, keyring: GnomeKeyring) -> Iterator[Rig]:
    """Everything lies in the keyring: the store's key, the provider's password, the mail client's."""
    made = Rig(tmp_path / "rig", make_provider())
    (made.data / "store.key").unlink()
    text = made.provider.account_yaml(client_password=made.client_password, more=QUICK)
    files = (made.provider.password_file(), made.client_password)
    for file in files:
        text = text.replace(f"{{file: {file}}}", "keyring")
    made.write_account(text)
    (made.config / "proxyd.yaml").write_text(LISTEN)
    made.more_environment = keyring.environment
    keyring.put(f"{PERSON}/mail", PASSWORD)
    keyring.put(f"{PERSON}/client", CLIENT_PASSWORD)
    yield made
    made.stop()


def test_a_keyring_that_is_locked_at_the_start(rig: Rig, keyring: GnomeKeyring, manager: Manager) -> None:
    rig.add_contact()  # there is a store, and its key is in the keyring
    assert not (rig.data / "store.key").exists()
    keyring.lock()
    prompts = keyring.prompts
    rig.more_environment |= {"NOTIFY_SOCKET": str(manager.path)}
    rig.start(wait=False)
    assert manager.hears("STATUS=") == "STATUS=Waiting for the keyring to be unlocked"
    assert "EXTEND_TIMEOUT_USEC=32000000" in manager.heard, "no start is timed while a person is waited for"
    told = rig.run("status")
    assert (told.returncode, told.stdout) == (69, "")
    assert "waits for the keyring to be unlocked; it goes on by itself" in told.stderr
    assert rig.runs
    keyring.unlock()
    manager.hears("READY=1", within=60)
    rig.connected()
    assert keyring.prompts == prompts + 1, "the person was asked once"


def test_an_accounts_password_in_a_keyring_that_is_locked(rig: Rig, keyring: GnomeKeyring) -> None:
    """The store's key is in a file. It is that account's trouble, and costs no mail client its password."""
    (rig.data / "store.key").touch(mode=0o600)
    (rig.data / "store.key").write_text("5a" * 32 + "\n")
    keyring.lock()
    rig.start()
    told = eventually(
        lambda: rig.account_status()["state"] == "misconfigured" and rig.account_status(), "the account to say so"
    )
    assert "the keyring is locked" in told["evidence"]
    assert UNLOCK in told["sentence"]
    assert told["cure"] == "proxyd reload"
    trust: Any = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with (
        smtplib.SMTP_SSL("localhost", rig.port("smtps"), context=trust, timeout=60) as smtp,
        pytest.raises(smtplib.SMTPAuthenticationError, match=r"454, b'4\.7\.0"),
    ):
        smtp.login(PERSON, CLIENT_PASSWORD)
    with (
        imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=60) as client,
        pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"),
    ):
        client.login(PERSON, CLIENT_PASSWORD)
    asked = keyring.prompts
    assert asked == 1, "the person is asked once"
    assert rig.run("reload").returncode == 0
    eventually(lambda: keyring.prompts == asked + 1, "the person, who is there now, to be asked once more")
    keyring.unlock()
    rig.connected()
    with rig.client() as smtp:
        smtp.noop()


@pytest.mark.parametrize("keyring", [{"by_itself": False}], indirect=True)
def test_a_keyring_that_is_started_after_us(rig: Rig, keyring: GnomeKeyring) -> None:
    """As at a login where it is a program of the person's own, such as KeePassXC."""
    rig.add_contact()
    keyring.go()
    rig.start(wait=False)
    eventually(lambda: "waiting for the keyring" in rig.log.read_text(), "the daemon to wait")
    assert "waits for a keyring" in rig.run("status").stderr
    keyring.come()
    rig.becomes_ready()
