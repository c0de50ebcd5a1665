"""The forwarder's milliseconds: late by what was asked, in order, whole, and no faster."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from tests.servers.delay import Delay

EACH_WAY = 0.050


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that greets and then says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"hello\n")
            while octets := connection.recv(65536):
                connection.sendall(octets)

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_round_trip_takes_twice_each_way(echo: int) -> None:
    with Delay(echo, each_way=EACH_WAY) as far:
        before = monotonic()
        with socket.create_connection(("127.0.0.1", far.port), timeout=60) as client:
            assert client.recv(100) == b"hello\n"
            assert monotonic() - before >= 2 * EACH_WAY
            before = monotonic()
            client.sendall(b"ping")
            assert client.recv(100) == b"ping"
            assert monotonic() - before >= 2 * EACH_WAY


def test_much_comes_through_whole(echo: int) -> None:
    octets = os.urandom(8 << 20)
    with Delay(echo, each_way=0.005) as far, socket.create_connection(("127.0.0.1", far.port), timeout=20) as client:

        def send() -> None:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = bytearray()
        while piece := client.recv(1 << 20):
            received += piece
        sender.join()
        assert received == b"hello\n" + octets


def test_nobody_behind_it(echo: int) -> None:
    with Delay(1, each_way=0.001) as far, socket.create_connection(("127.0.0.1", far.port), timeout=60) as client:
        try:
            answer = client.recv(100)
        except ConnectionResetError:
            answer = b""
        assert answer == b""
