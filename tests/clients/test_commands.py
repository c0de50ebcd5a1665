"""The same commands, octet for octet, to a server and through proxyd to another of its kind: every answer is compared.

What differs has to stand in DIFFERENT, with its reason.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.place import plain
from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.processes import free_port, listens
from tests.servers.waiting import eventually

LETTER = b"Subject: Appended\r\nMessage-ID: <a@example.test>\r\n\r\n" + b"0123456789abcdef\r\n" * 5000
SMALL = b"Subject: small\r\n\r\nhello\r\n"


def literal(octets: bytes, kind: bytes = b"{%d}") -> bytes:
    return kind % len(octets) + b"\r\n" + octets


# Without their tags. What follows `{n}`, or a `>`, is sent after the server said `+`.
COMMANDS: list[bytes] = [
    b"CAPABILITY",
    b"NOOP",
    b"NAMESPACE",
    b'LIST "" "*"',
    b'LIST "" ""',
    b'LSUB "" "%"',
    b'LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE CHILDREN)',
    b'LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN SIZE))',
    b"CREATE Archive/2026",
    b"CREATE " + literal(b"With a literal"),
    b"CREATE " + literal("Größe".encode("utf-7").replace(b"+", b"&"), b"{%d+}"),
    b"SUBSCRIBE Archive/2026",
    b"RENAME Archive/2026 Archive/2027",
    b"UNSUBSCRIBE Archive/2026",
    b"STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN)",
    b"SELECT Nowhere",
    b"FETCH 1 FLAGS",  # nothing is selected
    b"SELECT INBOX (CONDSTORE)",
    b"FETCH 1:* (UID FLAGS RFC822.SIZE)",
    b"FETCH 1 (ENVELOPE BODY BODYSTRUCTURE)",
    b"FETCH 2 (BODY.PEEK[])",
    b"FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[TEXT]<2.5> BODY[1])",
    b"FETCH 1:3 (FLAGS) (CHANGEDSINCE 1)",
    b"FETCH 1 BINARY.SIZE[1]",
    b"FETCH 99 FLAGS",
    b"FETCH 1 (NONSENSE)",
    b"UID FETCH 3:* PREVIEW",
    b"SEARCH ALL",
    b"SEARCH CHARSET UTF-8 SUBJECT " + literal("Größe".encode()),
    b"SEARCH SUBJECT " + literal(b"Number 2") + b" FROM " + literal(b"grace", b"{%d+}"),
    b"SEARCH RETURN (MIN MAX COUNT) UNSEEN",
    b"UID SEARCH OR SUBJECT 1 SUBJECT 3",
    b"SORT (REVERSE SUBJECT) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL",
    b"STORE 1 +FLAGS (\\Flagged $keyword)",
    b"STORE 1 -FLAGS.SILENT (\\Flagged)",
    b"STORE 2 (UNCHANGEDSINCE 1) +FLAGS (\\Deleted)",
    b"COPY 1:2 Archive/2027",
    b"UID MOVE 3 Trash",
    b"UID STORE 2 +FLAGS \\Deleted",
    b"UID EXPUNGE 1:1",
    b"EXPUNGE",
    b"CHECK",
    b"IDLE\r\n>DONE",
    b"IDLE\r\n>NONSENSE",  # anything but DONE ends it badly
    b"UNSELECT",
    b"APPEND Archive/2027 " + literal(SMALL),
    b'APPEND Archive/2027 (\\Seen $kept) "23-Nov-2026 10:00:00 +0100" ' + literal(LETTER),
    b"APPEND Archive/2027 (\\Draft) " + literal(LETTER, b"{%d+}"),
    b"APPEND " + literal(b"Archive/2027") + b" () " + literal(SMALL),
    b"APPEND Nowhere " + literal(SMALL, b"{%d+}"),
    b"APPEND Archive/2027 (\\Nonsense) " + literal(SMALL, b"{%d+}"),
    b"APPEND Archive/2027 " + literal(b"", b"{%d+}"),
    b"noop",  # Cyrus refuses that as it sees it, and takes the rest of the line for a command
    b"APPEND Sent (\\Seen) " + literal(LETTER),
    b'APPEND "Sent" (\\Seen) "23-Nov-2026 10:00:00 +0100" ' + literal(SMALL, b"{%d+}"),
    b"APPEND Sent (\\Seen) " + literal(b"\x00", b"{%d+}"),
    b"APPEND Sent (\\Seen) " + literal(b"no header at all", b"{%d+}"),
    b"STATUS Sent (MESSAGES UIDNEXT)",
    b"EXAMINE Archive/2027",
    b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])",
    b"STORE 1 +FLAGS (\\Deleted)",  # it was opened to be read
    b"CLOSE",
    b"ENABLE QRESYNC",
    b"SELECT Archive/2027 (QRESYNC (1 1))",
    b"NOOP\r\nX1 NOOP\r\nX2 FETCH 1 FLAGS\r\nX3 UID SEARCH ALL\r\nX4 NOOP",  # in one flight
    b"fetch 1:* flags",
    b"GETQUOTAROOT INBOX",
    b"GETACL INBOX",
    b"XUNHEARDOF 1 2 3",
    b"LOGIN again password",
    b"",
    b"NOOP with something behind it",
    b'STATUS "INBOX (MESSAGES)',
    b"UNSELECT",
    b"DELETE Archive/2027",
    b"STARTTLS",
    b"LOGOUT",
]

DIFFERENT = {
    b"CAPABILITY": "left out: ways of signing in, of compression, of putting mail where proxyd could not read it by",
    b"LOGIN again password": "the one who answers is proxyd, in its own words",
    b"IDLE\r\n>NONSENSE": "where no mailbox is open, the one who answers is proxyd",
    b"STARTTLS": "the one who answers is proxyd, in its own words",
}


@dataclass(frozen=True)
class Address:
    port: int
    password: str
    ca: Path


class Wire:
    """A signed-in connection, octets in and out."""

    def __init__(self, to: Address) -> None:
        context = ssl.create_default_context(cafile=str(to.ca))
        plainly = socket.create_connection(("localhost", to.port), timeout=30)
        self._socket = context.wrap_socket(plainly, server_hostname="localhost")
        self._stream = self._socket.makefile("rb")
        self._count = 0
        self.ended = False
        self._stream.readline()
        self.say(b'LOGIN "%s" "%s"' % (PERSON.encode(), to.password.encode()))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def say(self, command: bytes) -> bytes:
        """Everything that is answered, up to the line with the command's tag (of several, the last one's)."""
        self._count += 1
        tag = b"T%d" % self._count
        last = re.findall(rb"(?m)^(X\d+) ", command)[-1:] or [tag]
        flights = re.split(rb"(?<=\r\n)>|(?<=\d}\r\n)", tag + b" " + command + b"\r\n")
        said = b""
        try:
            for n, flight in enumerate(flights):
                self._socket.sendall(flight)
                while line := self._line():
                    said += line
                    if line.startswith(last[0] + b" "):
                        return said
                    if line.startswith(b"+") and n + 1 < len(flights):
                        break
        except OSError as error:
            raise AssertionError(f"{command[:80]!r}: {error}, after {said!r}") from None
        self.ended = True
        return said

    def _line(self) -> bytes:
        """A line with the literals in it."""
        line = self._stream.readline()
        while found := re.search(rb"\{(\d+)\}\r\n$", line):
            line += self._stream.read(int(found[1])) + self._stream.readline()
        return line


SAME_BUT = [
    (rb"\([^()]*\d+\.\d+[^)]* secs?\b[^)]*\)", b"(time)"),
    (rb"(UIDVALIDITY|APPENDUID|COPYUID) \d+", rb"\1 V"),
    (rb"MODSEQ \(\d+\)", b"MODSEQ (N)"),  # depends on who looked into the folder when: the watcher may be first
    (rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ N"),
    (rb"MAILBOXID \(\w+\)", b"MAILBOXID (M)"),
    (rb"(?m)^\+ [^\r]*", b"+"),
    (rb"(?m)^T\d+ ", b"T "),
    (rb'INTERNALDATE "(?!23-Nov-2026 (09|10):00:00)[^"]*"', b"INTERNALDATE now"),
]


def numbered(n: int) -> bytes:
    octets = plain(f"Number {n}", sender=CUSTOMER, to=PERSON)
    return re.sub(rb"(?m)^Message-ID: .*?\r$", b"Message-ID: <%d@customer.test>\r" % n, octets)


def neutral(answer: bytes) -> bytes:
    """Without what no two servers say alike; folders are listed in any order."""
    for pattern, instead in SAME_BUT:
        answer = re.sub(pattern, instead, answer)
    if re.match(rb"\* (LIST|LSUB) ", answer):
        return b"".join(sorted(answer.splitlines(keepends=True)))
    return answer


def answers(server: Dovecot | Courier | Cyrus, at: Address, nonsync: bool) -> dict[bytes, bytes]:
    """`nonsync`: literals that do not wait for the server may be sent."""
    for n in range(1, 4):
        server.append(PERSON, "INBOX", numbered(n), "")
    wire = Wire(at)
    found = {}
    try:
        for command in COMMANDS:
            if wire.ended:  # Courier has had enough after ten bad ones
                wire.close()
                wire = Wire(at)
            found[command] = neutral(wire.say(command if nonsync else command.replace(b"+}\r\n", b"}\r\n")))
    finally:
        wire.close()
    return found


DOVECOT_PARTS = ("SPECIAL-USE", "CONDSTORE", "QRESYNC", "LITERAL+", "UIDPLUS", "IDLE", "ESEARCH", "NAMESPACE")
KINDS: dict[str, Callable[[Path], Dovecot | Courier | Cyrus]] = {
    "Dovecot": lambda folder: Dovecot(folder, users={PERSON: PASSWORD}),
    "Dovecot, some extensions hidden": lambda folder: Dovecot(folder, users={PERSON: PASSWORD}, hide=DOVECOT_PARTS),
    "Courier": lambda folder: Courier(folder, users={PERSON: PASSWORD}),
    "Cyrus": lambda folder: Cyrus(folder, users={PERSON: PASSWORD}),
}


@pytest.fixture(params=KINDS)
def servers(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Two of a kind."""
    with contextlib.ExitStack() as running:
        made = []
        for name in ("a", "b"):
            (server_folder / name).mkdir()
            made.append(running.enter_context(KINDS[request.param](server_folder / name)))
        yield made


