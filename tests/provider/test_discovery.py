"""Finding an address's servers: a real name server, a real settings file over TLS, servers that greet or do not."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxyd.provider import discovery
from proxyd.provider.discovery import Finder, NothingFound, Settled, finder
from proxyd.workers import Workers
from tests.looping import on_the_loop
from tests.servers.mailprovider import Provider
from tests.servers.resolver import Resolver
from tests.servers.tls import server_context

ADDRESS = "ada@example.test"


class Web:
    """A domain's web server over TLS: `pages` by path, (status, body, further headers)."""

    def __init__(self, provider: Provider) -> None:
        self.pages: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.asked: list[str] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(f"{self.headers['host']}{self.path}")
                status, body, headers = web.pages.get(self.path.partition("?")[0], (404, b"", {}))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        leaf = provider.ca.issue("web", ("autoconfig.example.test", "example.test"))
        self._server.socket = server_context(leaf).wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ByThisMachine(httpx.AsyncHTTPTransport):
    """Every name leads to one port of this machine; the certificate must be for the name all the same."""

    def __init__(self, port: int, **more: Any) -> None:
        super().__init__(**more)
        self.port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await super().handle_async_request(request)


@pytest.fixture
def web(provider: Provider) -> Iterator[Web]:
    made = Web(provider)
    yield made
    made.close()


@pytest.fixture
def make_finder(provider: Provider, web: Web, tmp_path: Path) -> Iterator[Callable[..., Finder]]:
    running: list[Resolver] = []

    def make(**records: Any) -> Finder:
        resolver = Resolver(tmp_path / "dns", **records)
        resolver.start()
        running.append(resolver)
        made = finder(workers, provider.ca.ca, ("127.0.0.1", resolver.port), lambda line: None)
        made.web = httpx.AsyncClient(transport=ByThisMachine(web.port, verify=provider.ca.client_context()))
        return made

    workers = Workers(8)
    yield make
    workers.close()
    for each in running:
        each.stop()


def srv(provider: Provider, *, host: str = "localhost") -> list[tuple[str, str, str, int]]:
    return [
        ("_imaps._tcp", "example.test", host, provider.dovecot.imaps_port),
        ("_submissions._tcp", "example.test", host, provider.postfix.smtps_port),
    ]


def settings_file(provider: Provider, kind: str = "imap") -> bytes:
    def server(tag: str, kind: str, port: int) -> str:
        rest = f"<port>{port}</port><socketType>STARTTLS</socketType><username>%EMAILLOCALPART%</username>"
        return f'<{tag}Server type="{kind}"><hostname>localhost</hostname>{rest}</{tag}Server>'

    servers = server("incoming", kind, provider.dovecot.imap_port)
    servers += server("outgoing", "smtp", provider.postfix.submission_port)
    return f'<clientConfig version="1.1"><emailProvider id="x">{servers}</emailProvider></clientConfig>'.encode()


async def found(finder: Finder, address: str = ADDRESS) -> Settled:
    async with finder.web:
        return await finder.find(address)


@on_the_loop
async def test_a_known_domain_asks_nobody(make_finder: Callable[..., Finder], web: Web) -> None:
    settled = await found(make_finder(), "ada@gmail.com")
    assert settled.preset == "gmail"
    assert web.asked == []


@on_the_loop
async def test_dns_names_the_servers(make_finder: Callable[..., Finder], provider: Provider) -> None:
    settled = await found(make_finder(srv=srv(provider)))
    assert settled.imap is not None
    assert settled.smtp is not None
    assert str(settled.imap.place) == f"localhost:{provider.dovecot.imaps_port}"
    assert str(settled.smtp.place) == f"localhost:{provider.postfix.smtps_port}"
    assert (settled.imap.ask, settled.imap.place.tls) == (True, "implicit")  # localhost is no host of example.test


