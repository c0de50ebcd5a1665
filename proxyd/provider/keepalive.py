"""Peers that are gone without a word: TCP's own probes, on every socket of ours.

An idle connection is probed by keepalive; one on which something is under way ends when nothing was acknowledged, or
taken, for `patience`. A peer on this machine is spared that: its end is always told by the system, and a client that
was stopped for a while is not dead.

`probe` asks at once, without a word of the protocol: after the machine has slept or its network has changed, a
connection may be half-open, and whoever waits on it would learn so after minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import socket
import struct
import termios
from typing import Any

IDLE, INTERVAL, COUNT = 60, 15, 4  # seconds until the first probe, between probes, probes
PATIENCE = 120.0  # seconds
PATIENCE_SMTP = 180.0  # seconds: RFC 5321 section 4.5.3.2.5 lets a server take three minutes over a block of data
PROBES = 3  # of `probe`, a second apart
PROBED = 6.0  # seconds until all is as it was


def keep_alive(sock: Any, patience: float = PATIENCE) -> None:
    """`sock` is a connected socket, or what an asyncio transport shows of it. Never raises."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _set(sock, IDLE, INTERVAL, COUNT)
        if not _on_this_machine(sock):
            _give_up_after(sock, patience)


async def probe(sock: Any, patience: float = PATIENCE) -> None:
    """See now whether the peer still stands; where it does not, the socket's owner hears so within some seconds."""
    with contextlib.suppress(OSError, ValueError):  # closed by now
        before = 0.0 if _on_this_machine(sock) else patience
        for _ in range(2):  # a command that came while the first was under way stops the probes
            _give_up_after(sock, PROBES + 1.0 if _unacknowledged(sock) else 0.0)
            _set(sock, 1, 1, PROBES)
            try:
                await asyncio.sleep(PROBED)
            finally:
                _give_up_after(sock, before)
                _set(sock, IDLE, INTERVAL, COUNT)
            if not _unacknowledged(sock):
                return


def _set(sock: Any, idle: int, interval: int, count: int) -> None:
    """Shortening the first makes the system probe at once where the connection has been idle for so long."""
    _option(sock, "TCP_KEEPINTVL", interval)
    _option(sock, "TCP_KEEPCNT", count)
    _option(sock, "TCP_KEEPIDLE", idle)


def _give_up_after(sock: Any, seconds: float) -> None:
    _option(sock, "TCP_USER_TIMEOUT", round(seconds * 1000))


def _option(sock: Any, name: str, value: int) -> None:
    """Not every system has every one."""
    if (option := getattr(socket, name, None)) is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _unacknowledged(sock: Any) -> int:
    """Octets that the peer has not acknowledged (SIOCOUTQ of tcp(7))."""
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])


def _on_this_machine(sock: Any) -> bool:
    peer = sock.getpeername()
    if not isinstance(peer, tuple):
        return True
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
