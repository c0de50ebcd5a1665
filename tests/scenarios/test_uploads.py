"""A mail client that sends and reads through proxyd and files its own copies: after N mails, N messages in Sent.

N is 30; with PROXYD_SOAK=200, or by `make soak`, it is 200. The client does what clients do: most upload right after
the 250, some begin and take their time, some come when proxyd has long filed a copy, some never; some keep Bcc in
their copy, some give it no Message-ID.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import smtplib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON
from tests.servers.waiting import eventually

N = int(os.environ.get("PROXYD_SOAK", "30"))
LISTEN = 'listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: "127.0.0.1:0", imaps: "127.0.0.1:0", web: off}\n'
SETTLE = 2.0  # seconds
BIG = 3_000_000  # octets

SUBJECT = re.compile(rb"^Subject: Offer (\d+)\r$", re.MULTILINE)
FILED = re.compile(rb"\[APPENDUID (\d+) (\d+)\]")


def pass_time(seconds: float) -> None:
    """The client takes its time, or nothing is to happen while time passes: there is nothing to wait for."""
    threading.Event().wait(seconds)


@dataclass
class Ports:
    smtps: int
    imaps: int


def through_proxyd(
    make_rig: Any, *, account: dict[str, Any] | None = None, more: str = "", **provider: Any
) -> tuple[Rig, Ports]:
    """A running daemon with all its listeners; `more` are further lines of the account's file."""
    more = f"sent_copy: {{settle: {SETTLE:g}s}}\n{more}"
    rig: Rig = make_rig(more=more, start=False, **provider)
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    if account:
        rig.write_account(rig.provider.account_yaml(client_password=rig.client_password, more=more, **account))
    rig.start()
    rig.connected()
    return rig, Ports(rig.port("smtps"), rig.port("imaps"))


