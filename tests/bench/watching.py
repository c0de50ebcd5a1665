"""`python -m tests.bench watching`: what watching a mailbox costs, how soon an answer is logged, catching up.

    parked     memory, idle CPU and sign-ins of many mailboxes over TLS in one process: proxyd's watcher, a thread with
               an imapclient for each, and bare TLS connections. "all told" is from before the configuration is read.
               Idle CPU is while nothing happens: the truth check of every five minutes is among it from `--idle 330`
               on. Where not all are parked within `--within` seconds, it is told of those that are.
    latency    from handing a message to the server until it is logged, and until a bare imaplib in IDLE hears of it
    catch-up   headers read, matched and put on record, as against imaplib's UID FETCH of the same fields

Sizes are arguments, so that a short run is possible: `--mailboxes 50 --deliveries 10 --messages 5000`.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.sending import cpu_seconds
from tests.servers.dovecot import MAIL_USER, Dovecot
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.processes import open_folder

KIB = 1024
WAYS = ("proxyd", "threads", "bare")
FIELDS = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID IN-REPLY-TO REFERENCES)])"
MANY = """\
default_client_limit = 20000
default_vsz_limit = 8 G
service imap {
  service_count = 0
  client_limit = 1500
  process_limit = 64
}
service imap-login {
  client_limit = 20000
  process_limit = 1
}
"""


class Holder:
    """`parked` in a process of its own."""

    def __init__(self, **facts: Any) -> None:
        command = [sys.executable, "-m", "tests.bench.parked", json.dumps(facts)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def do(self, what: str, **more: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("{"):
            if not line:
                raise SystemExit(f"{what}: the process is gone")
        said: dict[str, Any] = json.loads(line)
        if "fault" in said:
            raise SystemExit(f"{what}: {said['fault']}")
        return said


def users(count: int) -> list[str]:
    return [f"u{n}@example.test" for n in range(count)]


def configure(folder: Path, dovecot: Dovecot, people: Sequence[str], more: str = "") -> Path:
    """The accounts of these people."""
    config = folder / "config"
    (config / "accounts.d").mkdir(parents=True)
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    for number, user in enumerate(people):
        (config / f"accounts.d/a{number}.yaml").write_text(
            f"address: {user}\nprovider:\n  imap: {{host: localhost, port: {dovecot.imaps_port}}}\n"
            f"  smtp: {{host: localhost, port: 1}}\n  ca: {dovecot.ca.ca}\n"
            f"sign_in:\n  password: {{file: {secret}}}\n{more}"
        )
    return config


# --- parked --------------------------------------------------------------------------------------------------


def parked(count: int, seconds: float, ways: Sequence[str], within: float) -> None:
    titles = ("parked", "KiB each", "all told", "CPU idle", "threads", "to park", "sign-ins", "CPU for each")
    print(f"{f'of {count}':<10}" + "".join(f"{title:>14}" for title in titles), flush=True)
    people = users(count)
    for way in ways:
        with (
            open_folder() as folder,
            Dovecot(folder / "dovecot", users=dict.fromkeys(people, PASSWORD), rawlog=False, settings=MANY) as dovecot,
        ):
            facts: dict[str, Any] = {"way": way, "port": dovecot.imaps_port, "password": PASSWORD}
            facts |= {"ca": str(dovecot.ca.ca), "data": str(folder / "data")}
            if way == "proxyd":
                facts["config"] = str(configure(folder, dovecot, people))
            else:
                facts["users"] = people
            with Holder(**facts) as holder:
                said = holder.do("hold", within=within)
                time.sleep(2)  # noqa: TID251 - nothing to wait for: this is about doing nothing
                before = cpu_seconds(holder.pid)
                time.sleep(seconds)  # noqa: TID251
                cpu = (cpu_seconds(holder.pid) - before) / seconds
                threads = len(list(Path(f"/proc/{holder.pid}/task").iterdir()))
            held = max(said["count"], 1)
            columns = (
                f"{said['count']}",
                f"{(said['after'] - said['config']) / held / KIB:.1f}",
                f"{(said['after'] - said['before']) / held / KIB:.1f} KiB",
                f"{100 * cpu:.2f} %",
                f"{threads}",
                f"{said['took']:.1f} s",
                f"{held / said['took']:.1f}/s",
                f"{1000 * said['cpu'] / held:.1f} ms",
            )
            print(f"{way:<10}" + "".join(f"{each:>14}" for each in columns), flush=True)


# --- latency -------------------------------------------------------------------------------------------------


class Bare(threading.Thread):
    """imaplib in IDLE; `heard` is when it was told of one more message."""

    def __init__(self, dovecot: Dovecot) -> None:
        super().__init__(daemon=True)
        context = ssl.create_default_context(cafile=str(dovecot.ca.ca))
        self.heard: list[float] = []
        self._imap = imaplib.IMAP4_SSL("localhost", dovecot.imaps_port, ssl_context=context)
        self._imap.login(PERSON, PASSWORD)
        self._imap.select("INBOX", readonly=True)
        self._imap.send(b"i IDLE\r\n")
        assert self._imap.readline().startswith(b"+")

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._imap.readline():
                if line.rstrip().endswith(b" EXISTS"):
                    self.heard.append(time.monotonic())


def latency(deliveries: int) -> None:
    with open_folder() as folder, Dovecot(folder / "dovecot", users={PERSON: PASSWORD}, rawlog=False) as dovecot:
        config = configure(folder, dovecot, [PERSON], "incoming: contacts\n")
        bare = Bare(dovecot)
        bare.start()
        with Holder(way="proxyd", config=str(config), data=str(folder / "data")) as holder:
            holder.do("hold")
            holder.do("know", email=CUSTOMER)
            _until(lambda: holder.do("reads_from")["inbox"])  # what comes before that is not new
            delivered = []
            for n in range(deliveries):
                octets = letter(n, CUSTOMER)
                delivered.append(time.monotonic())
                dovecot.deliver(PERSON, octets, CUSTOMER)
                _until(lambda n=n: len(bare.heard) > n and len(holder.do("times")["logged"]) > n)
                time.sleep(random.uniform(0.05, 0.3))  # noqa: TID251 - not in step with the server's own clock
            logged = holder.do("times")["logged"]
    heard = [at - begun for at, begun in zip(bare.heard, delivered, strict=False)]
    took = [at - begun for at, begun in zip(logged, delivered, strict=False)]
    beyond = [1000 * (mine - its) for mine, its in zip(took, heard, strict=True)]
    print(f"{'':<30}{'median':>12}{'p99':>12}")
    for what, values in (("bare imaplib hears of it", heard), ("proxyd has logged it", took)):
        print(f"{what:<30}{1000 * statistics.median(values):>9.1f} ms{1000 * percentile(values):>9.1f} ms")
    ratio = statistics.median(took) / statistics.median(heard)
    print(f"{'beyond the bare':<30}{statistics.median(beyond):>9.1f} ms{percentile(beyond):>9.1f} ms   aim: <= 50 ms")
    print(f"{'ratio':<30}{ratio:>12.2f}{percentile(took) / percentile(heard):>12.2f}", flush=True)


def percentile(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def _until(look: Any) -> None:
    end = time.monotonic() + 30
    while not look():
        if time.monotonic() > end:
            raise SystemExit("a message was not logged within 30 s")
        time.sleep(0.02)  # noqa: TID251


# --- catching up ---------------------------------------------------------------------------------------------


def letter(n: int, sender: str = "somebody@elsewhere.test") -> bytes:
    more = "".join(f" <r{n}.{each}@elsewhere.test>" for each in range(n % 5))
    named = f"In-Reply-To: <r{n}.0@elsewhere.test>\r\nReferences:{more}\r\n" if more else ""
    return (
        f"Received: from mx.elsewhere.test by mx.example.test; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <m{n}.{'x' * 20}@elsewhere.test>\r\n{named}From: {sender}\r\nTo: {PERSON}\r\n"
        f"Subject: message {n}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nText of message {n}.\r\n"
    ).encode()


def fill(dovecot: Dovecot, count: int) -> None:
    """INBOX, as the Maildir that Dovecot keeps."""
    local, _, domain = PERSON.partition("@")
    home = dovecot.folder / "mail" / domain / local
    for part in ("cur", "new", "tmp"):
        (home / part).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        content = letter(number)
        name = f"17{number:08}.M{number}P1.here,S={len(content)},W={len(content)}:2,S"
        (home / "cur" / name).write_bytes(content)
    for path in (home, *home.rglob("*")):
        os.chown(path, MAIL_USER, MAIL_USER)
    os.chown(home.parent, MAIL_USER, MAIL_USER)


def bare_fetch(dovecot: Dovecot) -> tuple[float, float]:
    """Seconds, and those of this process's CPU."""
    context = ssl.create_default_context(cafile=str(dovecot.ca.ca))
    imap = imaplib.IMAP4_SSL("localhost", dovecot.imaps_port, ssl_context=context)
    imap.login(PERSON, PASSWORD)
    imap.select("INBOX", readonly=True)
    start, cpu = time.perf_counter(), time.process_time()
    imap.uid("FETCH", "1:*", FIELDS)
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    imap.logout()
    return took, cpu


