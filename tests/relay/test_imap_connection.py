"""A client that has not signed in: hostile, slow, cut anywhere; and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import random
import re
import tracemalloc

import pytest

from proxyd.relay import imap_connection, imap_desk, stream
from tests.looping import on_the_loop
from tests.relay.house import plain
from tests.relay.imap_house import ADA, PASSWORD, ImapHouse, Talk, imap_house

LITERALS = b"a LOGIN {15}\r\nada@example.com {13+}\r\ncorrect horse\r\n"
IN_TWO = b"a AUTHENTICATE LOGIN\r\n" + b"".join(base64.b64encode(word.encode()) + b"\r\n" for word in (ADA, PASSWORD))
WAYS = {
    "LOGIN quoted": f'a LOGIN "{ADA}" "{PASSWORD}"\r\n'.encode(),
    "LOGIN with literals": LITERALS,
    "AUTHENTICATE PLAIN": f"a AUTHENTICATE PLAIN\r\n{plain()}\r\n".encode(),
    "AUTHENTICATE PLAIN at once": f"a AUTHENTICATE PLAIN {plain()}\r\n".encode(),
    "AUTHENTICATE LOGIN": IN_TWO,
}


async def connect(here: ImapHouse) -> Talk:
    return Talk(*await asyncio.open_connection("127.0.0.1", here.port))


async def last_line(talk: Talk) -> str:
    """The client's tagged answer."""
    while not (line := await talk.hear()).startswith("a "):
        assert line
    return line


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@on_the_loop(timeout=120)
async def test_cut_at_every_octet(tmp_path, way: bytes):
    async with imap_house(tmp_path) as here:
        for at in range(1, len(way), 1 if len(way) < 80 else 3):
            client = await connect(here)
            client.writer.write(way[:at])
            await client.hear()  # the greeting: what was sent so far is there, or comes with the rest
            client.writer.write(way[at:])
            assert (await last_line(client)).startswith("a OK "), at
            client.close()
            (await here.provider.connections.get()).close()


@on_the_loop
async def test_octet_by_octet(tmp_path):
    async with imap_house(tmp_path) as here:
        client = await connect(here)
        for octet in LITERALS:
            client.writer.write(bytes([octet]))
            await asyncio.sleep(0)
        assert (await last_line(client)).startswith("a OK ")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@on_the_loop
