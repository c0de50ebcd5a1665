"""The settings document, what else the `web` listener answers, and to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from twisted.internet import reactor  # noqa: TID251 - the reactor that pytest runs on
from twisted.internet.defer import maybeDeferred

from proxyd.web import autoconfig
from proxyd.web.answers import DaemonState
from proxyd.web.answers_tokens import Tokens
from proxyd.web.api import Api
from proxyd.web.public import Public
from tests.looping import on_the_loop
from tests.rigged import ADA, account, desk
from tests.web.paged import page_of

PATH = "/.well-known/autoconfig/mail/config-v1.1.xml"
ALL = {
    "smtp": "127.0.0.1:1587",
    "smtps": "127.0.0.1:1465",
    "imap": "127.0.0.1:1143",
    "imaps": "127.0.0.1:1993",
    "web": "127.0.0.1:1780",
}
AS_A_PERSON = ("localhost", "%EMAILADDRESS%", "password-cleartext")


@dataclass
class Asked:
    client: httpx.AsyncClient
    port: int
    listening: dict[str, str] = field(default_factory=lambda: dict(ALL))
    broken: bool = False
    state: Any = None

    async def settings(self, address: str = ADA, path: str = PATH) -> httpx.Response:
        return await self.client.get(path, params={"emailaddress": address})

    async def raw(self, octets: bytes) -> bytes:
        """What is answered to these octets, until the listener hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(octets)
            return await reader.read()
        finally:
            writer.close()


async def never(address: str) -> None:
    raise AssertionError(f"nobody asked that {address} be signed in anew")


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[Asked]:
    async with desk(folder) as d, httpx.AsyncClient(trust_env=False) as client:
        made = Asked(client, 0)

        def state() -> DaemonState:
            if made.broken:
                raise KeyError("a secret")
            return DaemonState("0.1.0", d.clock.now(), made.listening, [])

        tokens = Tokens(d.database, lambda: d.accounts)
        sender: Any = None  # nobody sends
        api = Api(d.journal, d.database, d.workers, d.clock, state, never, lambda: d.accounts, sender)
        page = page_of(d, state)
        public = Public(api, tokens, page, lambda: d.accounts, d.database, d.workers, state)
        port = reactor.listenTCP(0, public.site(), interface="127.0.0.1")
        made.port = port.getHost().port
        client.base_url = httpx.URL(f"http://localhost:{made.port}")
        try:
            yield made
        finally:
            await maybeDeferred(port.stopListening).asFuture(asyncio.get_running_loop())


def servers(octets: bytes | None, way: str) -> list[tuple[str, ...]]:
    assert octets is not None
    kind = "imap" if way == "incoming" else "smtp"
    found = ElementTree.fromstring(octets).findall(f"./emailProvider/{way}Server[@type='{kind}']")
    names = ("hostname", "username", "authentication", "port", "socketType")
    return [tuple(each.findtext(name) or "" for name in names) for each in found]


def test_every_open_listener_is_an_entry_and_tls_from_the_first_byte_comes_first(tmp_path: Path) -> None:
    octets = autoconfig.document(account(tmp_path), ALL)
    assert servers(octets, "incoming") == [(*AS_A_PERSON, "1993", "SSL"), (*AS_A_PERSON, "1143", "STARTTLS")]
    assert servers(octets, "outgoing") == [(*AS_A_PERSON, "1465", "SSL"), (*AS_A_PERSON, "1587", "STARTTLS")]
    assert octets is not None
    root = ElementTree.fromstring(octets)
    assert (root.tag, root.attrib) == ("clientConfig", {"version": "1.1"})
    (provider,) = root
    assert (provider.tag, provider.attrib) == ("emailProvider", {"id": "example.test"})
    assert provider.findtext("domain") == "example.test"
    assert provider.findtext("displayName") == f"{ADA} through proxyd"


