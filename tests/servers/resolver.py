"""dnsmasq on loopback: a real name server that knows what a test tells it, and that there is nothing else."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.servers.processes import Server, ServerProcess, free_port, need_program


class Resolver(Server):
    """`srv`: (service, domain, target, port), e.g. ("_imaps._tcp", "example.test", "localhost", 993); a target of ""
    says that there is no such service. `mx`: (domain, host, preference). `hosts`: names of 127.0.0.1."""

    def __init__(
        self,
        folder: Path,
        *,
        srv: Sequence[tuple[str, str, str, int]] = (),
        mx: Sequence[tuple[str, str, int]] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = "127.0.0.1"
        self.port = free_port()
        self._hosts = hosts
        self._records = [f"--srv-host={service}.{domain},{target},{port}" for service, domain, target, port in srv]
        self._records += [f"--mx-host={domain},{host},{preference}" for domain, host, preference in mx]
        self._process: ServerProcess | None = None

    @property
    def place(self) -> str:
        """As `--nameserver` takes it."""
        return f"{self.address}:{self.port}"

    def for_the_system(self) -> Path:
        """Before the start: at the port that resolv.conf(5) knows, on an address that is nobody else's. Returns such a
        file; where nobody answers, a name costs a second."""
        self.address, self.port = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.53", 53
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "resolv.conf"
        file.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:1\n")
        return file

    def start(self) -> None:
        self._start("--local=/#/", *(f"--address=/{each}/127.0.0.1" for each in self._hosts))

    def forget(self) -> None:
        """From now on there is no such name (NXDOMAIN)."""
        self.stop()
        self._start("--local=/#/")

    def fail(self) -> None:
        """From now on it knows nobody whom to ask, and says so (REFUSED)."""
        self.stop()
        self._start()

    def fall_silent(self) -> None:
        """From now on it does not answer."""
        assert self._process is not None
        self._process.signal_group(signal.SIGSTOP)

    def _start(self, *knowledge: str) -> None:
        program = need_program("/usr/sbin/dnsmasq", "dnsmasq-base")
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]
        options += [f"--port={self.port}", f"--listen-address={self.address}", "--bind-interfaces", *knowledge]
        options += ["--pid-file", "--log-facility=-"]
        self._process = ServerProcess([program, *options, *self._records], log=self.folder / "dnsmasq.log")
        self._process.wait_until(self._answers, "dnsmasq")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _answers(self) -> bool:
        try:
            dns.query.udp(dns.message.make_query("ready.test.", "A"), self.address, port=self.port, timeout=0.2)
        except (dns.exception.DNSException, OSError):
            return False
        return True
