"""A peer that is gone without a word: TCP's own options on every socket, and the probe on demand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from proxyd.provider import keepalive
from proxyd.provider.keepalive import COUNT, IDLE, INTERVAL, PATIENCE, PROBED, keep_alive, probe
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


@on_the_loop
async def test_a_closed_socket_is_not_probed() -> None:
    with connected() as (near, _):
        near.close()
        await probe(near)
