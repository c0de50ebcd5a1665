"""A peer that is gone without a word: TCP's own options on every socket, and the probe on demand."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest

from proxyd.provider import keepalive
from proxyd.provider.keepalive import COUNT, IDLE, INTERVAL, PATIENCE, PROBED, PROBES, keep_alive, probe
from proxyd.workers import start
from tests.looping import on_the_loop
from tests.servers.swallow import TCP_REPAIR


@contextmanager
def connected(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        near = socket.create_connection(listening.getsockname()[:2])
        far, _ = listening.accept()
    with near, far:
        yield near, far


def options(sock: socket.socket) -> tuple[int, ...]:
    tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    return tuple(sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp)


class Elsewhere:
    """A socket whose peer looks as if it were on another machine."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        self._peer = peer

    def getpeername(self) -> tuple[str, int]:
        return self._peer, 993

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize(
    ("peer", "patience"),
    [
        ("127.0.0.1", 0),
        ("::1", 0),
        ("::ffff:127.0.0.1", 0),
        ("198.51.100.7", PATIENCE),
        ("2001:db8::7", PATIENCE),
        ("fe80::7%eth0", PATIENCE),
    ],
)
def test_what_is_set(peer: str, patience: float) -> None:
    with connected() as (near, _):
        keep_alive(Elsewhere(near, peer))
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert options(near) == (IDLE, INTERVAL, COUNT, patience * 1000)


def test_a_closed_socket_is_no_fault() -> None:
    with connected() as (near, _):
        near.close()
        keep_alive(near)


@on_the_loop
async def test_a_peer_that_stands_hears_nothing_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "PROBED", 0.2)
    with connected() as (near, far):
        keep_alive(near)
        before = options(near)
        await probe(near)
        assert options(near) == before
        near.send(b"still here")
        assert far.recv(100) == b"still here"


@on_the_loop
async def test_a_peer_that_forgot_the_connection_is_noticed_at_once() -> None:
    loop = asyncio.get_running_loop()
    with connected() as (near, far):
        near.setblocking(False)
        keep_alive(near)
        far.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        far.close()
        begun = monotonic()
        probing = start(probe(near), "test")
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(near, 1)
        assert monotonic() - begun < PROBED
        probing.cancel()
        await asyncio.wait([probing])


_numbers = itertools.count()


@dataclass
class FarAway:
    """A server in a network namespace of its own, whose address can be taken away: nobody answers then, in no way."""

    name: str
    address: str = "198.18.77.2"  # of the block for benchmarks, RFC 2544

    def ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def lose(self) -> None:
        self.ip("-n", self.name, "addr", "del", f"{self.address}/24", "dev", "far")


@pytest.fixture
def far_away() -> Iterator[FarAway]:
    name = f"px{os.getpid()}-{next(_numbers)}"  # a namespace lives on for a moment after its end
    far, near = FarAway(name), name
    try:
        far.ip("netns", "add", far.name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to make a network namespace")
    try:
        far.ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", far.name)
        far.ip("addr", "add", "198.18.77.1/24", "dev", near)
        far.ip("link", "set", near, "up")
        far.ip("-n", far.name, "addr", "add", f"{far.address}/24", "dev", "far")
        far.ip("-n", far.name, "link", "set", "far", "up")
        script = f"import socket; s = socket.create_server(('{far.address}', 9000)); print('up', flush=True)\n"
        script += "kept = [s.accept()]; kept[0][0].send(b'hi'); s.accept()"
        command = ["ip", "netns", "exec", far.name, sys.executable, "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            yield far
            server.kill()
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", far.name], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("before", "during", "within"),
    [
        pytest.param(b"", b"", PROBES + 2, id="idle"),
        pytest.param(b"a NOOP", b"", PROBES + 2, id="something under way"),
        pytest.param(b"", b"a NOOP", PROBED + PROBES + 2, id="a command while it is probed"),
    ],
)
@on_the_loop
async def test_a_peer_that_answers_nothing(far_away: FarAway, before: bytes, during: bytes, within: float) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_connection((far_away.address, 9000)) as sock:
        assert sock.recv(2) == b"hi"
        sock.setblocking(False)
        keep_alive(sock)
        far_away.lose()
        sock.send(before)
        begun = monotonic()
        probing = start(probe(sock), "test")
        await asyncio.sleep(0)
        sock.send(during)
        with pytest.raises(TimeoutError):
            await loop.sock_recv(sock, 1)
        assert monotonic() - begun < within
        probing.cancel()
        await asyncio.wait([probing])


@on_the_loop
async def test_a_closed_socket_is_not_probed() -> None:
    with connected() as (near, _):
        near.close()
        await probe(near)
