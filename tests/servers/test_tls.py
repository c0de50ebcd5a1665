"""The certificates that the servers show: whom a client that knows the CA believes."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.servers.tls import Leaf, ThrowAwayCa, server_context


def handshake(leaf: Leaf, client: ssl.SSLContext, name: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def answer() -> None:
            try:
                with server_context(leaf).wrap_socket(theirs, server_side=True) as tls:
                    tls.recv(1)
            except (ssl.SSLError, OSError):
                pass

        server = threading.Thread(target=answer)
        server.start()
        try:
            with client.wrap_socket(ours, server_hostname=name) as tls:
                tls.send(b".")
        finally:
            ours.close()
            server.join(5)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_leaf_is_believed_for_this_machine(tmp_path: Path, name: str) -> None:
    ca = ThrowAwayCa(tmp_path)
    handshake(ca.leaf, ca.client_context(), name)


@pytest.mark.parametrize(
    ("which", "complaint"), [("expired_leaf", "has expired"), ("foreign_leaf", "not valid for 'localhost'")]
)
def test_the_bad_leaves_are_not_believed(tmp_path: Path, which: str, complaint: str) -> None:
    ca = ThrowAwayCa(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        handshake(getattr(ca, which)(), ca.client_context(), "localhost")


def test_another_ca_is_not_believed(tmp_path: Path) -> None:
    ca, other = ThrowAwayCa(tmp_path / "a"), ThrowAwayCa(tmp_path / "b", "another CA")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca.leaf, other.client_context(), "localhost")
