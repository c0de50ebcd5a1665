"""Which user a client is: the kernel's tables, the rule, and logins of other users over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from proxyd.relay.login import Logins
from proxyd.relay.peer import NOBODY, OVERFLOW, Admission, Ends, ends_of, uid_of, user_at
from proxyd.workers import SystemClock, Workers
from tests.looping import on_the_loop
from tests.relay.house import PASSWORD, House, account, house, plain

# --- the parser ---------------------------------------------------------------------------------------------

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
V4, OURS = ("127.0.0.1", 50000), ("127.0.0.1", 1587)
V6, OURS_6 = ("::1", 50000), ("::1", 1587)
LAN = ("2001:db8::a:b", 50000)
LOOP = "0100007F"
MAPPED = "0000000000000000FFFF0000" + LOOP
LOOP_6 = "00000000000000000000000001000000"


def row(local: str, remote: str, uid: int = 1000, state: str = "01", inode: int = 7431) -> str:
    return (
        f"   3: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 {inode} "
        "1 00000000a4b27e5b 20 4 30 10 -1".ljust(149)
        + "\n"
    )


def table(*rows: str) -> str:
    return HEAD + "".join(rows)


THEIRS, MINE = f"{LOOP}:C350", f"{LOOP}:0633"


@pytest.mark.skipif(sys.byteorder != "little", reason="the rows here were written by a little-endian machine")
@pytest.mark.parametrize(
    ("text", "peer", "own", "uid"),
    [
        pytest.param(table(row(THEIRS, MINE)), V4, OURS, 1000, id="IPv4"),
        pytest.param(table(row(f"{LOOP_6}:C350", f"{LOOP_6}:0633")), V6, OURS_6, 1000, id="IPv6"),
        pytest.param(
            table(row(f"{MAPPED}:C350", f"{MAPPED}:0633")), V4, OURS, 1000, id="an IPv6 socket that speaks IPv4"
        ),
        pytest.param(
            table(row(THEIRS, MINE)), ("::ffff:127.0.0.1", 50000), ("::ffff:127.0.0.1", 1587), 1000, id="our end does"
        ),
        pytest.param(
            table(row("B80D01200000000000000000" + "0B000A00:C350", f"{LOOP_6}:0633")), LAN, OURS_6, 1000, id="words"
        ),
        pytest.param(table(row(THEIRS, MINE, 0)), V4, OURS, 0, id="root"),
        pytest.param(table(row(THEIRS, MINE, 4294967294)), V4, OURS, 4294967294, id="the greatest"),
        pytest.param(table(row(MINE, THEIRS, 2000), row(THEIRS, MINE)), V4, OURS, 1000, id="our own row comes first"),
        pytest.param(table(row(MINE, THEIRS, 2000)), V4, OURS, None, id="only our own row"),
        pytest.param(table(row(THEIRS, f"{LOOP}:0634")), V4, OURS, None, id="another connection from the same port"),
        pytest.param(table(row(f"{LOOP}:C351", MINE)), V4, OURS, None, id="another client"),
        pytest.param(table(row(THEIRS, "00000000:0000", state="0A")), V4, OURS, None, id="who listens there"),
        pytest.param(table(row(THEIRS, MINE)), V6, OURS_6, None, id="of the other kind"),
        pytest.param(table(row(THEIRS, MINE, state="05")), V4, OURS, 1000, id="half closed"),
        pytest.param(table(row(THEIRS, MINE, 0, "05", 0)), V4, OURS, NOBODY, id="closed looks like root's"),
        pytest.param(table(row(THEIRS, MINE, 0, "06", 0)), V4, OURS, NOBODY, id="ended"),
        pytest.param(table(row(THEIRS, MINE, 1000, "02")), V4, OURS, NOBODY, id="the same port, being opened anew"),
        pytest.param(table(row(MINE, THEIRS, 0, "08")), V4, OURS, NOBODY, id="closed and forgotten"),
        pytest.param("", V4, OURS, None, id="no table"),
        pytest.param(table(row(THEIRS, MINE)[:60]), V4, OURS, None, id="cut short"),
        pytest.param(table(row(THEIRS, MINE).replace(" 1000 ", " many ")), V4, OURS, None, id="not a number"),
        pytest.param(table(row(THEIRS, MINE)), ("localhost", 50000), OURS, None, id="not an address"),
    ],
)
def test_whose_row(text: str, peer: tuple[str, int], own: tuple[str, int], uid: int | None) -> None:
    assert uid_of(text, peer, own) == uid


_ADDRESSES = st.tuples(st.ip_addresses().map(str) | st.text(max_size=5), st.integers(0, 65535))


@given(st.text() | st.lists(st.sampled_from([THEIRS, MINE, ":", " ", "\n", "01", "0", "x"])).map("".join), _ADDRESSES)
def test_no_table_breaks_it(text: str, peer: tuple[str, int]) -> None:
    uid_of(text, peer, OURS)
    uid_of(text, V4, OURS)


def ends(*, stands: bool = True) -> Ends:
    return Ends(V4, OURS, lambda: stands)


WHOLE = "         0          0 4294967295\n"


@pytest.mark.skipif(sys.byteorder != "little", reason="the rows here were written by a little-endian machine")
@pytest.mark.parametrize(
    ("files", "stands", "uid"),
    [
        pytest.param({"net/tcp": table(row(THEIRS, MINE)), "uid_map": WHOLE}, True, 1000, id="a machine without IPv6"),
        pytest.param({"net/tcp6": table(row(f"{MAPPED}:C350", f"{MAPPED}:0633"))}, True, 1000, id="in the other table"),
        pytest.param({"net/tcp": table(row(THEIRS, MINE, OVERFLOW)), "uid_map": WHOLE}, True, OVERFLOW, id="nobody"),
        pytest.param(
            {"net/tcp": table(row(THEIRS, MINE, OVERFLOW)), "uid_map": "0 0 1\n9 9 1\n"},
            True,
            None,
            id="unmapped",
        ),
        pytest.param({"net/tcp": table(row(THEIRS, MINE, OVERFLOW))}, True, None, id="perhaps unmapped"),
        pytest.param({}, True, None, id="not Linux"),
        pytest.param({}, False, NOBODY, id="reset"),
        pytest.param({"net/tcp": table()}, True, None, id="another network"),
    ],
)
def test_what_is_read(files: dict[str, str], stands: bool, uid: int | None, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert user_at(ends(stands=stands), tmp_path) == uid


# --- the rule -----------------------------------------------------------------------------------------------

USERS = Admission(own=1000)
ROOTS = Admission(own=0)
SYSTEM = Admission(own=61234, everyone=True)


@pytest.mark.parametrize(
    ("admission", "listed", "may", "may_not"),
    [
        pytest.param(USERS, None, [1000, None], [0, 1001, OVERFLOW, NOBODY], id="a user's daemon"),
        pytest.param(USERS, (1001, 1002), [1001, 1002], [0, 1000, None, NOBODY], id="a user's daemon, a list"),
        pytest.param(USERS, (1000, 0), [0, 1000], [1001, None, NOBODY], id="a list with root"),
        pytest.param(ROOTS, None, [0, None], [1000, NOBODY], id="root's daemon"),
        pytest.param(ROOTS, (1000,), [0, 1000], [1001, None, NOBODY], id="root's daemon, a list"),
        pytest.param(SYSTEM, None, [0, 1000, 61234, OVERFLOW, None, NOBODY], [], id="the system service"),
        pytest.param(SYSTEM, (1000,), [1000], [0, 61234, None, NOBODY], id="the system service, a list"),
    ],
)
def test_who_may(
    admission: Admission, listed: tuple[int, ...] | None, may: list[int | None], may_not: list[int | None]
) -> None:
    assert [uid for uid in may if admission.refusal(listed, uid)] == []
    assert [uid for uid in may_not if not admission.refusal(listed, uid)] == []


def test_the_daemons_own_user_is_the_default() -> None:
    assert Admission() == Admission(own=os.getuid(), everyone=False)


# --- over real sockets --------------------------------------------------------------------------------------

OTHER = 54321
NOT_ADMITTED = "client login by a user who may not use this account"
CLIENT = """
import encodings.idna, os, smtplib, ssl, sys
uid, host, port, said, tls = sys.argv[1:]
if int(uid) != os.getuid():  # only now: the interpreter may lie where that user cannot go
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
unchecked = ssl._create_unverified_context()
client = smtplib.SMTP_SSL(host, int(port), context=unchecked) if tls else smtplib.SMTP(host, int(port))
client.ehlo("client")
print(*client.docmd("AUTH", f"PLAIN {said}"))
"""


async def login_as(uid: int, host: str, port: int, password: str = PASSWORD, *, tls: bool = False) -> str:
    """What a program of the user `uid` hears when it logs in to Ada's account."""
    arguments = [
        sys.executable,
        "-I",
        "-c",
        CLIENT,
        str(uid),
        host,
        str(port),
        plain(password=password),
        "tls" if tls else "",
    ]

    def run() -> str:
        return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout

    return await asyncio.to_thread(run)