@pytest.mark.parametrize("names", [("smtps",), ("smtp",)], ids=lambda names: names[0])
def test_mail_is_read_from_the_provider_where_no_imap_listener_is_open(tmp_path: Path, names: tuple[str]) -> None:
    octets = autoconfig.document(account(tmp_path), dict.fromkeys(names, "[::1]:40001"))
    assert servers(octets, "incoming") == [("localhost", ADA, "password-cleartext", "1", "plain")]
    word = {"smtps": "SSL", "smtp": "STARTTLS"}[names[0]]
    assert servers(octets, "outgoing") == [(*AS_A_PERSON, "40001", word)]


def test_without_an_smtp_listener_there_is_nothing_to_be_set_to(tmp_path: Path) -> None:
    assert autoconfig.document(account(tmp_path), {"imaps": "127.0.0.1:1993"}) is None


def test_a_domain_that_is_not_ascii_is_named_as_clients_compare_it(tmp_path: Path) -> None:
    octets = autoconfig.document(account(tmp_path).model_copy(update={"address": "ada@bücher.example"}), ALL)
    assert octets is not None
    assert ElementTree.fromstring(octets).findtext("./emailProvider/domain") == "xn--bcher-kva.example"


@on_the_loop
async def test_the_document_is_served_for_an_account_in_any_case_at_both_paths(tmp_path: Path) -> None:
    async with asked(tmp_path) as a:
        for path in (PATH, "/mail/config-v1.1.xml"):
            response = await a.settings(ADA.upper(), path)
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/xml; charset=utf-8"
            assert servers(response.content, "incoming")[0][3] == "1993"
        a.listening = {"smtps": "127.0.0.1:40001"}
        assert servers((await a.settings()).content, "outgoing") == [(*AS_A_PERSON, "40001", "SSL")]
        a.listening = {"imaps": "127.0.0.1:1993"}
        assert (await a.settings()).status_code == 503


@on_the_loop
async def test_everything_else_is_a_problem_document(tmp_path: Path) -> None:
    async with asked(tmp_path) as a:
        for path, status in (
            (f"{PATH}?emailaddress=eve@example.test", 404),
            (f"{PATH}?emailaddress=sales@example.test", 404),
            (f"{PATH}?emailaddress=%00%ff", 404),
            (PATH, 422),
            ("/api/v1/accounts", 401),
            ("/api/v1/status", 404),
        ):
            response = await a.client.get(path)
            assert (response.status_code, path) == (status, path)
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == status
            assert response.headers["x-content-type-options"] == "nosniff"
        assert (await a.client.post(PATH, content=b"x")).status_code == 405


@on_the_loop
async def test_healthz_tells_that_the_daemon_is_well_and_a_fault_tells_no_secret(tmp_path: Path) -> None:
    async with asked(tmp_path) as a:
        response = await a.client.get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok", "version": "0.1.0"})
        assert (await a.client.head("/healthz")).status_code == 200
        a.broken = True
        response = await a.client.get("/healthz")
        assert response.status_code == 500
        assert "a secret" not in response.text


HOSTS = [
    (b"localhost", 200),
    (b"LocalHost:1780", 200),
    (b"127.0.0.1:9", 200),
    (b"[::1]:1780", 200),
    (b"proxyd.attacker.example", 421),
    (b"localhost.attacker.example", 421),
    (b"127.0.0.1.attacker.example:1780", 421),
    (b"localhost:1780@attacker.example", 421),
    (b"0.0.0.0:1780", 421),
    (b"", 421),
    (b"localhost\r\nHost: attacker.example", 421),
]


@pytest.mark.parametrize(("host", "status"), HOSTS, ids=[repr(host) for host, _ in HOSTS])
@on_the_loop
async def test_a_host_name_that_was_made_to_mean_this_machine_is_turned_away(
    tmp_path: Path, host: bytes, status: int
) -> None:
    async with asked(tmp_path) as a:
        answer = await a.raw(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        assert int(answer.split(b" ", 2)[1]) == status
        if status != 200:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 421


@on_the_loop
async def test_no_host_is_no_browser_of_ours_either(tmp_path: Path) -> None:
    async with asked(tmp_path) as a:
        assert (await a.raw(b"GET /healthz HTTP/1.0\r\n\r\n")).split(b" ", 2)[1] == b"421"
