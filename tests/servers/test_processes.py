"""No server outlives who started it, and one that does not come up says why."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.servers import processes
from tests.servers.processes import Ports, ServerFailed, ServerProcess, check_open, free_port, need_program, open_folder
from tests.servers.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def alive(pid: int) -> bool:
    """Zombies are dead: whoever is to reap them may take its time."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def with_child(folder: Path) -> str:
    """A shell that starts a child, writes down both their ids, and ignores SIGTERM."""
    return f"trap '' TERM; sleep 600 & echo $$ $! > {folder}/new; mv {folder}/new {folder}/pids; wait"


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    eventually(path.exists, "the server has started")
    return [int(pid) for pid in path.read_text().split()]


def test_stop_ends_the_whole_group_however_stubborn(tmp_path: Path) -> None:
    server = ServerProcess(["/bin/sh", "-c", with_child(tmp_path)], log=tmp_path / "log", grace=0.1)
    group = pids(tmp_path)
    assert all(alive(pid) for pid in group)
    server.stop()
    eventually(lambda: not any(alive(pid) for pid in group))
    server.stop()


@pytest.mark.parametrize("end", ["exit", "SIGKILL"])
def test_no_server_outlives_the_interpreter(tmp_path: Path, end: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from tests.servers.processes import ServerProcess
        ServerProcess(["/bin/sh", "-c", {with_child(tmp_path)!r}], log=Path({str(tmp_path)!r}) / "log", grace=0.1)
        sys.stdin.readline()
        """
    )
    starter = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE)
    group = pids(tmp_path)
    if end == "SIGKILL":
        starter.send_signal(signal.SIGKILL)
    starter.communicate(b"\n" if end == "exit" else None, timeout=60)
    eventually(lambda: not any(alive(pid) for pid in group), f"{group} ended")


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    server = ServerProcess(["/bin/sh", "-c", "echo no such option >&2; exit 3"], log=tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"(?s)ended with 3.*no such option"):
        server.wait_until(lambda: False, "the thing")
    server.stop()


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(ServerFailed, match=r"apt-get install .* dovecot-imapd"):
        need_program("/usr/sbin/no-such-program", "dovecot-imapd")


def test_a_folder_that_is_closed_to_the_servers_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ServerFailed, match="closed to other users"):
        check_open(closed)
    with open_folder() as folder:
        check_open(folder)
        assert folder.stat().st_mode & 0o777 == 0o755
    assert not folder.exists()


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(20)}) == 20


def test_runs_side_by_side_take_ports_of_their_own(tmp_path: Path) -> None:
    one, other = Ports(tmp_path), Ports(tmp_path)
    taken = [{each.free() for _ in range(Ports.SHARE // 2)} for each in (one, other)]
    assert not taken[0] & taken[1]
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", one.free()))
        assert somebody.getsockname()[1] not in {one.free() for _ in range(Ports.SHARE - 1)}


def test_who_gets_no_share_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PORTS", range(20000, 20000 + Ports.SHARE))
    Ports(tmp_path)
    with pytest.raises(ServerFailed, match="every share of ports is taken"):
        Ports(tmp_path)
