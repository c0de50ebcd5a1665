"""The `web` listener: Twisted's web server on sockets that are bound here or handed over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on
from twisted.web.resource import Resource
from twisted.web.server import Site

from proxyd.config import Endpoint
from proxyd.daemon.listeners import CannotListen, Listener, Listeners, listen_for_web, open_sockets
from tests.looping import on_the_loop

ANY_PORT = Endpoint("127.0.0.1", 0)


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: object) -> bytes:
        return b"hello"


@asynccontextmanager
async def listening(endpoint: Endpoint, given: list[socket.socket] | None = None) -> AsyncIterator[Listener]:
    listener = await listen_for_web(endpoint, Site(Hello()), reactor, given)
    try:
        yield listener
    finally:
        listener.close()
        await listener.closed()


def port_of(listener: Listener) -> int:
    return int(listener.address.rpartition(":")[2])


@on_the_loop
async def test_it_answers_on_both_loopbacks_and_leaves_its_address_free() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        async with listening(ANY_PORT) as listener:
            port = port_of(listener)
            assert listener.address == f"127.0.0.1:{port}"
            for host in ("127.0.0.1", "[::1]"):
                assert (await client.get(f"http://{host}:{port}/")).text == "hello"
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        async with listening(Endpoint("::1", port)) as again:
            assert again.address == f"[::1]:{port}"


@on_the_loop
async def test_sockets_that_were_handed_over_are_served() -> None:
    given = open_sockets(ANY_PORT)
    for each in given:
        each.listen()  # as systemd does
    port = given[0].getsockname()[1]
    async with listening(Endpoint("127.0.0.1", 1780), given) as listener, httpx.AsyncClient(trust_env=False) as client:
        assert port_of(listener) == port
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"


@on_the_loop
async def test_an_address_that_is_taken_is_told_with_its_key() -> None:
    async with listening(ANY_PORT) as listener:
        taken = Endpoint("127.0.0.1", port_of(listener))
        with pytest.raises(CannotListen, match=rf"listen\.web: cannot listen on {taken}: Address already in use"):
            await listen_for_web(taken, Site(Hello()), reactor)


@on_the_loop
async def test_what_cannot_be_opened_is_said_and_is_opened_when_the_port_is_free() -> None:
    async def opener(name: str, endpoint: Endpoint, given: list[socket.socket] | None) -> Listener:
        assert name == "web"
        return await listen_for_web(endpoint, Site(Hello()), reactor, given)

    listeners = Listeners(opener)
    async with listening(ANY_PORT) as other:
        taken = Endpoint("127.0.0.1", port_of(other))
        await listeners.want({"web": taken, "smtp": None})
        assert listeners.addresses == {}
        why = {"web": f"listen.web: cannot listen on {taken}: Address already in use"}
        assert listeners.why_not == why
        await listeners.try_again()
        assert listeners.why_not == why
    await listeners.try_again()
    assert (listeners.addresses, listeners.why_not) == ({"web": str(taken)}, {})
    await listeners.want({"web": None})
    assert (listeners.addresses, listeners.why_not) == ({}, {})


@on_the_loop
async def test_what_is_not_wanted_any_more_is_not_missed() -> None:
    async def opener(name: str, endpoint: Endpoint, given: list[socket.socket] | None) -> Listener:
        raise CannotListen(f"listen.{name}: no")

    listeners = Listeners(opener)
    await listeners.want({"web": ANY_PORT})
    assert listeners.why_not == {"web": "listen.web: no"}
    await listeners.want({"web": None})
    assert listeners.why_not == {}
