"""`python -m tests.bench.sending`: one message, many sessions, many large messages, and a provider that is far away.

Every figure is taken direct and through proxyd with the same client, TLS and AUTH on each leg, the durable journal
included; printed as a ratio to direct. The aims beside them are the project's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxyd.provider.smtp import KEEP_FOR
from tests.bench.sink import TlsSink
from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.delay import Delay
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.processes import open_folder

SMALL, LARGE, HUGE = 5_000, 1_000_000, 25_000_000
QUIET = "sent_copy: {of: nothing}\n"  # else thousands of Sent copies are filed while we measure
EACH_WAY = 0.020


@dataclass
class Figures:
    """What the clients saw; times in seconds."""

    times: list[float]
    took: float
    faults: list[str] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else float("nan")

    @property
    def per_second(self) -> float:
        return len(self.times) / self.took


@dataclass(frozen=True)
class Way:
    """Where clients send to."""

    name: str
    port: int
    ca: Path
    password: str


class Clients:
    """Runs the load in its process; every message has a Message-ID of its own."""

    def __init__(self) -> None:
        self._runs = 0

    def send(self, way: Way, **options: Any) -> Figures:
        self._runs += 1
        arguments = [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.bench.load", f"--port={way.port}", f"--ca={way.ca}"),
                *(f"--user={PERSON}", f"--password={way.password}", f"--to={CUSTOMER}"),
                *(f"--tag={os.getpid()}.{self._runs}", *arguments),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"the load on {way.name} failed: {done.stderr[-2000:]}")
        figures = Figures(**json.loads(done.stdout))
        if figures.faults:
            print(f"    {len(figures.faults)} sessions failed ({way.name}): {figures.faults[0]}")
        return figures


class Memory:
    """How much a process grows while the block runs, in octets: its resident set, looked at every few milliseconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self.before = self.peak = self.now()

    def __enter__(self) -> Memory:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def now(self) -> int:
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.peak = max(self.peak, self.now())

    @property
    def growth(self) -> int:
        return self.peak - self.before


