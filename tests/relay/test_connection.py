"""How a connection that says nothing ends, and what one that says too much costs."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from proxyd.relay import connection
from proxyd.relay.stream import READ_AHEAD
from tests.looping import on_the_loop
from tests.relay.house import Talk, house


@on_the_loop
async def test_the_login_is_not_offered_in_the_clear_to_other_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client seen under an address that is not loopback: on a socket pair there is no address at all."""
    async with house(tmp_path) as here:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: here.relay.protocol(False), ours)
        client = Talk(*await asyncio.open_connection(sock=theirs))
        assert (await client.hear()).startswith("220")
        assert "AUTH" not in await client.say("EHLO x", "250")
        await client.say("AUTH PLAIN AGEAYg==", "538 5.7.11")
        client.writer.write(b"STARTTLS\r\n")
        assert (await client.hear()).startswith("220")
        await client.writer.start_tls(here.trust(), server_hostname="localhost")
        assert "AUTH PLAIN LOGIN" in await client.say("EHLO x", "250")
        client.close()


@on_the_loop
async def test_silence_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.Connection.heard, "__defaults__", (0.05,))
    async with house(tmp_path) as here:
        client = await here.connect()
        client.writer.write(b"NOOP\r\nNO")
        assert (await client.hear()).startswith("250")
        assert (await client.hear()).startswith("421 4.4.2")
        assert await client.hear() == ""
        client.close()


@on_the_loop
async def test_a_handshake_that_fails_ends_the_connection(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.connect()
        await client.say("STARTTLS", "220")
        client.writer.write(b"EHLO in the clear\r\n")
        await client.reader.read()
        again = await here.connect()  # and only that connection
        again.close()
        client.close()


@pytest.mark.parametrize("limits", [(60.0, 0.05), (0.05, 0.1)], ids=["a shorter wait", "a longer one"])
@on_the_loop
async def test_the_latest_limit_of_silence_counts(limits: tuple[float, float], tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.connect()
        [served] = here.relay._desk._connections
        assert isinstance(served, connection.Connection)
        loop = asyncio.get_running_loop()
        for limit in limits:
            served.heard(limit)
        last = loop.time() + limits[-1]
        async with asyncio.timeout(30):
            assert (await client.hear()).startswith("421 4.4.2")
        assert loop.time() >= last - 0.02  # the clock of the loop is that coarse


@on_the_loop
async def test_what_nobody_looks_at_is_not_read(tmp_path: Path) -> None:
    """Of a flight behind a message that waits for its provider no more than asked for comes into memory."""
    async with house(tmp_path) as here:
        client = await here.signed_in()
        [served] = here.relay._desk._connections
        assert isinstance(served, connection.Connection)
        here.provider.gate.clear()
        await client.mail()
        client.writer.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
        await here.provider.asked.wait()
        noops = 40_000
        client.writer.write(b"NOOP\r\n" * noops)
        async with asyncio.timeout(60):
            while served.transport.is_reading():
                await asyncio.sleep(0)
        assert READ_AHEAD < len(served._ahead) <= 8 * READ_AHEAD
        here.provider.gate.set()
        async with asyncio.timeout(30):
            assert (await client.hear()).startswith("250 2.0.0 OK queued")
            for _ in range(noops):
                assert (await client.reader.readline()) == b"250 2.0.0 OK\r\n"
        client.close()
