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
OTHER_USER = "65534"

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
    with smtplib.SMTP_SSL("localhost", rig.port("smtps"), context=trust, timeout=20) as smtp:
        smtp.login(address, CLIENT_PASSWORD)
        smtp.send_message(message, address, [CUSTOMER])


TRYING = """
import imaplib, smtplib, socket, ssl, sys
control, smtps, imaps, user, password = sys.argv[1:]
trust = ssl._create_unverified_context()
try:
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(control)
    asking.sendall(b"GET /api/v1/status HTTP/1.0\\r\\nHost: proxyd\\r\\n\\r\\n")
    print("control", asking.recv(100).split()[1].decode())
except OSError as error:
    print("control", error.strerror)
if not int(smtps):
    sys.exit()
try:
    with smtplib.SMTP_SSL("localhost", int(smtps), context=trust) as smtp:
        smtp.login(user, password)
except smtplib.SMTPAuthenticationError:
    print("smtp refused")
try:
    imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=trust).login(user, password)
except imaplib.IMAP4.error:
    print("imap refused")
"""


def test_a_second_user_of_this_machine_is_refused_everywhere(make_rig, server_folder: Path) -> None:
    rig: Rig = make_rig(start=False)
    rig.data = shutil.copytree(rig.data, server_folder / "data")  # where others may enter
    listen = ", ".join(f'{name}: "127.0.0.1:0"' for name in ("smtps", "imaps"))
    (rig.config / "proxyd.yaml").write_text(f"listen: {{smtp: off, imap: off, web: off, {listen}}}\n")
    rig.start()
    rig.connected()
    control = rig.data / "control.sock"
    rig.data.chmod(0o711)  # so that it is the socket itself that refuses

    def tried(smtps: int = 0, imaps: int = 0) -> list[str]:
        arguments = [str(control), str(smtps), str(imaps), PERSON, CLIENT_PASSWORD]
        became = ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"]
        done = subprocess.run(
            [*became, "/usr/bin/python3", "-c", TRYING, *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    refused = ["control Permission denied", "smtp refused", "imap refused"]
    assert tried(rig.port("smtps"), rig.port("imaps")) == refused
    control.chmod(0o666)
    assert tried() == ["control 403"], "and where somebody opened it, the user's number does"
