"""Many people and one daemon: what is wrong with one of them is nobody else's business."""

from __future__ import annotations

import contextlib
import shutil
import smtplib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.waiting import eventually

WELL = [f"person{n}@example.test" for n in range(9)]
OTHER_USER, THIRD_USER = 65534, 65533

AWAY = """
address: {address}
provider:
  imap: {{host: localhost, port: {port}, tls: none}}
  smtp: {{host: localhost, port: {port}, tls: none}}
sign_in: {{password: {{file: {password}}}}}
client: {{password: {{file: {client}}}}}
"""


@contextlib.contextmanager
def answering(octets: bytes) -> Iterator[int]:
    """A server that says this to whoever comes and no more; with nothing to say it leaves them waiting."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    came, _ = server.accept()
                except OSError:
                    return
                came.sendall(octets)
                if octets:
                    came.close()
                held.append(came)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        for each in held:
            each.close()
        server.shutdown(socket.SHUT_RDWR)


def test_one_throttled_one_hanging_one_broken_file_and_the_others(make_rig) -> None:
    rig: Rig = make_rig(start=False, more_users=dict.fromkeys(WELL, PASSWORD))
    for n, address in enumerate(WELL):
        text = rig.provider.account_yaml(address, client_password=rig.client_password, more=QUICK)
        rig.write_account(text, f"person{n}")
    password = rig.provider.password_file()
    more = {"password": password, "client": rig.client_password}
    with answering(b"421 4.3.2 too many connections, try again later\r\n") as busy, answering(b"") as silent:
        rig.write_account(AWAY.format(address="busy@example.test", port=busy, **more), "busy")
        rig.write_account(AWAY.format(address="silent@example.test", port=silent, **more), "silent")
        rig.write_account("address: broken@example.test\nprovder: nowhere\n", "broken")
        rig.start()
        status = eventually(lambda: settled(rig), "everybody to be where they belong", within=90, every=0.5)
        states = {each["address"]: each["state"] for each in status["accounts"]}
        assert "broken@example.test" not in states
        assert "broken.yaml:1:1" in status["daemon"]["config_problem"]
        assert states["busy@example.test"] in ("throttled", "unreachable")
        assert rig.run("status").returncode == 1
        for address in WELL:
            sent = letter(sender=address)
            hand_in(rig, address, sent)
            assert rig.inbox_of(CUSTOMER, message_id(sent))
        rig.write_account("address: broken@example.test\nprovider: nowhere-at-all\n", "broken")
        rig.write_account(text.replace("Ada Lovelace", "Another"), f"person{len(WELL) - 1}")
        reloaded = rig.run("reload")
        assert (reloaded.returncode, "broken.yaml" in reloaded.stdout) == (78, True)
        eventually(
            lambda: settled(rig), "the change of one to be taken, whatever another's file says", within=60, every=0.5
        )
        hand_in(rig, WELL[-1], letter(sender=WELL[-1]))


def settled(rig: Rig) -> Any:
    status = rig.status()
    states = {each["address"]: each["state"] for each in status["accounts"]}
    well = all(states.get(address) == "connected" for address in (PERSON, *WELL))
    return status if well and states["silent@example.test"] in ("connecting", "unreachable") else None


def hand_in(rig: Rig, address: str, message: Any) -> None:
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with smtplib.SMTP_SSL("localhost", rig.port("smtps"), context=trust, timeout=120) as smtp:
        smtp.login(address, CLIENT_PASSWORD)
        smtp.send_message(message, address, [CUSTOMER])


SECOND_USER = Path(__file__).with_name("second_user.py")
DOORS = ("smtp", "smtps", "imap", "imaps", "web")
REFUSED = [
    "control Permission denied",
    *("smtp starttls 535", "smtp none 535", "smtps 535"),
    *("imap starttls NO", "imap none NO", "imaps NO"),
    *("web / 403", "web /api/v1/accounts 401", "web /metrics 403"),
]
ADMITTED = [
    "control Permission denied",
    *("smtp starttls 235", "smtp none 235", "smtps 235"),
    *("imap starttls OK", "imap none OK", "imaps OK"),
    *("web / 403", "web /api/v1/accounts 401", "web /metrics 200"),
]


def tried(rig: Rig, user: int, *doors: str) -> list[str]:
    """What each door answers to this user of the machine, who knows the right password."""
    open_at = rig.status()["daemon"]["listening"]
    ports = [f"{name}={open_at[name].rpartition(':')[2]}" for name in doors]
    became = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    done = subprocess.run(
        [*became, "/usr/bin/python3", "-I", "-", str(rig.data / "control.sock"), PERSON, CLIENT_PASSWORD, *ports],
        input=SECOND_USER.read_text(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_second_user_of_this_machine_is_refused_everywhere(make_rig, server_folder: Path) -> None:
    """At a person's own daemon; then where `allow_uids` names another user, who may, and nobody else."""
    rig: Rig = make_rig(start=False)
    rig.data = shutil.copytree(rig.data, server_folder / "data")  # where others may enter
    listen = ", ".join(f'{name}: "127.0.0.1:0"' for name in DOORS)
    (rig.config / "proxyd.yaml").write_text(f"listen: {{{listen}}}\n")
    rig.start()
    rig.connected()
    rig.data.chmod(0o711)  # so that it is the socket itself that refuses
    assert tried(rig, OTHER_USER, *DOORS) == REFUSED
    named = f"allow_uids: [{OTHER_USER}]\n"
    rig.write_account(rig.provider.account_yaml(client_password=rig.client_password, more=named))
    assert rig.run("reload").returncode == 0
    assert tried(rig, OTHER_USER, *DOORS) == ADMITTED
    assert tried(rig, THIRD_USER, *DOORS) == REFUSED
    (rig.data / "control.sock").chmod(0o666)
    assert tried(rig, OTHER_USER) == ["control 403"], "and where somebody opened it, the user's number does"
