"""Which user of this machine is at the other end of a connection, and whether that user may log in to an account.

Why this way: every user and every program of the machine reaches loopback, and TCP does not say who calls. The kernel
knows the other end's own socket, and whose it is. It is asked for that one (`sock_diag`) in microseconds; what that
does not tell, its tables of all connections do (proc(5), /proc/net/tcp).
"""

from __future__ import annotations

import asyncio
import asyncio.trsock
import functools
import ipaddress
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from proxyd.relay import sock_diag
from proxyd.relay.sock_diag import Row

TABLES = ("tcp", "tcp6")
NOBODY = -1  # instead of a user: the other end has been closed, what it sent is nobody's any more
OVERFLOW = 65534  # every user who has no number in our user namespace (PrivateUsers=yes, containers)
ROOT = 0
_ESTABLISHED = 1
_ROW = 400  # characters; a row has about 150
_OPEN = (_ESTABLISHED, 4, 5)  # the latter two: it has said all it had to say, and still listens


class Ends(NamedTuple):
    """A TCP connection: (address, port) of the client and of ours, and whether it still stands."""

    peer: tuple[str, int]
    own: tuple[str, int]
    stands: Callable[[], bool]


def ends_of(transport: asyncio.BaseTransport) -> Ends | None:
    """None where it is no TCP connection."""
    match transport.get_extra_info("peername"), transport.get_extra_info("sockname"):
        case (str(peer), int(peer_port), *_), (str(own), int(own_port), *_):
            stands = functools.partial(_stands, transport.get_extra_info("socket"))
            return Ends((peer, peer_port), (own, own_port), stands)
    return None


def _stands(connection: asyncio.trsock.TransportSocket) -> bool:
    """Also for a client that went without a word, before the loop has noticed it."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def known_at_once(ends: Ends) -> int | None:
    """As `user_at`, where the kernel tells it at the first question; else None. Takes microseconds; raises nothing."""
    theirs = sock_diag.ask(ends.peer, ends.own)
    uid = _user(theirs) if theirs is not None else None
    return uid if uid != OVERFLOW else None


def _user(theirs: Row) -> int:
    """Whose the other end is. A socket that its program has closed stands there for a while, as if it were root's and
    with the inode 0: whoever sends commands and is gone before we look must not pass for root."""
    return theirs.uid if theirs.inode and theirs.state in _OPEN else NOBODY


# --- the table ---------------------------------------------------------------------------------------------


def uid_of(table: str, peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The user whose socket is `peer`'s end of the connection to `own`; NOBODY where that end has been closed.

    None where the table does not tell: the peer is no user of this machine, or the table is another network's.
    `table` is what tcp, tcp6 or both hold.
    """
    theirs = _row(table, peer, own)
    if theirs is not None:
        return _user(theirs)
    ours = _row(table, own, peer)
    return NOBODY if ours is not None and ours.state != _ESTABLISHED else None


def _row(table: str, local: tuple[str, int], remote: tuple[str, int]) -> Row | None:
    for spelled in zip(_spelled(*local), _spelled(*remote), strict=False):
        start = table.find(f": {' '.join(spelled)} ")
        if start >= 0:
            fields = table[start : start + _ROW].partition("\n")[0].split()
            try:
                _, _, _, state, _queues, _timer, _retries, uid, _timeout, inode = fields[:10]
                return Row(int(state, 16), int(uid), int(inode))
            except ValueError:
                return None
    return None


def _spelled(host: str, port: int) -> list[str]:
    """As the tables write an address, each 32-bit word in the machine's own order; IPv4 also as IPv6 maps it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return []
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv6Address):
        return [_hexadecimal(address.packed, port)]
    mapped = bytes(10) + b"\xff\xff" + address.packed
    return [_hexadecimal(address.packed, port), _hexadecimal(mapped, port)]


def _hexadecimal(octets: bytes, port: int) -> str:
    words = struct.unpack(f"={len(octets) // 4}I", octets)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def user_at(ends: Ends, process: Path = Path("/proc/self")) -> int | None:
    """As `uid_of`, by the tables as they are now. Blocks for milliseconds; raises nothing."""
    uid = None
    for _ in range(2):  # the kernel gives the table in pieces, and between two a row may slip through
        uid = uid_of("".join(_text(process / "net" / name) for name in TABLES), ends.peer, ends.own)
        if uid is not None:
            break
    if uid is None and not ends.stands():  # a reset takes both rows out of the table at once
        return NOBODY
    # A namespace that maps every user is no namespace to us: there 65534 is the user of that number.
    everybody = _text(process / "uid_map").split() == ["0", "0", str(2**32 - 1)]
    return uid if uid != OVERFLOW or everybody else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""


# --- the rule ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may log in to an account. `own`: the daemon's user; `everyone`: what an account without a list means."""

    own: int = field(default_factory=os.getuid)
    everyone: bool = False

    def asks(self, listed: tuple[int, ...] | None) -> bool:
        """Whether it matters who the user is."""
        return listed is not None or not self.everyone

    def refusal(self, listed: tuple[int, ...] | None, uid: int | None) -> str:
        """Why the user `uid` (None: not known) may not use an account with the list `listed`; empty: may."""
        if not self.asks(listed):
            return ""
        if uid is None:
            return "" if listed is None else "the account has allow_uids, and it cannot be known which user this is"
        if uid == NOBODY:
            return "the client closed the connection before it could be known which user it is"
        if uid in (listed if listed is not None else (self.own,)) or uid == self.own == ROOT:
            return ""
        return "not in allow_uids" if listed is not None else "not the daemon's own user, and allow_uids is not set"
