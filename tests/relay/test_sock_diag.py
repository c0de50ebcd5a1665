"""The kernel asked for one socket: what is asked and told, octet by octet, and over real sockets beside its tables."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.relay import sock_diag
from proxyd.relay.peer import NOBODY, TABLES, Ends, known_at_once, uid_of
from proxyd.relay.sock_diag import Row, answer, ask, question

CLIENT, OURS = (ip_address("127.0.0.1"), 50000), (ip_address("127.0.0.1"), 1587)
CLIENT_6, OURS_6 = (ip_address("::1"), 50000), (ip_address("::1"), 1587)
LOOP = bytes([127, 0, 0, 1]) + bytes(12)
MAPPED = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
LOOP_6 = bytes(15) + b"\1"

# --- octets -------------------------------------------------------------------------------------------------


def told(
    local: bytes = LOOP,
    remote: bytes = LOOP,
    *,
    family: int = socket.AF_INET,
    ports: tuple[int, int] = (50000, 1587),
    state: int = 1,
    uid: int = 1000,
    inode: int = 7431,
    kind: int = 20,
) -> bytes:
    id = struct.pack("!HH16s16s", *ports, local, remote) + bytes(12)
    row = struct.pack("=BBBB", family, state, 0, 0) + id + struct.pack("=IIIII", 0, 0, 0, uid, inode)
    return struct.pack("=IHHII", 16 + len(row), kind, 0, 0, 4711) + row


@pytest.mark.parametrize(
    ("octets", "local", "remote", "row"),
    [
        pytest.param(told(), CLIENT, OURS, Row(1, 1000, 7431), id="IPv4"),
        pytest.param(told(LOOP_6, LOOP_6, family=socket.AF_INET6), CLIENT_6, OURS_6, Row(1, 1000, 7431), id="IPv6"),
        pytest.param(
            told(MAPPED, MAPPED, family=socket.AF_INET6), CLIENT, OURS, Row(1, 1000, 7431), id="IPv4 at an IPv6 socket"
        ),
        pytest.param(told(uid=0, inode=0, state=5), CLIENT, OURS, Row(5, 0, 0), id="closed"),
        pytest.param(told() + bytes(40), CLIENT, OURS, Row(1, 1000, 7431), id="attributes behind it"),
        pytest.param(told(ports=(50000, 0), remote=bytes(16), state=10), CLIENT, OURS, None, id="who listens there"),
        pytest.param(told(ports=(50001, 1587)), CLIENT, OURS, None, id="another client"),
        pytest.param(told(LOOP_6, LOOP_6, family=socket.AF_INET6), CLIENT, OURS, None, id="of the other kind"),
        pytest.param(told(kind=2), CLIENT, OURS, None, id="an error"),
        pytest.param(
            struct.pack("=IHHIIi", 36, 2, 0, 0, 4711, -2) + bytes(16), CLIENT, OURS, None, id="no such socket"
        ),
        pytest.param(told()[:-1], CLIENT, OURS, None, id="cut short"),
        pytest.param(b"", CLIENT, OURS, None, id="nothing"),
    ],
)
def test_what_is_told(
    octets: bytes, local: tuple[sock_diag.Address, int], remote: tuple[sock_diag.Address, int], row: Row | None
) -> None:
    assert answer(octets, local, remote) == row


@given(st.binary(max_size=200) | st.binary(min_size=70, max_size=120).map(lambda octets: told()[:20] + octets))
def test_no_octets_break_it(octets: bytes) -> None:
    answer(octets, CLIENT, OURS)


def test_what_is_asked() -> None:
    octets = question(CLIENT, OURS)
    assert struct.unpack_from("=IHHII", octets) == (len(octets), 20, 1, 0, 0)
    assert octets[16:18] == bytes([socket.AF_INET, socket.IPPROTO_TCP])
    assert octets[24:28] == struct.pack("!HH", 50000, 1587)
    assert octets[28:60] == LOOP + LOOP
    assert len(octets) == 16 + 56  # inet_diag_req_v2
    assert question(CLIENT_6, OURS_6)[16] == socket.AF_INET6


# --- real sockets -------------------------------------------------------------------------------------------


def asks_the_kernel() -> bool:
    if not hasattr(socket, "AF_NETLINK"):
        return False
    with connection("127.0.0.1", "127.0.0.1") as (ours, _):
        return ask(*names(ours)) is not None


@contextlib.contextmanager
def connection(listener: str, host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(our end, the client's)"""
    with socket.socket(socket.AF_INET6 if ":" in listener else socket.AF_INET) as server:
        if listener == "::":
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((listener, 0))
        server.listen()
        with socket.create_connection((host, server.getsockname()[1])) as client, server.accept()[0] as ours:
            yield ours, client


def names(ours: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    return ours.getpeername()[:2], ours.getsockname()[:2]


def in_the_tables(ours: tuple[tuple[str, int], tuple[str, int]]) -> int | None:
    return uid_of("".join(Path(f"/proc/self/net/{name}").read_text() for name in TABLES), *ours)


def at_once(ours: tuple[tuple[str, int], tuple[str, int]]) -> int | None:
    return known_at_once(Ends(*ours, lambda: True))


kernel = pytest.mark.skipif(not asks_the_kernel(), reason="this kernel does not answer sock_diag(7)")


@kernel
@pytest.mark.parametrize(
    ("listener", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")],
    ids=["IPv4", "IPv6", "IPv4 at an IPv6 listener", "IPv6 at a listener for all"],
)
def test_it_tells_what_the_tables_tell(listener: str, host: str) -> None:
    with connection(listener, host) as (ours, client):
        both = names(ours)
        assert at_once(both) == in_the_tables(both) == os.getuid()
        client.shutdown(socket.SHUT_WR)  # it listens still
        assert at_once(both) == in_the_tables(both) == os.getuid()
        client.close()
        assert at_once(both) == in_the_tables(both) == NOBODY


@kernel
def test_a_client_that_reset_the_connection_is_not_found() -> None:
    with connection("127.0.0.1", "127.0.0.1") as (ours, client):
        both = names(ours)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert at_once(both) is None  # and who asks goes on to the tables, and to the connection itself


@kernel
def test_who_listens_where_a_client_was_is_not_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert ask(listener.getsockname(), ("127.0.0.1", 9)) is None


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        pytest.param(("localhost", 1), ("127.0.0.1", 2), id="not an address"),
        pytest.param(("127.0.0.1", 1), ("::1", 2), id="of two kinds"),
        pytest.param(("127.0.0.1", 1), ("127.0.0.1", 70000), id="not a port"),
        pytest.param(("127.0.0.1", 1), ("127.0.0.1", 2), id="no such connection"),
    ],
)
def test_what_cannot_be_asked(peer: tuple[str, int], own: tuple[str, int]) -> None:
    assert ask(peer, own) is None


def test_where_netlink_is_refused_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under RestrictAddressFamilies= without AF_NETLINK."""
    with connection("127.0.0.1", "127.0.0.1") as (ours, _):
        both = names(ours)
        monkeypatch.setattr(socket, "AF_NETLINK", 12345, raising=False)
        assert ask(*both) is None
        assert in_the_tables(both) == os.getuid()
