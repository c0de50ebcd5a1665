"""dnsmasq on loopback: a real name server that knows what a test tells it, and that there is nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.servers.processes import Server, ServerProcess, free_port, need_program


class Resolver(Server):
    """`srv`: (service, domain, target, port), e.g. ("_imaps._tcp", "example.test", "localhost", 993); a target of ""
    says that there is no such service. `mx`: (domain, host, preference)."""

    def __init__(
        self, folder: Path, *, srv: Sequence[tuple[str, str, str, int]] = (), mx: Sequence[tuple[str, str, int]] = ()
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._records = [f"--srv-host={service}.{domain},{target},{port}" for service, domain, target, port in srv]
        self._records += [f"--mx-host={domain},{host},{preference}" for domain, host, preference in mx]
        self._process: ServerProcess | None = None

    @property
    def place(self) -> str:
        """As `--nameserver` takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        program = need_program("/usr/sbin/dnsmasq", "dnsmasq-base")
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]
        options += [f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/#/"]
        options += ["--pid-file", "--log-facility=-"]
        self._process = ServerProcess([program, *options, *self._records], log=self.folder / "dnsmasq.log")
        self._process.wait_until(self._answers, "dnsmasq")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _answers(self) -> bool:
        try:
            dns.query.udp(dns.message.make_query("ready.test.", "A"), "127.0.0.1", port=self.port, timeout=0.2)
        except (dns.exception.DNSException, OSError):
            return False
        return True
