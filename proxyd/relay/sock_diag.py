"""One socket of this machine, asked of the kernel by its connection's four numbers (sock_diag(7)).

Why this way: the tables of proc(5) tell the same, but are written out whole for each reader: milliseconds on a quiet
machine, more with each connection. Here one request and one answer pass through a netlink socket, in microseconds.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ASKED = struct.Struct("=BBBBI")  # inet_diag_req_v2 as far as the socket's id: family, protocol, ext, pad, states
_ID = struct.Struct("!HH16s16s4x8s")  # inet_diag_sockid: ports, addresses, any interface, cookie
_TOLD = struct.Struct("=BBBB48xIIIII")  # inet_diag_msg: family, state, …, the id, expires, queues, uid, inode
_NO_COOKIE = b"\xff" * 8
_EVERY_STATE = 0xFFFFFFFF
_LONGEST = 8192  # octets of an answer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Row(NamedTuple):
    """What the kernel tells of a socket. `state` as in TCP_ESTABLISHED = 1 …; `inode` is 0 where it has been closed."""

    state: int
    uid: int
    inode: int


def question(local: tuple[Address, int], remote: tuple[Address, int]) -> bytes:
    """Which TCP socket is `local` and connected to `remote`? IPv4 finds an IPv6 socket that speaks it, too."""
    family = socket.AF_INET if local[0].version == 4 else socket.AF_INET6
    name = _ID.pack(local[1], remote[1], local[0].packed, remote[0].packed, _NO_COOKIE)
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, _EVERY_STATE) + name
    return _HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + asked


def answer(octets: bytes, local: tuple[Address, int], remote: tuple[Address, int]) -> Row | None:
    """None where it is an error, or tells of another socket: the kernel gives who listens on `local`, where nobody
    there is connected to `remote`."""
    if len(octets) < _HEADER.size + _TOLD.size or _HEADER.unpack_from(octets)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    family, state, _, _, _, _, _, uid, inode = _TOLD.unpack_from(octets, _HEADER.size)
    local_port, remote_port, here, there, _ = _ID.unpack_from(octets, _HEADER.size + 4)
    size = 4 if family == socket.AF_INET else 16
    found = (_address(here[:size]), local_port), (_address(there[:size]), remote_port)
    return Row(state, uid, inode) if found == (local, remote) else None


def ask(local: tuple[str, int], remote: tuple[str, int]) -> Row | None:
    """None where there is no such socket, or the kernel cannot be asked. Takes microseconds; raises nothing."""
    try:
        ends = (_address_of(local[0]), local[1]), (_address_of(remote[0]), remote[1])
        if ends[0][0].version != ends[1][0].version:
            return None
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
            kernel.send(question(*ends))  # it has been answered when this returns
            octets, (sender, _) = kernel.recvfrom(_LONGEST, socket.MSG_DONTWAIT)
    except (OSError, ValueError, AttributeError, struct.error):  # refused, no address, not Linux
        return None
    return answer(octets, *ends) if sender == 0 else None


def _address_of(host: str) -> Address:
    return _plain(ipaddress.ip_address(host.partition("%")[0]))


def _address(packed: bytes) -> Address:
    return _plain(ipaddress.ip_address(packed))


def _plain(address: Address) -> Address:
    """IPv4 that IPv6 maps is IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
