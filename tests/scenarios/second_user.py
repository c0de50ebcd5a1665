"""Tries every door of a daemon as whoever runs it, and prints what each one answers. No part of proxyd is used: another
user of the machine has the system's Python only.

    second_user.py CONTROL-SOCKET ADDRESS PASSWORD LISTENER=PORT...
"""

from __future__ import annotations

import http.client
import imaplib
import smtplib
import socket
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

TRUST = ssl._create_unverified_context()
WAIT = 60  # seconds


def control(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(WAIT)
        asking.connect(path)
        asking.sendall(b"GET /api/v1/status HTTP/1.0\r\nHost: proxyd\r\n\r\n")
        return asking.recv(100).split()[1].decode()


def smtp(port: int, user: str, password: str, kind: str) -> str:
    opened = smtplib.SMTP_SSL if kind == "implicit" else smtplib.SMTP
    with opened("localhost", port, timeout=WAIT, **{"context": TRUST} if kind == "implicit" else {}) as client:
        if kind == "starttls":
            client.starttls(context=TRUST)
        return str(client.login(user, password)[0])


def imap(port: int, user: str, password: str, kind: str) -> str:
    if kind == "implicit":
        client = imaplib.IMAP4_SSL("localhost", port, ssl_context=TRUST, timeout=WAIT)
    else:
        client = imaplib.IMAP4("localhost", port, timeout=WAIT)
    with client:
        if kind == "starttls":
            client.starttls(TRUST)
        return client.login(user, password)[0]


def web(port: int, path: str) -> str:
    asking = http.client.HTTPConnection("localhost", port, timeout=WAIT)
    asking.request("GET", path)
    return str(asking.getresponse().status)


def tried(door: Callable[..., str], *arguments: object) -> str:
    try:
        return door(*arguments)
    except smtplib.SMTPResponseException as error:
        return str(error.smtp_code)
    except imaplib.IMAP4.error:
        return "NO"
    except OSError as error:
        return str(error.strerror)


def main(path: str, user: str, password: str, *listeners: str) -> None:
    doors: list[tuple[str, Callable[..., str], *tuple[object, ...]]] = [("control", control, path)]
    for name, _, port in (each.partition("=") for each in listeners):
        speaks = smtp if name.startswith("smtp") else imap
        if name == "web":
            doors += [(f"web {asked}", web, int(port), asked) for asked in ("/", "/api/v1/accounts", "/metrics")]
        elif name.endswith("s"):
            doors.append((name, speaks, int(port), user, password, "implicit"))
        else:
            doors += [(f"{name} {kind}", speaks, int(port), user, password, kind) for kind in ("starttls", "none")]
    with ThreadPoolExecutor(len(doors)) as all_at_once:  # a wrong password is answered late, and later each time
        answers = all_at_once.map(lambda door: tried(*door[1:]), doors)
        sys.stdout.writelines(f"{door[0]} {answer}\n" for door, answer in zip(doors, answers, strict=True))


main(*sys.argv[1:])
