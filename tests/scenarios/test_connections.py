"""Few connections, and connections that are none any more: clients come first, and nobody waits for what is dead."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.slumber import Slumber
from tests.servers.swallow import Swallow
from tests.servers.waiting import eventually

LISTEN = 'listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: off, imaps: "127.0.0.1:0", web: off}\n'


@contextlib.contextmanager
def reading(rig: Rig) -> Iterator[imaplib.IMAP4_SSL]:
    """A signed-in mail client."""
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    client = imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=120)
    try:
        client.login(PERSON, CLIENT_PASSWORD)
        yield client
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.logout()


def standing(rig: Rig, clients: int, watcher: int, cap: int) -> None:
    wanted = {"clients": clients, "watcher": watcher, "cap": cap}
    eventually(lambda: rig.account_status()["connections"] == wanted, f"{wanted}", every=0.2)


def test_clients_come_first_and_the_provider_is_believed(make_rig) -> None:
    rig: Rig = make_rig(start=False, dovecot={"connections_per_user": 4})
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    rig.start()
    rig.connected()
    standing(rig, 0, 1, 10)
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(reading(rig)).select("INBOX")
        standing(rig, 3, 1, 10)
        assert rig.account_status()["watching"] == "all the time"
        clients.enter_context(reading(rig)).select("INBOX")  # one more than the provider allows: the watcher gave way
        standing(rig, 4, 0, 4)
        said = rig.account_status()
        assert said["state"] == "connected", "giving way is no trouble"
        assert said["watching"].startswith("paused")
        assert "Maximum number of connections" in said["watching"]
        assert "watching the mailbox: paused" in " ".join(rig.run("status").stdout.split())
        with pytest.raises(imaplib.IMAP4.error, match=r"\[LIMIT\] 4 connections"), reading(rig):
            pass
        assert rig.account_status()["state"] == "connected"
        assert rig.send(letter()) == {}, "sending needs none of them"
    standing(rig, 0, 0, 4)  # it does not come back at once
    rig.stop()
    rig.start()
    came_back = [{"clients": 0, "watcher": watcher, "cap": 4} for watcher in (1, 2)]  # what was said is remembered
    eventually(lambda: rig.account_status()["connections"] in came_back, "the watcher to come back", every=0.2)


def test_after_a_sleep_what_is_half_open_is_noticed_in_under_ten_seconds(make_rig, tmp_path: Path, monkeypatch) -> None:
    slumber = Slumber(tmp_path)
    rig: Rig = make_rig(start=False)
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    imap, smtp = rig.provider.dovecot.imaps_port, rig.provider.postfix.smtps_port
    with Swallow(imap) as mailbox, Swallow(smtp) as submission:
        account = rig.config / "accounts.d/ada.yaml"
        text = account.read_text().replace(f"port: {imap}", f"port: {mailbox.port}")
        account.write_text(text.replace(f"port: {smtp}", f"port: {submission.port}"))
        for name, value in slumber.environment.items():
            monkeypatch.setenv(name, value)
        rig.start()
        rig.connected()
        rig.add_contact()
        sent = letter()
        rig.send(sent)
        eventually(lambda: len(rig.sent(message_id(sent))) == 1, "the Sent copy")
        with reading(rig) as client:
            client.select("INBOX")
            standing(rig, 1, 2, 10)  # and nothing is under way any more
            assert mailbox.passing == 3
            mailbox.vanish()
            submission.swallow()
            slumber.sleep(3600)
            begun = monotonic()
            answer = rig.reply(sent)
            assert client.readline().startswith(b"* BYE [UNAVAILABLE]")
            assert monotonic() - begun < 10
            logged = eventually(lambda: rig.timeline(CUSTOMER)[0]["message_id"] == answer, "the reply", every=0.2)
            assert logged
            assert monotonic() - begun < 12
        more = letter("Awake again")
        begun = monotonic()
        rig.send(more)
        assert monotonic() - begun < 5, "no kept connection was believed"
        eventually(lambda: len(rig.inbox_of(CUSTOMER, message_id(more))) == 1, "the message to arrive")
        assert rig.account_status()["state"] == "connected"
