"""The sockets that clients connect to: opened here, or handed over by systemd.

A loopback host means both loopbacks: `localhost` is 127.0.0.1 for one client and ::1 for another.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from proxyd.config import Endpoint, is_loopback

log = structlog.get_logger()

BACKLOG = 128
FIRST_HANDED_OVER = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
TRIES = 10  # for a port that is free on both loopbacks


class CannotListen(Exception):
    """One sentence: which listener, where, and why not."""


def open_sockets(endpoint: Endpoint) -> list[socket.socket]:
    """Bound, not yet listening. Raises OSError where the endpoint's own address cannot be had."""
    if not is_loopback(endpoint.host):
        return [_bind(endpoint.host, endpoint.port)]
    for attempt in range(TRIES):
        first = _bind("::1" if endpoint.host == "::1" else "127.0.0.1", endpoint.port)
        other = "127.0.0.1" if endpoint.host == "::1" else "::1"
        try:
            return [first, _bind(other, first.getsockname()[1])]
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return [first]  # a machine with only one of the two
            first.close()
            if endpoint.port or attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def handed_over(environment: Mapping[str, str]) -> dict[str, list[socket.socket]]:
    """The sockets systemd opened for us, by their FileDescriptorName= (sd_listen_fds(3))."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    sockets: dict[str, list[socket.socket]] = {}
    for index in range(int(environment.get("LISTEN_FDS", "0"))):
        given = socket.socket(fileno=FIRST_HANDED_OVER + index)
        given.setblocking(False)
        os.set_inheritable(given.fileno(), False)
        sockets.setdefault(names[index] if index < len(names) else "unknown", []).append(given)
    return sockets


class Accepting(Protocol):
    """What takes connections on open sockets: an asyncio.Server, or a port of Twisted's."""

    @property
    def sockets(self) -> Sequence[Any]: ...

    def close(self) -> None: ...


class WebPort:
    """A listening socket whose connections are served by Twisted's web server. The socket itself is not kept."""

    def __init__(self, reactor: Any, site: Any, opened: socket.socket) -> None:
        self._closing: Any = None  # a Deferred
        with opened:  # the reactor makes a descriptor of its own
            opened.listen(BACKLOG)
            self._port: Any = reactor.adoptStreamPort(opened.fileno(), opened.family, site)

    @property
    def sockets(self) -> Sequence[Any]:
        return (self._port.socket,)

    def close(self) -> None:
        self._closing = self._port.stopListening()

    async def closed(self) -> None:
        """Twisted closes the socket in the loop's next turn; asyncio's servers do so at once."""
        if self._closing is not None:
            await self._closing.asFuture(asyncio.get_running_loop())
            self._closing = None


@dataclass
class Listener:
    """One of proxyd.yaml's `listen` keys, open."""

    name: str
    endpoint: Endpoint
    servers: list[Accepting] = field(default_factory=list)

    @property
    def address(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """No new connections; those that stand go on."""
        for server in self.servers:
            server.close()

    async def closed(self) -> None:
        """Returns when the address is free again."""
        for server in self.servers:
            if isinstance(server, WebPort):
                await server.closed()


class Listeners:
    """All that are open, by name, and why the others are not. `opener` opens one, and raises CannotListen."""

    def __init__(self, opener: Callable[[str, Endpoint, list[socket.socket] | None], Awaitable[Listener]]) -> None:
        self._opener = opener
        self._wanted: Mapping[str, Endpoint | None] = {}
        self._open: dict[str, Listener] = {}
        self._why_not: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def addresses(self) -> dict[str, str]:
        return {name: listener.address for name, listener in self._open.items()}

    @property
    def why_not(self) -> dict[str, str]:
        """One sentence for each that is wanted and not open."""
        return dict(self._why_not)

    async def want(
        self, wanted: Mapping[str, Endpoint | None], given: Mapping[str, list[socket.socket]] | None = None
    ) -> None:
        """Open what is wanted and not open, close what is open and not wanted. What fails is logged, once."""
        async with self._one_at_a_time:
            self._wanted = wanted
            await self._settle(given or {})

    async def try_again(self) -> None:
        """Those that could not be opened: whoever had the port may have gone."""
        if self._why_not:
            async with self._one_at_a_time:
                await self._settle({})

    async def _settle(self, given: Mapping[str, list[socket.socket]]) -> None:
        for name, endpoint in self._wanted.items():
            there = self._open.get(name)
            if there is not None and there.endpoint != endpoint:
                there.close()
                await there.closed()
                del self._open[name]
            if endpoint is None or name in self._open:
                self._why_not.pop(name, None)
                continue
            try:
                self._open[name] = await self._opener(name, endpoint, given.get(name))
            except CannotListen as error:
                if self._why_not.get(name) != str(error):
                    log.error("cannot listen", why=str(error))
                self._why_not[name] = str(error)
            else:
                self._why_not.pop(name, None)

    def close(self) -> None:
        for listener in self._open.values():
            listener.close()


async def listen(
    name: str,
    endpoint: Endpoint,
    protocol: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
    given: list[socket.socket] | None = None,
) -> Listener:
    """Open one listener. Raises CannotListen."""
    loop = asyncio.get_running_loop()

    async def serve(opened: socket.socket) -> Accepting:
        return await loop.create_server(protocol, sock=opened, ssl=tls, backlog=BACKLOG)

    return await _opened(name, endpoint, serve, given)


async def listen_for_web(
    endpoint: Endpoint, site: Any, reactor: Any, given: list[socket.socket] | None = None
) -> Listener:
    """Open the listener `web` for a twisted.web.server.Site. Raises CannotListen."""

    async def serve(opened: socket.socket) -> Accepting:
        return WebPort(reactor, site, opened)

    return await _opened("web", endpoint, serve, given)


async def _opened(
    name: str,
    endpoint: Endpoint,
    serve: Callable[[socket.socket], Awaitable[Accepting]],
    given: list[socket.socket] | None,
) -> Listener:
    listener = Listener(name, endpoint)
    try:
        for each in given or open_sockets(endpoint):
            listener.servers.append(await serve(each))
    except OSError as error:
        listener.close()
        raise CannotListen(f"listen.{name}: cannot listen on {endpoint}: {error.strerror}") from error
    log.info("listening", listener=name, address=listener.address)
    return listener