def catch_up(count: int, times: int) -> None:
    with open_folder() as folder, Dovecot(folder / "dovecot", users={PERSON: PASSWORD}, rawlog=False) as dovecot:
        fill(dovecot, count)
        config = configure(folder, dovecot, [PERSON])
        bare_fetch(dovecot)  # Dovecot indexes what it has never seen
        bare: list[tuple[float, float]] = []
        ours: list[tuple[float, float]] = []
        for n in range(times):
            bare.append(bare_fetch(dovecot))
            with Holder(way="proxyd", config=str(config), data=str(folder / f"data{n}")) as holder:
                said = holder.do("catch_up")
            assert (said["read"], said["whole"]) == (count, True), said
            ours.append((said["took"], said["cpu"]))
    (best, cpu), (our_best, our_cpu) = min(bare), min(ours)
    print(f"{count} headers{'':>12}{'bare':>14}{'proxyd':>14}{'ratio':>10}")
    print(
        f"{'per second':<22}{count / best:>16.0f}{count / our_best:>14.0f}{best / our_best:>10.2f}   aim: >= 0.7",
        flush=True,
    )
    paired = statistics.median(b[0] / o[0] for b, o in zip(bare, ours, strict=True))
    print(f"{'run by run, the median':<22}{'':>30}{paired:>10.2f}")
    print(
        f"{'CPU for each, us':<22}{1e6 * cpu / count:>16.1f}{1e6 * our_cpu / count:>14.1f}{cpu / our_cpu:>10.2f}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="what watching costs, and how soon it tells")
    parser.add_argument("--mailboxes", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of doing nothing that are measured")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--within", type=float, default=900.0, help="seconds for all to be parked, for each way")
    parser.add_argument("--deliveries", type=int, default=100)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=3, help="how often catching up is measured")
    parser.add_argument("--only", choices=("parked", "latency", "catch-up"))
    given = parser.parse_args(arguments)
    print("\nWatching mailboxes at Dovecot, over TLS")
    if given.only in (None, "parked"):
        for count in given.mailboxes:
            parked(count, given.idle, given.ways, given.within)
    if given.only in (None, "latency"):
        latency(given.deliveries)
    if given.only in (None, "catch-up"):
        catch_up(given.messages, given.times)


if __name__ == "__main__":
    main()
