"""`python -m tests.bench start`: how soon the daemon is there, and what it weighs when nothing happens.

Counted from the exec: until systemd is told READY=1, and until a client that was there before the daemon (its socket
is handed over, as systemd does it) has its greeting. Beside it, in the same run, what Python itself takes, and the
import of just the libraries that the daemon has loaded: nothing of ours can be sooner. `at rest` is with every account
connected. Everything has been compiled and the records made by a start that is not counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.many import connected
from tests.bench.sending import Memory, cpu_seconds, line, ms
from tests.scenarios.rig import PATIENCE, Rig
from tests.servers.mailprovider import PASSWORD, Provider
from tests.servers.processes import open_folder

PYTHON = sys.executable
Spent = tuple[float, float]  # seconds by the clock, and of the processor
REST = 5.0  # seconds after everybody is connected
ON_FD_3 = 'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"'  # what sd_listen_fds(3) wants of its caller
LOADED = """\
import asyncio, sys
from twisted.internet import asyncioreactor
asyncioreactor.install(asyncio.new_event_loop())
import proxyd.cli.run, proxyd.daemon.process
print(*(name for name in sys.modules if name.partition(".")[0] not in ("proxyd", "__main__")))
"""
IMPORT = """\
import contextlib, importlib, sys
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):  # names that a library gives itself
        importlib.import_module(name)
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the exec."""

    ready: float
    greeted: float
    cpu: float  # until it was ready


class Daemons:
    """The daemon of one configuration, started again and again."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._path = rig.folder / "notify"
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(self._path))
        self._told.settimeout(PATIENCE)
        self.environment = rig.environment | {"NOTIFY_SOCKET": str(self._path)}

    def start(self) -> tuple[subprocess.Popen[bytes], Start]:
        listening = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"}
        command = ["sh", "-c", ON_FD_3, "sh", PYTHON, "-m", "proxyd", "run"]
        greeted: list[float] = []
        with socket.create_server(("127.0.0.1", 0)) as door, socket.create_connection(door.getsockname()) as client:
            client.settimeout(PATIENCE)

            def hear() -> None:
                assert client.recv(3) == b"220"
                greeted.append(time.perf_counter())

            hearing = threading.Thread(target=hear)
            begun = time.perf_counter()
            with self.rig.log.open("ab") as log:
                process = subprocess.Popen(
                    command, stdin=door.fileno(), stdout=log, stderr=log, env=self.environment | listening
                )
            hearing.start()
            while b"READY=1" not in self._told.recv(65536):
                pass
            ready, cpu = time.perf_counter() - begun, cpu_seconds(process.pid)
            hearing.join()
        return process, Start(ready, greeted[0] - begun, cpu)

    def close(self) -> None:
        self._told.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def took(command: Sequence[str], environment: dict[str, str] | None = None) -> Spent:
    """What a command takes. It may say that something needs a person."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1), command
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime


def middle(of: Sequence[Spent]) -> Spent:
    return statistics.median(wall for wall, _ in of), statistics.median(cpu for _, cpu in of)


def row(what: str, spent: Spent, library: Spent, python: Spent) -> None:
    wall, cpu = spent
    line(what, ms(wall), ms(cpu), f"{cpu / library[1]:.2f}", f"{cpu / python[1]:.0f}")


def rig_of(folder: Path, provider: Provider, people: Sequence[str]) -> Rig:
    rig = Rig(folder, provider)
    (rig.config / "proxyd.yaml").write_text(
        'listen: {smtp: "127.0.0.1:1587", smtps: "127.0.0.1:0", imap: "127.0.0.1:0", imaps: "127.0.0.1:0", '
        'web: "127.0.0.1:0"}\n'  # smtp's is handed over
    )
    (rig.config / "accounts.d/ada.yaml").unlink()
    for n, address in enumerate(people):
        rig.write_account(provider.account_yaml(address, client_password=rig.client_password), f"person{n}")
    return rig


def at_rest(daemons: Daemons, people: Sequence[str]) -> tuple[float, Spent]:
    """MiB resident, and what `proxyd status` takes."""
    process, _ = daemons.start()
    try:
        connected(daemons.rig, list(people))
        threading.Event().wait(REST)
        size = Memory(process.pid).now() / 2**20
        return size, middle([took([PYTHON, "-m", "proxyd", "status"], daemons.environment) for _ in range(4)][1:])
    finally:
        stop(process)


def main() -> None:
    parser = argparse.ArgumentParser(description="how soon the daemon is there, and what it weighs")
    parser.add_argument("--accounts", type=int, nargs="+", default=[1, 40])
    parser.add_argument("--times", type=int, default=9, help="of each")
    given = parser.parse_args()
    everybody = [f"person{n}@example.test" for n in range(max(given.accounts))]
    with (
        open_folder() as folder,
        Provider(folder, more_users=dict.fromkeys(everybody, PASSWORD)) as provider,
    ):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        loaded = subprocess.run([PYTHON, "-c", LOADED], capture_output=True, text=True, check=True)
        libraries = loaded.stdout.split()
        bare: list[Spent] = []
        imports: list[Spent] = []
        starts: dict[int, list[Start]] = {}
        daemons = {}
        for count in given.accounts:
            made = Daemons(rig_of(folder / f"of{count}", provider, everybody[:count]))
            process, first = made.start()
            stop(process)
            daemons[count], starts[count] = made, []
        for _ in range(given.times):  # in turns: what else the machine does is shared by all
            bare.append(took([PYTHON, "-c", "pass"]))
            imports.append(took([PYTHON, "-c", IMPORT, *libraries]))
            for count, of in daemons.items():
                process, start = of.start()
                stop(process)
                starts[count].append(start)
        resting = {count: at_rest(of, everybody[:count]) for count, of in daemons.items()}
        for of in daemons.values():
            of.close()
    python, library = (middle(each) for each in (bare, imports))
    line("the ratios are those of CPU", "by the clock", "CPU", "to imports", "to python -c pass")
    row("python -c pass", python, library, python)
    row(f"its {len(libraries)} modules of others imported", library, library, python)
    row("the first start: the records are made", (first.ready, first.cpu), library, python)
    for count, each in starts.items():
        size, asked = resting[count]
        row(f"{count} accounts: READY=1", middle([(s.ready, s.cpu) for s in each]), library, python)
        line(f"{count} accounts: a waiting client is greeted", ms(statistics.median(s.greeted for s in each)), "", "")
        line(f"{count} accounts: resident at rest", f"{size:.0f} MiB", "", "")
        row(f"{count} accounts: proxyd status", asked, library, python)


if __name__ == "__main__":
    main()