@contextlib.asynccontextmanager
async def listening(here: House, host: str) -> AsyncIterator[int]:
    """The port of one more listener of the relay; `::` takes IPv4, too."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if host == "::":
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    opened.bind((host, 0))
    server = await asyncio.get_running_loop().create_server(lambda: here.relay.protocol(False), sock=opened)
    try:
        yield opened.getsockname()[1]
    finally:
        server.close()


def allow(here: House, *uids: int) -> None:
    """As a reload does it."""
    here.accounts["ada@example.com"] = account().model_copy(update={"allow_uids": uids or None})


def refusals(logs: list[Any]) -> list[tuple[str, object]]:
    return [(entry["account"], entry["uid"]) for entry in logs if entry["event"] == NOT_ADMITTED]


ends_table = pytest.mark.parametrize(
    ("listener", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")],
    ids=["IPv4", "IPv6", "IPv4 at an IPv6 listener", "IPv6 at a listener for all"],
)


@ends_table
@on_the_loop
async def test_the_own_user_may_and_a_list_is_asked_at_each_login(listener: str, host: str, tmp_path: Path) -> None:
    async with house(tmp_path) as here, listening(here, listener) as port:
        assert (await login_as(os.getuid(), host, port)).startswith("235 ")
        allow(here, os.getuid())
        assert (await login_as(os.getuid(), host, port)).startswith("235 ")


@pytest.mark.servers
@ends_table
@on_the_loop
async def test_another_user_may_not_unless_listed(listener: str, host: str, tmp_path: Path) -> None:
    async with house(tmp_path) as here, listening(here, listener) as port:
        with capture_logs() as logs:
            unadmitted = await login_as(OTHER, host, port)
            assert unadmitted.startswith("535 ")
            assert refusals(logs) == [("ada@example.com", OTHER)]
            assert unadmitted == await login_as(os.getuid(), host, port, "wrong")
        allow(here, OTHER)
        assert (await login_as(OTHER, host, port)).startswith("235 ")
        allow(here, OTHER + 1)
        assert (await login_as(OTHER, host, port)).startswith("535 ")
        allow(here)
        assert (await login_as(OTHER, host, port)).startswith("535 ")
        assert (await login_as(os.getuid(), host, port)).startswith("235 ")


@pytest.mark.servers
@on_the_loop
async def test_another_user_over_tls(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        assert (await login_as(OTHER, "127.0.0.1", here.tls_port, tls=True)).startswith("535 ")
        allow(here, OTHER)
        assert (await login_as(OTHER, "127.0.0.1", here.tls_port, tls=True)).startswith("235 ")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@on_the_loop
async def test_who_is_gone_before_we_look_is_nobody(reset: bool) -> None:
    """Bug: a socket that its program has closed stands in the table as root's, so all in one flight got in."""
    came: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _reader, writer: came.set_result(writer), "127.0.0.1", 0)
    workers = Workers(1)
    logins = Logins(
        lambda: {"ada@example.com": account()}, workers, SystemClock(), lambda _s, _w: PASSWORD, Admission(own=0)
    )
    client = socket.create_connection(server.sockets[0].getsockname())
    writer = await came
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with capture_logs() as logs:
        assert await logins.check(b"ada@example.com", PASSWORD.encode(), ends_of(writer.transport)) is None
    assert refusals(logs) == [("ada@example.com", NOBODY)]
    writer.close()
    server.close()
    workers.close()


@on_the_loop
async def test_a_connection_without_addresses(tmp_path: Path) -> None:
    """A UNIX socket: the default leaves it to the password, a list does not."""
    workers = Workers(1)
    accounts = {"ada@example.com": account()}
    logins = Logins(lambda: accounts, workers, SystemClock(), lambda _s, _w: PASSWORD)
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    ends = ends_of(writer.transport)
    assert ends is None
    assert await logins.check(b"ada@example.com", PASSWORD.encode(), ends) is not None
    accounts["ada@example.com"] = account().model_copy(update={"allow_uids": (os.getuid(),)})
    assert await logins.check(b"ada@example.com", PASSWORD.encode(), ends) is None
    writer.close()
    theirs.close()
    workers.close()
