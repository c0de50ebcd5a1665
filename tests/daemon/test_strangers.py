"""Who of this machine's users is a stranger to a daemon, over a real connection."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from proxyd.config import account_of
from proxyd.daemon.strangers import Strangers
from proxyd.relay.peer import Admission
from proxyd.workers import Workers
from tests.looping import on_the_loop
from tests.rigged import ACCOUNT

WE = os.getuid()
ANOTHER = WE + 4711


@dataclass
class Transport:
    """A server's side of a connection, as Twisted's transports tell of it."""

    connection: socket.socket
    connected: bool = True

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.connection.getpeername())

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.connection.getsockname())


@pytest.mark.parametrize(
    ("admission", "lists", "is_stranger"),
    [
        pytest.param(Admission(own=WE), [""], False, id="the daemon's own user"),
        pytest.param(Admission(own=ANOTHER), [""], True, id="another user"),
        pytest.param(Admission(own=ANOTHER), [], True, id="another user, where no account is set up"),
        pytest.param(Admission(own=ANOTHER), ["", f"allow_uids: [{WE}]"], False, id="whom one account admits"),
        pytest.param(Admission(own=ANOTHER), [f"allow_uids: [{ANOTHER}]"], True, id="whom none admits"),
        pytest.param(Admission(own=ANOTHER, everyone=True), [], False, id="the system service is everyone's"),
        pytest.param(
            Admission(own=ANOTHER, everyone=True), [f"allow_uids: [{ANOTHER}]"], False, id="a list is for mail there"
        ),
    ],
)
@on_the_loop
async def test_who_is_a_stranger(admission: Admission, lists: list[str], is_stranger: bool, tmp_path: Any) -> None:
    accounts = {
        str(n): account_of(f"{ACCOUNT}\n{line}\n", tmp_path / f"accounts.d/{n}.yaml") for n, line in enumerate(lists)
    }
    workers = Workers(1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as accepted,
    ):
        strangers = Strangers(admission, lambda: accounts, workers)
        assert await strangers.is_at(Transport(accepted)) is is_stranger
    workers.close()
