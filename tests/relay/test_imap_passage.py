"""A signed-in client and its provider, back to back: flow, ends, health."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from typing import Any

import pytest

from proxyd.config import Client, Env, SignIn
from proxyd.model import Health, HealthCause, HealthEvent
from proxyd.relay import imap_following
from tests.looping import on_the_loop
from tests.relay.imap_house import ADA, PASSWORD, ImapHouse, PlayedProvider, Talk, imap_house

LARGE = 50_000_000
BLOCK = bytes(range(256)) * 1024


def passage_of(here: ImapHouse) -> Any:
    (passage,) = here.relay._desk._guests
    return passage


async def write_on(talk: Talk, size: int) -> None:
    sent = 0
    while sent < size:
        block = BLOCK[: size - sent]
        talk.writer.write(block)
        sent += len(block)
        await talk.writer.drain()


async def digest_of(talk: Talk, size: int) -> str:
    digest = hashlib.sha256()
    while size:
        block = await talk.reader.read(min(size, 2**18))
        assert block
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def wanted_digest(size: int) -> str:
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    digest.update(BLOCK[: size % len(BLOCK)])
    return digest.hexdigest()


async def stands_still(task: asyncio.Task[Any], progress: Any) -> None:
    """Until nothing has moved for a while."""
    before = None
    while before != (before := progress()) or before is None:
        await asyncio.wait({task}, timeout=0.3)
        assert not task.done(), "nobody held it up"


@on_the_loop(timeout=60)
async def test_a_stalled_client_costs_two_buffers(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        client.say("2 FETCH 1 BODY[]")
        await provider.hear()
        client.writer.transport.pause_reading()
        provider.say(f"* 1 FETCH (BODY[] {{{LARGE}}}")
        sending = asyncio.ensure_future(write_on(provider, LARGE))
        passage = passage_of(here)
        await stands_still(sending, lambda: provider.writer.transport.get_write_buffer_size())
        assert not passage._server.is_reading()
        assert passage._client.get_write_buffer_size() < 600_000
        assert passage._answers._kept == b""
        client.writer.transport.resume_reading()
        assert await client.hear() == f"* 1 FETCH (BODY[] {{{LARGE}}}"
        assert await digest_of(client, LARGE) == wanted_digest(LARGE)
        await sending
        provider.say(")", "2 OK done")
        assert [await client.hear(), await client.hear()] == [")", "2 OK done"]


@on_the_loop(timeout=60)
async def test_a_stalled_provider_costs_two_buffers(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        provider.writer.transport.pause_reading()
        client.say(f"2 APPEND x {{{LARGE}+}}")
        sending = asyncio.ensure_future(write_on(client, LARGE))
        passage = passage_of(here)
        await stands_still(sending, lambda: client.writer.transport.get_write_buffer_size())
        assert not passage._client.is_reading()
        assert passage._server.get_write_buffer_size() < 600_000
        assert passage._following._reader.ahead < 600_000
        provider.say("* OK still here")  # the other direction is open
        assert await client.hear() == "* OK still here"
        provider.writer.transport.resume_reading()
        assert await provider.hear() == f"2 APPEND x {{{LARGE}+}}"
        assert await digest_of(provider, LARGE) == wanted_digest(LARGE)
        await sending
        client.say("", "3 NOOP")
        assert [await provider.hear(), await provider.hear()] == ["", "3 NOOP"]


@on_the_loop
async def test_nothing_of_ours_stands_inside_a_message(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        provider.say("* 1 FETCH (BODY[] {10}")
        provider.writer.write(b"abc")
        assert await client.hear() == "* 1 FETCH (BODY[] {10}"
        assert await client.reader.readexactly(3) == b"abc"
        client.say("2 ID NIL", "3 NOOP")
        assert await provider.hear() == "3 NOOP"  # by then the ID was answered
        provider.writer.write(b"defghij)\r\n")
        assert [await client.hear() for _ in range(3)] == ["defghij)", '* ID ("name" "proxyd")', "2 OK ID completed"]


@on_the_loop
async def test_the_provider_is_lost_inside_a_message(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        provider.say("* 1 FETCH (BODY[] {10}")
        provider.writer.write(b"abc")
        provider.close()
        assert await client.reader.read() == b"* 1 FETCH (BODY[] {10}\r\nabc"


@on_the_loop
async def test_status_knows_that_the_provider_was_lost_and_that_it_is_back(tmp_path):
    async with imap_house(tmp_path) as here:
        client, _ = await here.signed_in()
        assert here.journal.condition(ADA).state is Health.CONNECTED
        here.provider.stop()
        assert (await client.hear()).startswith("* BYE [UNAVAILABLE] ")
        assert await client.ended()
        assert here.journal.condition(ADA).state is Health.UNREACHABLE
        client = await here.connect()
        answer = await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert answer == f"a NO [UNAVAILABLE] {here.journal.condition(ADA).sentence}"
        await here.provider.start()
        while here.journal.condition(ADA).state is not Health.CONNECTED:
            await asyncio.sleep(0.05)
        assert (await client.ask(f'b LOGIN {ADA} "{PASSWORD}"')).startswith("b OK ")


@on_the_loop
async def test_a_server_that_says_bye_is_well(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        provider.say("* BYE Idle for too long")
        provider.close()
        assert await client.reader.read() == b"* BYE Idle for too long\r\n"
        assert here.journal.condition(ADA).state is Health.CONNECTED


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ("NO [AUTHENTICATIONFAILED] no", "Connecting. IMAP refused to sign in once"),
        ("NO [UNAVAILABLE] maintenance", "Provider refuses IMAP for now"),
        ("NO [LIMIT] Too many simultaneous connections.", "Provider refuses IMAP for now"),
    ],
)
@on_the_loop
async def test_the_client_hears_what_status_shows(tmp_path, refusal: str, sentence: str):
    async with imap_house(tmp_path, provider=PlayedProvider(refusal=refusal)) as here:
        client = await here.connect()
        answer = await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert answer.startswith(f"a NO [UNAVAILABLE] {sentence}")
        assert answer.endswith(refusal.partition(" ")[2])
        assert answer == f"a NO [UNAVAILABLE] {here.journal.condition(ADA).sentence}"


@on_the_loop
async def test_a_password_that_counts_as_wrong_is_not_tried(tmp_path):
    async with imap_house(tmp_path) as here:
        refused = HealthEvent(HealthCause.SIGN_IN_REFUSED, "IMAP", "NO [AUTHENTICATIONFAILED] no")
        await here.journal.health(ADA, refused)
        client = await here.connect()
        assert "NO [UNAVAILABLE]" in await client.ask(f'a LOGIN {ADA} "{PASSWORD}"')
        assert here.provider.sign_ins == []
        here.journal.afresh(ADA)
        assert (await client.ask(f'b LOGIN {ADA} "{PASSWORD}"')).startswith("b OK ")


@on_the_loop
async def test_who_stops_says_so(tmp_path):
    async with imap_house(tmp_path) as here:
        stranger = await here.connect()
        client, provider = await here.signed_in()
        await here.relay.close()
        assert (await stranger.hear()).startswith("* BYE ")
        assert (await client.hear()).startswith("* BYE [UNAVAILABLE] ")
        assert await client.ended()
        assert await provider.ended()
        assert await stranger.ended()


@on_the_loop
async def test_the_client_goes_without_a_word(tmp_path):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        client.writer.transport.abort()
        assert await provider.hear() == "proxyd.1 LOGOUT"
        provider.say("* BYE bye", "proxyd.1 OK out")
        provider.close()
        await passage_of(here).over()
        assert here.journal.condition(ADA).state is Health.CONNECTED


@on_the_loop
async def test_while_the_client_idles_with_us_the_server_hears_from_us(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imap_following, "KEEP_AWAKE", 0.01)
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        client.say("2 IDLE")
        assert await client.hear() == "+ idling"
        assert await provider.hear() == "proxyd.1 NOOP"
        provider.say("* OK hello", "proxyd.1 OK fine")
        assert await client.hear() == "* OK hello"
        client.say("DONE")
        assert await client.hear() == "2 OK IDLE completed"


@on_the_loop
async def test_dead_peers_are_found_out_and_nothing_waits_for_more(tmp_path):
    async with imap_house(tmp_path) as here:
        await here.signed_in()
        passage = passage_of(here)
        for transport in (passage._client, passage._server):
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@on_the_loop
async def test_twenty_clients_at_once_each_hears_its_own(tmp_path):
    async with imap_house(tmp_path) as here:
        pairs = [await here.signed_in() for _ in range(20)]
        for number, (client, _) in enumerate(pairs):
            client.say(f"n{number} NOOP")
        for number, (_, provider) in enumerate(pairs):
            assert await provider.hear() == f"n{number} NOOP"
            provider.say(f"n{number} OK")
        for number, (client, _) in enumerate(pairs):
            assert await client.hear() == f"n{number} OK"


@pytest.mark.parametrize("change", ["gone", "another client password", "another user there", "another name"])
@on_the_loop
async def test_a_reload_shows_out_who_could_not_come_in_now(tmp_path, change: str):
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        now = {
            "another client password": {"client": Client(password=Env(env="ANOTHER"))},
            "another user there": {"sign_in": SignIn(imap_user="x", smtp_user="x", password=Env(env="UNUSED"))},
            "another name": {"name": "Countess Lovelace"},
        }.get(change)
        here.accounts.clear()
        if now is not None:
            here.accounts[ADA] = here.account.model_copy(update=now)
        here.relay.reloaded()
        client.say("2 NOOP")
        if change == "another name":
            assert await provider.hear() == "2 NOOP"
        else:
            assert (await client.hear()).startswith("* BYE [UNAVAILABLE] ")
            assert await client.ended()