class OnlyReading:
    """A provider as `Rig` wants one: an account's file that names this server; there is nothing to send by."""

    def __init__(self, server: Dovecot | Courier | Cyrus, folder: Path) -> None:
        self.server = server
        self.password = folder / "provider.password"
        self.password.touch(mode=0o600)
        self.password.write_text(PASSWORD + "\n")

    def account_yaml(self, *, client_password: Path, more: str) -> str:
        return (
            f"address: {PERSON}\nprovider:\n"
            f"  imap: {{host: localhost, port: {self.server.imaps_port}, tls: implicit}}\n"
            f"  smtp: {{host: localhost, port: {free_port()}, tls: implicit}}\n"
            f"  ca: {self.server.ca.ca}\n"
            f"sign_in:\n  password: {{file: {self.password}}}\nclient:\n  password: {{file: {client_password}}}\n{more}"
        )


@contextlib.contextmanager
def through_proxyd(server: Dovecot | Courier | Cyrus, folder: Path) -> Iterator[Address]:
    provider: Any = OnlyReading(server, folder)
    rig = Rig(folder, provider)
    port = free_port()
    listen = f'smtp: off, smtps: off, imap: off, imaps: "localhost:{port}", web: off'
    (rig.config / "proxyd.yaml").write_text(f"listen: {{{listen}}}\n")
    rig.start(wait=False)
    try:
        eventually(lambda: listens(port), f"the daemon: {rig.log}")
        yield Address(port, CLIENT_PASSWORD, rig.data / "ca.pem")
    finally:
        rig.stop()


def parting(directly: bytes, through: bytes) -> str:
    """Where the two part, with what stands around it."""
    at = next((i for i, (a, b) in enumerate(zip(directly, through, strict=False)) if a != b), len(through))
    around = slice(max(0, at - 200), at + 200)
    return f"  directly {directly[around]!r}\n  through  {through[around]!r}"


@pytest.mark.servers
def test_every_answer_is_the_same(servers: list[Any], tmp_path: Path) -> None:
    one, other = servers
    with one.imap(PERSON) as imap:
        nonsync = "LITERAL+" in imap.capabilities
    directly = answers(one, Address(one.imaps_port, PASSWORD, one.ca.ca), nonsync)
    with through_proxyd(other, tmp_path) as relay:
        through = answers(other, relay, nonsync)
    different = [command for command in COMMANDS if directly[command] != through[command]]
    unexpected = [
        f"{command[:80]!r}\n{parting(directly[command], through[command])}"
        for command in different
        if command not in DIFFERENT
    ]
    assert not unexpected, "\n".join(unexpected)
    assert b"COMPRESS" not in through[b"CAPABILITY"]