def cpu_seconds(pid: int) -> float:
    """What a process has spent so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def line(what: str, direct: str, proxied: str, ratio: str, aim: str = "") -> None:
    print(f"{what:<56}{direct:>12}{proxied:>14}{ratio:>10}  {aim}", flush=True)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


class Bench:
    def __init__(self, provider: Provider, folder: Path, share: float) -> None:
        self.provider = provider
        self.folder = folder
        self.share = share
        self.clients = Clients()
        self._rigs = 0

    def count(self, full: int) -> int:
        return max(3, int(full * self.share))

    @contextlib.contextmanager
    def through(self, port: int, more: str = QUIET) -> Iterator[tuple[Way, Rig]]:
        """A daemon whose provider's SMTP is on `port`."""
        self._rigs += 1
        rig = Rig(self.folder / f"rig{self._rigs}", self.provider)
        rig.write_account(self.provider.account_yaml(smtp_port=port, client_password=rig.client_password, more=more))
        rig.start()
        try:
            rig.connected()
            way = Way("proxyd", rig.port("smtps"), rig.data / "ca.pem", CLIENT_PASSWORD)
            self.clients.send(way, count=10)  # imports, first connection, first commit
            yield way, rig
        finally:
            rig.stop()

    def direct(self, port: int) -> Way:
        return Way("direct", port, self.provider.ca.ca, PASSWORD)

    # --- the figures

    def one_message(self, direct: Way, proxied: Way, *, aims: bool) -> None:
        for size, name, count, aim in ((SMALL, "5 KB", 400, "<= 2.0"), (LARGE, "1 MB", 80, "<= 6.0")):
            for how, options in (("connect to 250", {}), ("in an open session", {"sessions": 1})):
                many = {"size": size, "count": self.count(count)} | options
                told = [self.clients.send(way, **many) for way in (direct, proxied)]
                for q, mark in ((0.5, "p50"), (0.99, "p99")):
                    a, b = (figures.quantile(q) for figures in told)
                    wanted = aim if aims and mark == "p50" else ""
                    line(f"one message of {name}, {how}, {mark}", ms(a), ms(b), f"{b / a:.2f}", wanted)

    def many_sessions(self, direct: Way, proxied: Way, rig: Rig, *, aims: bool) -> None:
        for how, again in (("connecting for each", 1), ("that stay", 0)):
            for sessions, count in ((1, 300), (10, 60), (50, 20)):
                told = []
                for way in (direct, proxied):
                    before = cpu_seconds(rig.pid)
                    told.append(self.clients.send(way, sessions=sessions, count=self.count(count), again=again))
                    spent = cpu_seconds(rig.pid) - before
                a, b = (figures.per_second for figures in told)
                busy = (
                    f"daemon's CPU {spent / told[1].took:.0%}, {spent / max(1, len(told[1].times)) * 1000:.2f} ms each"
                )
                aim = ">= 0.40; " if aims and sessions == 50 and again else ""
                what = f"5 KB messages per second, {sessions} sessions {how}"
                line(what, f"{a:.0f}", f"{b:.0f}", f"{b / a:.2f}", aim + busy)

    def memory(self, proxied: Way, rig: Rig) -> None:
        with Memory(rig.pid) as memory:
            figures = self.clients.send(proxied, sessions=20, count=1, size=HUGE)
        line(
            "growth with twenty 25 MB messages at once",
            "",
            f"{memory.growth / 2**20:.0f} MiB",
            "",
            f"<= 64 MiB; from {memory.before / 2**20:.0f} MiB; {len(figures.times)} sent in {figures.took:.1f} s",
        )

    def far_away(self, port: int) -> None:
        with Delay(port, each_way=EACH_WAY) as far:
            direct = self.clients.send(self.direct(far.port), count=self.count(20))
            with self.through(far.port) as (way, _):
                proxied = self.clients.send(way, count=self.count(20))
            a, b = direct.quantile(0.5), proxied.quantile(0.5)
            line("provider 40 ms away, connect to 250, p50", ms(a), ms(b), f"{b / a:.2f}", "<= 0.20")

    def after_a_pause(self, port: int) -> None:
        """The wait for a message when no connection is kept any more: longer than KEEP_FOR after the last one."""
        with Delay(port, each_way=EACH_WAY) as far, self.through(far.port) as (way, _):
            direct = self.clients.send(self.direct(far.port), count=3).quantile(0.5)
            threading.Event().wait(KEEP_FOR + 3)
            cold = self.clients.send(way, count=1).times[0]
            line("  the first one after a long pause", ms(direct), ms(cold), f"{cold / direct:.2f}")

    def against(self, name: str, port: int, *, aims: bool) -> None:
        print(f"\n{name}")
        line("", "direct", "proxyd", "ratio", "aim")
        direct = self.direct(port)
        self.clients.send(direct, count=10)
        with self.through(port) as (proxied, rig):
            self.one_message(direct, proxied, aims=aims)
            self.many_sessions(direct, proxied, rig, aims=aims)
            if aims:
                self.memory(proxied, rig)
        if aims:
            self.far_away(port)
            if self.share >= 1:
                self.after_a_pause(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="what sending costs through proxyd, as against direct")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of messages")
    parser.add_argument("--only", choices=("sink", "postfix"), help="one kind of provider")
    given = parser.parse_args()
    discard = {"settings": {"virtual_transport": "discard:", "default_transport": "discard:"}}
    with open_folder() as folder, Provider(folder, postfix=discard) as provider:
        bench = Bench(provider, folder, given.share)
        if given.only != "postfix":
            with TlsSink(folder, provider.ca.leaf) as sink:
                bench.against("To a sink that only says yes", sink.port, aims=True)
        if given.only != "sink":
            bench.against("To Postfix (its own queue on disk), then discarded", provider.postfix.smtps_port, aims=False)


if __name__ == "__main__":
    main()
