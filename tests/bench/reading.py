"""`python -m tests.bench reading`: bodies, headers, signing in, and what a connection that waits costs.

Every figure is taken direct, through proxyd and through nginx's mail proxy, in turns, by the same client. Of the times
the best is told for what carries octets (another program's work can only make it slower), the median for signing in.
"TLS" is TLS on both legs; nginx knows none towards the mailbox, its second leg is plain there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.nginx import NginxMail
from tests.bench.sending import QUIET, Memory, cpu_seconds
from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.dovecot import MAIL_USER
from tests.servers.mailprovider import COLLEAGUE, PASSWORD, PERSON, Provider
from tests.servers.processes import open_folder

BODY = 50_000_000  # octets
HEADERS = 10_000
CROWD = 500
FETCH_BODY = "UID FETCH 1 (UID BODY.PEEK[])"
# As Thunderbird asks for a folder that it sees for the first time.
FETCH_HEADERS = (
    "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority "
    "X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
)
LISTEN = 'listen: {smtp: off, smtps: off, imap: "127.0.0.1:0", imaps: "127.0.0.1:0", web: off}\n'
MANY = """\
default_client_limit = 4000
service imap {
  service_count = 0
  client_limit = 3000
}
"""


@dataclass(frozen=True)
class Way:
    """How a client comes to the mailbox. `pid`: of the process in between, None where there is none."""

    name: str
    port: int
    ca: Path | None
    user: str
    password: str
    pid: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "name": f"{self.name} {self.port}",
            "port": self.port,
            "ca": str(self.ca) if self.ca else None,
            "user": self.user,
            "password": self.password,
        }


class Reader:
    """The client's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.reader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def do(self, what: str, way: Way, **more: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, "way": way.facts, **more}) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "fault" in said:
            raise SystemExit(f"{what} on the way {way.name}: {said['fault']}")
        return said


# --- what there is to read ---------------------------------------------------------------------------------------