async def test_the_client_goes_at_every_step(tmp_path, way: bytes):
    async with imap_house(tmp_path) as here:
        for at in range(0, len(way), 7):
            client = await connect(here)
            client.writer.write(way[:at])
            client.close()
        other = await here.connect()
        assert await other.ask("z NOOP") == "z OK NOOP completed"
        while len(here.relay._desk._strangers) > 1:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "flood",
    [b"x" * 65536, b"a LOGIN {8000+}\r\n" + b"y" * 65536, b"a NOOP\0\r\n" * 7000, b"\r\n" * 30_000],
    ids=["a line without end", "a literal and a long line", "NULs", "empty lines"],
)
@on_the_loop
async def test_ten_megabytes_of_it_cost_nothing(tmp_path, flood: bytes):
    """The connection ends with a word; nothing is kept of what came."""
    async with imap_house(tmp_path) as here:
        client = await connect(here)
        other = await here.connect()
        gc.collect()
        tracemalloc.start()
        try:
            with contextlib.suppress(ConnectionError):  # it is ended in the middle
                for _ in range(10_000_000 // len(flood)):
                    client.writer.write(flood)
                    await client.writer.drain()
                    await asyncio.sleep(0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3_000_000
        assert await other.ask("z NOOP") == "z OK NOOP completed"


PIECES = [
    b"a LOGIN ", b"{3}", b"{3+}", b"{99999999999}", b"\r\n", b"\n", b"\r", b"\0", b" ", b'"', b"\\", b"abc", b"*",
    b"a AUTHENTICATE PLAIN", b"a STARTTLS", b"a AUTHENTICATE LOGIN\r\n", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"(",
    b"a LOGOUT\r\n", b"a ID NIL\r\n", b"=", b"a CAPABILITY\r\n", bytes(range(256)), b"a SELECT x\r\n", b"DONE\r\n",
]  # fmt: skip


@on_the_loop(timeout=60)
async def test_any_of_it_in_any_order(tmp_path):
    """Whatever is said, what is heard are answers, and the last of them is there."""
    chance = random.Random(3501)
    async with imap_house(tmp_path) as here:
        other = await here.connect()
        for _ in range(300):
            said = b"".join(chance.choices(PIECES, k=chance.randrange(30)))
            client = await connect(here)
            client.writer.write(said)
            client.writer.write_eof()
            for line in (await client.reader.read()).splitlines(keepends=True):
                assert re.match(rb"(\* (OK|BAD|BYE|ID|CAPABILITY)|\+|\S+ (OK|NO|BAD)) .*\r\n\Z", line), (said, line)
            client.close()
        assert await other.ask("z NOOP") == "z OK NOOP completed"


@on_the_loop
async def test_too_many_strangers(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imap_desk, "STRANGERS", 3)
    async with imap_house(tmp_path) as here:
        clients = [await here.connect() for _ in range(3)]
        one_more = await connect(here)
        assert (await one_more.hear()).startswith("* BYE Too many connections")
        assert await one_more.ended()
        assert await clients[0].ask("z NOOP") == "z OK NOOP completed"
        assert (await clients[1].ask(f'a LOGIN {ADA} "{PASSWORD}"')).startswith("a OK ")
        await here.connect()  # who has signed in is no stranger


@on_the_loop
async def test_silence_ends_the_connection(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imap_connection, "IDLE_LIMIT", 0.05)
    async with imap_house(tmp_path) as here:
        client = await here.connect()
        client.writer.write(b"a LOGIN x")
        assert await client.hear() == "* BYE Nothing heard for too long"
        assert await client.ended()


@on_the_loop
async def test_a_wrong_password_is_slowed_down(tmp_path):
    async with imap_house(tmp_path) as here:
        client = await here.connect()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert "AUTHENTICATIONFAILED" in await client.ask(f"a LOGIN {ADA} wrong")
        assert loop.time() - began >= 0.4
        assert here.provider.sign_ins == []


@on_the_loop
async def test_from_another_machine_nobody_signs_in_in_clear(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "is_local", lambda _: False)
    async with imap_house(tmp_path) as here:
        client = await connect(here)
        offered = "IMAP4rev1 ID LITERAL+ SASL-IR STARTTLS LOGINDISABLED"
        assert await client.hear() == f"* OK [CAPABILITY {offered}] localhost ready"
        assert "a NO [PRIVACYREQUIRED]" in await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert "b NO [PRIVACYREQUIRED]" in await client.ask("b AUTHENTICATE PLAIN")
        assert "c NO [PRIVACYREQUIRED]" in await client.ask(f"c AUTHENTICATE PLAIN {plain()}")
        assert (await client.ask("d STARTTLS")).startswith("d OK")
        await client.writer.start_tls(here.trust(), server_hostname="localhost")
        assert (await client.ask(f'e LOGIN {ADA} "{PASSWORD}"')).startswith("e OK ")


@on_the_loop
async def test_the_client_goes_while_we_sign_in(tmp_path):
    """What comes of the sign-in is let go of."""
    async with imap_house(tmp_path) as here:
        here.provider.gate.clear()
        client = await here.connect()
        client.say(f'a LOGIN {ADA} "{PASSWORD}"')
        while not here.provider.sign_ins:
            await asyncio.sleep(0.01)
        client.writer.transport.abort()
        here.provider.gate.set()
        provider = await here.provider.connections.get()
        assert await provider.hear() in ("", "proxyd.1 LOGOUT")
        provider.close()
        while here.relay._desk._strangers or here.relay._desk._guests:
            await asyncio.sleep(0.01)


@on_the_loop
async def test_what_was_wrong_is_tried_again_when_the_clock_is_set_or_the_network_is_another(tmp_path):
    """Not in five minutes: the watcher's own connection may stand all the while, and then nobody else would say so."""
    async with imap_house(tmp_path) as here:
        here.provider.refusal = "NO Application-specific password required"
        client = await here.connect()
        assert "a NO [UNAVAILABLE]" in await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert here.journal.condition(ADA).state == "misconfigured"
        here.provider.refusal = ""
        here.relay.awake()
        async with asyncio.timeout(60):
            while here.journal.condition(ADA).state != "connected":
                await asyncio.sleep(0.01)