class MailClient:
    """One person's, with one connection to each of its servers: both are proxyd."""

    def __init__(self, rig: Rig, ports: Ports) -> None:
        self._ports = ports
        self._trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
        self.imap = imaplib.IMAP4_SSL("localhost", ports.imaps, ssl_context=self._trust, timeout=60)
        self.imap.login(PERSON, CLIENT_PASSWORD)

    def send(self, octets: bytes, *recipients: str) -> None:
        with smtplib.SMTP_SSL("localhost", self._ports.smtps, context=self._trust, timeout=60) as smtp:
            smtp.login(PERSON, CLIENT_PASSWORD)
            assert smtp.sendmail(PERSON, [CUSTOMER, *recipients], octets) == {}

    def file(self, octets: bytes, *, flags: str = "\\Seen", pause: float = 0.0) -> bytes:
        """APPEND to Sent: half of it, a pause, the other half. The server's answer."""
        imap: Any = self.imap
        tag = self.begin_to_file(octets, flags)
        pass_time(pause)
        imap.send(octets[len(octets) // 2 :] + b"\r\n")
        kind, data = imap._command_complete("APPEND", tag)
        assert kind == "OK", data
        return bytes(data[-1])

    def begin_to_file(self, octets: bytes, flags: str = "\\Seen") -> bytes:
        """The first half; the command's tag."""
        imap: Any = self.imap
        tag: bytes = imap._new_tag()
        imap.send(tag + b" APPEND Sent (%s) {%d}\r\n" % (flags.encode(), len(octets)))
        while imap._get_response():
            pass
        imap.send(octets[: len(octets) // 2])
        return tag

    def close(self) -> None:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):  # killed
            self.imap.logout()


@contextlib.contextmanager
def client(rig: Rig, ports: Ports) -> Iterator[MailClient]:
    made = MailClient(rig, ports)
    try:
        yield made
    finally:
        made.close()


def letter(number: int, *, id: bool = True, bcc: bool = False, size: int = 200) -> bytes:
    """As a client composes it: with Bcc as it files it, without as it sends it."""
    fields = [f"From: {PERSON}", f"To: {CUSTOMER}", f"Subject: Offer {number}"]
    fields.append(f"Date: Mon, 23 Nov 2026 10:{number // 60 % 60:02}:{number % 60:02} +0000")
    if id:
        fields.append(f"Message-ID: <{number}.{os.getpid()}@example.test>")
    if bcc:
        fields.append(f"Bcc: {OTHER_CUSTOMER}")
    body = ("This is what we offer.".ljust(70, ".") + "\r\n") * (size // 72 + 1)
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


def in_sent(rig: Rig) -> Counter[int]:
    """How often each letter lies in Sent."""
    found = (SUBJECT.search(each.octets) for each in rig.provider.dovecot.messages(PERSON, "Sent"))
    return Counter(int(each[1]) for each in found if each is not None)


def settled(rig: Rig) -> None:
    """Until nothing is waited for any more."""
    eventually(
        lambda: rig.account_status()["waiting"]["sent_copies"] == 0, "every Sent copy settled", within=60, every=1.0
    )


def exactly_once(rig: Rig, count: int) -> None:
    """Every letter once: ours goes where the client's came late, which may take a moment."""
    once = Counter(range(count))
    settled(rig)
    eventually(lambda: in_sent(rig) == once, f"{count} messages, each once; now {in_sent(rig)}", within=60, every=1.0)
    pass_time(SETTLE + 1)  # nothing comes or goes behind it
    assert in_sent(rig) == once


def test_a_client_that_files_its_own_copy(make_rig: Any) -> None:
    """The plain case, as Thunderbird and mutt do it."""
    rig, ports = through_proxyd(make_rig)
    rig.add_contact()
    with client(rig, ports) as person:
        for number in range(N):
            octets = letter(number)
            person.send(octets)
            assert FILED.search(person.file(octets))
        assert rig.account_status()["waiting"]["sent_copies"] == 0  # settled by the upload itself
    exactly_once(rig, N)
    assert len(rig.timeline()) == N
    assert {each["sent_copy"]["by"] for each in rig.timeline()} == {"client"}


def test_clients_of_every_habit_at_once(make_rig: Any) -> None:
    """Three devices, and every way and time of filing; what nobody files, proxyd does."""
    rig, ports = through_proxyd(make_rig)
    rig.add_contact()
    habits = ["at once", "with Bcc", "slowly", "too late", "never", "without Message-ID", "too late, without"]

    def work(numbers: list[int]) -> None:
        late: list[tuple[float, bytes]] = []
        with client(rig, ports) as person:
            for number in numbers:
                habit = habits[number % len(habits)]
                octets = letter(number, id="without" not in habit)
                person.send(octets, *([OTHER_CUSTOMER] if habit == "with Bcc" else []))
                match habit:
                    case "at once" | "without Message-ID":
                        person.file(octets)
                    case "with Bcc":
                        person.file(letter(number, bcc=True))
                    case "slowly":
                        person.file(octets, pause=SETTLE + 1)
                    case "too late" | "too late, without":
                        late.append((time.monotonic() + SETTLE + 1.5, octets))
                while late and late[0][0] < time.monotonic():
                    person.file(late.pop(0)[1])
            for when, octets in late:
                pass_time(max(0.0, when - time.monotonic()))
                person.file(octets)

    with ThreadPoolExecutor(3) as devices:
        list(devices.map(work, ([*range(each, N, 3)] for each in range(3))))
    exactly_once(rig, N)
    kept = [each.octets for each in rig.provider.dovecot.messages(PERSON, "Sent")]
    for number in (each for each in range(N) if habits[each % len(habits)] == "with Bcc"):
        (copy,) = (each for each in kept if b"Subject: Offer %d\r\n" % number in each)
        assert b"Bcc: " in copy  # the client's own stayed
    logged = rig.timeline()
    assert len(logged) == N
    assert {each["sent_copy"]["by"] for each in logged} == {"client", "proxyd"}  # nobody was taken for the provider


@pytest.mark.parametrize("account", [{"files_sent": "yes"}, None], ids=["known by the settings", "found out"])
def test_a_provider_that_files_what_it_sends(make_rig: Any, account: dict[str, Any] | None) -> None:
    """The upload is answered with the provider's copy, and does not cross the uplink: from the first mail on."""
    rig, ports = through_proxyd(make_rig, account=account, files_sent=True)
    rig.add_contact()
    with client(rig, ports) as person:
        for number in range(N):
            octets = letter(number, bcc=number % 2 == 1)
            person.send(letter(number))
            answer = FILED.search(person.file(octets, flags="\\Seen \\Flagged"))
            assert answer is not None
            person.imap.select("Sent", readonly=True)
            _, data = person.imap.uid("FETCH", answer[2].decode(), "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            assert b"Offer %d\r\n" % number in data[0][1]
            assert {b"\\Seen", b"\\Flagged"} <= set(imaplib.ParseFlags(data[0][0]))
            person.imap.unselect() if "UNSELECT" in person.imap.capabilities else person.imap.close()
    exactly_once(rig, N)
    assert {each["sent_copy"]["by"] for each in rig.timeline()} == {"provider"}
    assert not any(" APPEND " in f" {line}" for each in rig.provider.dovecot.sessions(PERSON) for line in each.commands)


def test_a_big_mail_crosses_the_uplink_once(make_rig: Any) -> None:
    rig, ports = through_proxyd(make_rig, account={"files_sent": "yes"}, files_sent=True)
    octets = letter(0, size=BIG)
    with client(rig, ports) as person:
        before = upstream(rig)
        person.send(octets)
        began = time.monotonic()
        assert FILED.search(person.file(octets))
        assert time.monotonic() - began < 10
    settled(rig)
    assert upstream(rig) - before < 20_000 < BIG < len(octets)  # all that IMAP took of it
    exactly_once(rig, 1)


def test_where_the_provider_does_not_file_it_crosses_twice_and_lies_there_as_it_was_uploaded(make_rig: Any) -> None:
    """The counter of the test above counts."""
    rig, ports = through_proxyd(make_rig)
    octets = letter(0, bcc=True, size=BIG)
    with client(rig, ports) as person:
        before = upstream(rig)
        person.send(letter(0, size=BIG), OTHER_CUSTOMER)
        person.file(octets)
    settled(rig)
    assert len(octets) < upstream(rig) - before < len(octets) + 20_000
    (copy,) = rig.provider.dovecot.messages(PERSON, "Sent")
    assert copy.octets == octets


def upstream(rig: Rig) -> int:
    """Octets that the provider's IMAP server was sent by proxyd, for its clients and for itself."""
    return sum(len(each.sent) for each in rig.provider.dovecot.sessions(PERSON))


@pytest.mark.parametrize(
    ("moment", "files_sent"),
    [("before", False), ("amid", False), ("amid", True), ("after", True)],
    ids=["before", "amid", "amid, the provider files", "after, the provider files"],
)
def test_the_daemon_is_killed(make_rig: Any, moment: str, files_sent: bool) -> None:
    """kill -9 before, amid and after an upload; the client comes again as clients do, and files what it has to."""
    account = {"files_sent": "yes"} if files_sent else None
    rig, ports = through_proxyd(make_rig, account=account, files_sent=files_sent)
    octets = letter(0, size=500_000)
    with client(rig, ports) as person:
        person.send(octets)
        if moment == "after":
            person.file(octets)
        elif moment == "amid":
            person.begin_to_file(octets)
        rig.kill()
    rig.start()
    rig.connected()
    if moment != "after":
        with client(rig, Ports(rig.port("smtps"), rig.port("imaps"))) as person:
            person.file(octets)
    exactly_once(rig, 1)
