"""The door: one sign-in at a time, and one wait for all connections of an account."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on

from proxyd.config import Account, Server
from proxyd.errors import ProxydError
from proxyd.provider.imap import Connection
from proxyd.provider.tls import client_context
from proxyd.watcher.session import Door, Session
from proxyd.workers import start
from tests.looping import on_the_loop
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.watcher.watched import Watched, until, watched


def door_of(w: Watched, account: Account | None = None) -> Door:
    context = client_context("imap", w.account.provider.ca)
    return Door(account or w.account, w.journal, w.workers, w.clock, reactor, context, lambda: 0.0, w.allowance)


def at_another_server(account: Account, address: str, port: int) -> Account:
    imap = Server(host="127.0.0.1", port=port, tls="none")
    provider = account.provider.model_copy(update={"imap": imap})
    return account.model_copy(update={"address": address, "provider": provider})


@on_the_loop
async def test_two_who_wait_cost_one_try_and_hurry_lets_both_in(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, started=False) as w:
        provider.dovecot.set_password(PERSON, "another")
        door = door_of(w)
        failures: list[ProxydError] = []

        async def failed(error: ProxydError) -> None:
            failures.append(error)

        opening = [start(door.open(failed), "test") for _ in range(2)]
        await until(lambda: failures or None, "the first refusal")
        await asyncio.sleep(0.3)
        assert len(failures) == 1
        assert w.journal.condition(PERSON).refusals == 1
        provider.dovecot.set_password(PERSON, PASSWORD)
        door.hurry()
        sessions: list[Session | None] = await asyncio.gather(*opening)
        assert len(failures) == 1
        assert w.state() == "connected"
        for session in sessions:
            assert session is not None
            assert await session.do(Connection.has, "IDLE")
            await session.close()


@on_the_loop
async def test_hurry_while_a_try_is_under_way_is_a_try_of_its_own(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, started=False) as w:
        provider.dovecot.set_password(PERSON, "another")
        door = door_of(w)
        opening = start(door.open(), "test")
        while not w.allowance.watchers:
            await asyncio.sleep(0)
        door.hurry()
        await until(lambda: w.journal.condition(PERSON).refusals == 2 or None, "the second refusal, and no time passed")
        provider.dovecot.set_password(PERSON, PASSWORD)
        door.hurry()
        session = await opening
        assert session is not None
        await session.close()


@on_the_loop
async def test_a_secret_that_cannot_be_read_is_for_whoever_edits_the_file(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, started=False) as w:
        (provider.folder / f"{PERSON}.password").unlink()
        opening = start(door_of(w).open(), "test")
        await until(lambda: w.state() == "misconfigured" or None, "misconfigured")
        assert not any(provider.dovecot.sessions(PERSON))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


@on_the_loop
async def test_a_server_that_never_answers_keeps_no_other_waiting(tmp_path, provider: Provider):
    """More accounts of its than there are threads sign in there."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with watched(tmp_path, provider, started=False) as w:
            failures: list[ProxydError] = []

            async def failed(error: ProxydError) -> None:
                failures.append(error)

            port = mute.getsockname()[1]
            there = [at_another_server(w.account, f"p{n}@mute.test", port) for n in range(20)]
            hanging = [start(door_of(w, each).open(failed), "test") for each in there]
            await until(lambda: pending(port) or None, "somebody hangs there")
            session = await door_of(w).open()
            assert session is not None
            assert failures == []
            await session.close()
            for each in hanging:
                each.cancel()
            mute.close()  # whoever hangs hears it
            await asyncio.gather(*hanging, return_exceptions=True)


def pending(port: int) -> bool:
    """Whether anybody is connected to the port; from /proc/net/tcp, whose addresses are in hexadecimal."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(f":{port:04X} " in line and line.split()[3] == "01" for line in lines)