def fill(provider: Provider, user: str) -> None:
    """The folders `Huge` (one message) and `Many`, as the Maildirs that Dovecot keeps."""
    local, _, domain = user.partition("@")
    home = provider.dovecot.folder / "mail" / domain / local
    line = b"The quick brown fox jumps over the lazy dog, and over the next one as well.\n"
    messages = {"Huge": [letter(0) + line * (BODY // (len(line) + 1))], "Many": [letter(n) for n in range(HEADERS)]}
    for folder, contents in messages.items():
        for part in ("cur", "new", "tmp"):
            (home / f".{folder}" / part).mkdir(parents=True)
        for number, content in enumerate(contents, 1):
            sizes = f"S={len(content)},W={len(content) + content.count(10)}"
            (home / f".{folder}/cur/17000{number:05}.M{number}P1.here,{sizes}:2,S").write_bytes(content)
    for path in [*home.parent.parent.rglob("*"), home.parent.parent]:
        os.chown(path, MAIL_USER, MAIL_USER)


def letter(number: int) -> bytes:
    return (
        f"Return-Path: <grace@customer.test>\nReceived: from mx.customer.test (mx [192.0.2.{number % 250}])\n"
        f"\tby mail.example.test with ESMTPS id {number:010}\n\tfor <ada@example.test>; Mon, 23 Nov 2026 10:00:00"
        f" +0000\nFrom: Grace Hopper <grace@customer.test>\nTo: Ada Lovelace <ada@example.test>\nSubject: Re: Offer no."
        f" {number}\nDate: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}.reading@customer.test>\nIn-Reply-To: "
        f"<{number}.offer@example.test>\nReferences: <{number}.first@customer.test>\n\t<{number}.offer@example.test>\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nYes, please.\n"
    ).encode()


@contextlib.contextmanager
def daemon(provider: Provider, folder: Path) -> Iterator[Rig]:
    """Reads Ada's mailbox over TLS, her colleague's without; the clients come either way."""
    rig = Rig(folder, provider)
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    secured = provider.account_yaml(client_password=rig.client_password, more=QUIET)
    plain = provider.account_yaml(COLLEAGUE, client_password=rig.client_password, more=QUIET)
    imap = provider.dovecot
    plain = plain.replace(f"port: {imap.imaps_port}, tls: implicit", f"port: {imap.imap_port}, tls: none")
    for name, text in (("ada", secured), ("charles", plain)):
        rig.write_account(text.replace("  smtp:", "  connections: 1000\n  smtp:"), name)
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()


@contextlib.contextmanager
def ways(provider: Provider, folder: Path) -> Iterator[dict[str, list[Way]]]:
    """By the kind of their legs; direct comes first."""
    imap, ca = provider.dovecot, provider.ca
    with daemon(provider, folder / "rig") as rig, NginxMail(folder / "nginx", ca.leaf, imap.imap_port) as nginx:
        ours = rig.data / "ca.pem"
        yield {
            "plain": [
                Way("direct", imap.imap_port, None, COLLEAGUE, PASSWORD),
                Way("proxyd", rig.port("imap"), None, COLLEAGUE, CLIENT_PASSWORD, rig.pid),
                Way("nginx", nginx.plain, None, COLLEAGUE, PASSWORD, nginx.pid),
            ],
            "TLS": [
                Way("direct", imap.imaps_port, ca.ca, PERSON, PASSWORD),
                Way("proxyd", rig.port("imaps"), ours, PERSON, CLIENT_PASSWORD, rig.pid),
                Way("nginx", nginx.tls, ca.ca, PERSON, PASSWORD, nginx.pid),
            ],
        }


# --- the figures -------------------------------------------------------------------------------------------------


def row(what: str, figures: Sequence[str], ratios: Sequence[str], more: str = "") -> None:
    """`figures`: direct, proxyd, nginx; `ratios` of the latter two to the first."""
    columns = "".join(f"{figure:>12}" for figure in figures) + "".join(f"{ratio:>9}" for ratio in ratios)
    print(f"{what:<36}{columns}  {more}", flush=True)


def in_turns(reader: Reader, them: Sequence[Way], times: int, what: str, **more: Any) -> tuple[list[Any], list[float]]:
    """For each way what the client said each time, and the CPU seconds of the process in between per time."""
    for way in them:
        reader.do(what, way, **more)  # caches, first connection
    said: list[list[dict[str, Any]]] = [[] for _ in them]
    spent = [0.0 for _ in them]
    for _ in range(times):
        for at, way in enumerate(them):
            before = cpu_seconds(way.pid) if way.pid else 0.0
            said[at].append(reader.do(what, way, **more))
            spent[at] += (cpu_seconds(way.pid) - before) / times if way.pid else 0.0
    return said, spent


def busy(spent: Sequence[float]) -> str:
    return f"CPU {spent[1] * 1000:.1f} ms, nginx's {spent[2] * 1000:.1f}"


def carried(reader: Reader, kind: str, them: Sequence[Way], what: str, times: int, aim: str, **more: Any) -> None:
    said, spent = in_turns(reader, them, times, "fetch", **more)
    sizes = {each["octets"] for rounds in said for each in rounds}
    if max(sizes) - min(sizes) > 100:  # the last line tells the time that it took
        raise SystemExit(f"not the same octets on every way: {sizes}")
    best = [min(each["took"] for each in rounds) for rounds in said]
    speeds = [f"{min(sizes) / 1e6 / took:.0f} MB/s" for took in best]
    ratios = [f"{best[0] / took:.2f}" for took in best[1:]]
    row(f"{what}, {kind}", speeds, ratios, f"{aim}; {busy(spent)}")


def signing_in(reader: Reader, kind: str, them: Sequence[Way], times: int) -> None:
    said, spent = in_turns(reader, them, times, "sign_in")
    middle = [statistics.median(each["took"] for each in rounds) for rounds in said]
    ratios = [f"{took / middle[0]:.2f}" for took in middle[1:]]
    row(f"sign in, p50, {kind}", [f"{took * 1000:.1f} ms" for took in middle], ratios, f"<= 1.1; {busy(spent)}")


def waiting(folder: Path, count: int) -> None:
    """The growth of the processes in between, per connection: TLS on both legs, INBOX selected, IDLE."""
    options = {"rawlog": False, "connections_per_user": 2000, "settings": MANY}
    with Provider(folder, dovecot=options) as provider, ways(provider, folder) as all_ways:
        told = []
        for way in all_ways["TLS"][1:]:
            assert way.pid is not None
            with Reader() as reader:
                reader.do("idle", way, count=10)  # what the first connections bring for all
                with Memory(way.pid) as memory:
                    reader.do("idle", way, count=count)
                    grown = memory.now() - memory.before
            told.append(f"{grown / count / 1024:.1f} KiB")
    row(f"memory per connection of {count}, TLS", ["", *told], ["", ""], "<= 60 KiB; nginx's second leg is plain")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="what reading costs through proxyd, as against direct")
    parser.add_argument("--times", type=int, default=7, help="how often each body and all headers are fetched")
    parser.add_argument("--sign-ins", type=int, default=30)
    parser.add_argument("--only", choices=("body", "headers", "login", "idle"))
    parser.add_argument("--kind", choices=("plain", "TLS"), help="one kind of legs")
    given = parser.parse_args(arguments)

    def wanted(part: str) -> bool:
        return given.only in (None, part)

    print("\nReading from Dovecot")
    row("", ["direct", "proxyd", "nginx"], ["proxyd", "nginx"], "aim")
    with open_folder() as folder:
        if given.only != "idle":
            with Provider(folder / "p1", dovecot={"rawlog": False}) as provider:
                for user in (PERSON, COLLEAGUE):
                    fill(provider, user)
                with ways(provider, folder / "p1") as all_ways, Reader() as reader:
                    for kind, them in all_ways.items():
                        if given.kind not in (None, kind):
                            continue
                        if wanted("body"):
                            aim = ">= 0.7" if kind == "plain" else ">= 0.5"
                            what = f"body of {BODY // 10**6} MB"
                            carried(reader, kind, them, what, given.times, aim, folder="Huge", command=FETCH_BODY)
                        if wanted("headers"):
                            what, aim = f"{HEADERS} headers", ">= 0.97"
                            carried(reader, kind, them, what, given.times, aim, folder="Many", command=FETCH_HEADERS)
                        if wanted("login"):
                            signing_in(reader, kind, them, given.sign_ins)
        if wanted("idle"):
            waiting(folder / "p2", CROWD)


if __name__ == "__main__":
    main()