@on_the_loop
async def test_a_server_that_does_not_answer_gives_way_to_the_domains_own_word(
    make_finder: Callable[..., Finder], provider: Provider, web: Web
) -> None:
    """DNS names an IMAP server that is dead; the settings file names one that lives. SMTP stays with DNS."""
    records = srv(provider)
    records[0] = ("_imaps._tcp", "example.test", "localhost", 1)
    web.pages["/mail/config-v1.1.xml"] = (200, settings_file(provider), {})
    settled = await found(make_finder(srv=records))
    assert settled.imap is not None
    assert settled.smtp is not None
    assert (settled.imap.because, settled.imap.ask) == ("example.test says so (autoconfig)", False)
    assert (settled.imap.place.port, settled.imap.place.user) == (provider.dovecot.imap_port, "ada")
    assert settled.smtp.because == "DNS names it (SRV)"
    assert "autoconfig.example.test/mail/config-v1.1.xml?emailaddress=ada%40example.test" in web.asked


@on_the_loop
async def test_the_settings_file_may_be_elsewhere_but_never_without_tls(
    make_finder: Callable[..., Finder], provider: Provider, web: Web
) -> None:
    there = "/.well-known/autoconfig/mail/config-v1.1.xml"
    web.pages["/mail/config-v1.1.xml"] = (302, b"", {"location": "http://example.test/plain.xml"})
    web.pages["/plain.xml"] = (200, settings_file(provider).replace(b"STARTTLS", b"plain"), {})
    web.pages[there] = (302, b"", {"location": "/moved.xml"})
    web.pages["/moved.xml"] = (200, settings_file(provider), {})
    settled = await found(make_finder())
    assert settled.imap is not None
    assert settled.imap.place.port == provider.dovecot.imap_port
    assert not [each for each in web.asked if "plain" in each]


@on_the_loop
async def test_the_mx_hosts_are_a_known_providers(make_finder: Callable[..., Finder]) -> None:
    mx = [("example.test", "alt1.aspmx.l.google.com", 5), ("example.test", "aspmx.l.google.com", 1)]
    settled = await found(make_finder(mx=mx))
    assert (settled.preset, settled.because) == (
        "gmail",
        "the MX hosts of example.test are its own (aspmx.l.google.com)",
    )


@on_the_loop
async def test_pop3_alone(make_finder: Callable[..., Finder], provider: Provider, web: Web) -> None:
    web.pages["/mail/config-v1.1.xml"] = (200, settings_file(provider, "pop3"), {})
    with pytest.raises(NothingFound, match=r"by POP3 only \(localhost\).*--imap HOST"):
        await found(make_finder())


@on_the_loop
async def test_a_guess_is_tried(
    make_finder: Callable[..., Finder], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` as a domain: of all the usual names it is the one that leads somewhere."""
    monkeypatch.setattr(discovery.rules, "_IMAP_PORTS", ((provider.dovecot.imaps_port, "implicit"),))
    monkeypatch.setattr(
        discovery.rules, "_SMTP_PORTS", ((1, "implicit"), (provider.postfix.submission_port, "starttls"))
    )
    settled = await found(make_finder(), "ada@localhost")
    assert settled.imap is not None
    assert settled.smtp is not None
    assert settled.imap.because == "a guess that answers"
    assert (settled.smtp.place.port, settled.smtp.place.tls) == (provider.postfix.submission_port, "starttls")


@on_the_loop
async def test_nothing_at_all_says_what_was_tried(make_finder: Callable[..., Finder]) -> None:
    with pytest.raises(
        NothingFound, match=r"no server for IMAP and SMTP .* --imap HOST --smtp HOST.*imap\.example\.test"
    ):
        await found(make_finder())


@on_the_loop
async def test_a_server_with_a_bad_certificate_is_not_taken(
    make_finder: Callable[..., Finder], provider: Provider
) -> None:
    looking = make_finder(srv=srv(provider))
    looking.ca = None
    with pytest.raises(NothingFound, match="authority not known here"):
        await found(looking)
