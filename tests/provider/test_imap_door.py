"""The door to the provider for a mail client: every way of signing in, and what goes wrong at it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxyd.config import Server
from proxyd.errors import ConfigError, ProxydError, SignInRefused
from proxyd.model import HealthCause
from proxyd.provider.imap_door import Door, Limits, SignedIn
from proxyd.provider.imap_errors import Misconfigured, Throttled, Unreachable, health_of
from tests.looping import on_the_loop
from tests.provider.scripted_imap import ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.servers.tls import ThrowAwayCa, server_context

USER, PASSWORD = "ada@example.com", 'se"cret'
RESPONSE = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()


async def through(
    script: str, *, tls: str = "none", user: str = USER, password: str = PASSWORD, ca: ThrowAwayCa | None = None
) -> tuple[SignedIn, list[str]]:
    """What the door gives, and what the server heard."""
    with ScriptedImap(script, server_context(ca.leaf) if ca and tls == "implicit" else None) as server:

        async def secret() -> str:
            return password

        context = None if tls == "none" else ssl.create_default_context(cafile=str(ca.ca) if ca else None)
        there = Server(host="127.0.0.1", port=server.port, tls=tls)
        door = Door(there, user, secret, context, Limits(connect=3, answer=1))
        try:
            signed_in = await door.open()
            signed_in.transport.abort()
            return signed_in, server.heard
        finally:
            for _ in range(3):  # the socket is closed by the loop, and the server waits for that
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        (
            "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: AUTHENTICATE\n"
            "S: %T OK [CAPABILITY IMAP4rev1 X] in",
            [f"p1 AUTHENTICATE PLAIN {RESPONSE}"],
        ),
        (
            "S: * OK [CAPABILITY IMAP4rev1 auth=plain Sasl-IR Id] hi\nC: ID\nC: AUTHENTICATE\n"
            "S: * ID NIL\nS: p1 OK done\nS: %T OK [CAPABILITY IMAP4rev1 X] in",
            ['p1 ID ("name" "proxyd")', f"p2 AUTHENTICATE PLAIN {RESPONSE}"],
        ),
        (
            "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN\nS: %T OK done\n"
            "C: AUTHENTICATE PLAIN\nS: + \nC: " + RESPONSE + "\nS: * CAPABILITY IMAP4rev1 X\nS: p2 OK in",
            ["p1 CAPABILITY", "p2 AUTHENTICATE PLAIN", RESPONSE],
        ),
        (
            "S: * OK [CAPABILITY IMAP4rev1] hi\nC: LOGIN\nS: %T OK in\n"
            "C: CAPABILITY\nS: * CAPABILITY IMAP4rev1 X\nS: %T OK done",
            ['p1 LOGIN "ada@example.com" "se\\"cret"', "p2 CAPABILITY"],
        ),
        (
            "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: AUTHENTICATE\n"
            "S: %T OK [CAPABILITY IMAP4rev1 X ID] in\nC: ID\nS: * ID NIL\nS: %T BAD what",
            [f"p1 AUTHENTICATE PLAIN {RESPONSE}", 'p2 ID ("name" "proxyd")'],
        ),
    ],
    ids=["in one flight", "with our ID", "step by step", "LOGIN", "ID behind it, and refused"],
)
@on_the_loop
async def test_signing_in(script: str, heard: list[str]):
    signed_in, said = await through(script)
    assert said == heard
    assert "X" in signed_in.capabilities


@on_the_loop
async def test_words_that_cannot_be_quoted_go_as_literals():
    script = (
        "S: * OK [CAPABILITY IMAP4rev1] hi\nC: LOGIN {5}\nS: + go\nC: ädä {4}\nS: + go\nC: ß\\x\n"
        "S: p1 OK [CAPABILITY IMAP4rev1] in"
    )
    _, said = await through(script, user="ädä", password="ß\\x")
    assert said == ["p1 LOGIN {5}", "ädä {4}", "ß\\x"]


@on_the_loop
async def test_what_comes_behind_the_answer_is_not_lost():
    signed_in, _ = await through(
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: AUTHENTICATE\n"
        "S: %T OK [CAPABILITY IMAP4rev1 X] in\nS: * OK [ALERT] mind the gap\nS~ * half a"
    )
    assert signed_in.ahead == b"* OK [ALERT] mind the gap\r\n* half a"


@pytest.mark.parametrize(
    ("script", "error", "cause", "says"),
    [
        ("S: * BYE too many connections", Throttled, HealthCause.THROTTLED, "too many"),
        ("S: * BYE go away", Unreachable, HealthCause.UNREACHABLE, "go away"),
        ("S: 220 smtp.example.com ESMTP", Unreachable, HealthCause.UNREACHABLE, "ESMTP"),
        ("S: * PREAUTH hi", Misconfigured, HealthCause.MISCONFIGURED, "PREAUTH"),
        ("S: * OK [CAPABILITY LOGINDISABLED] hi", Misconfigured, HealthCause.MISCONFIGURED, "LOGINDISABLED"),
        ("S: * OK hi\nC: CAPABILITY\nS: %T BAD what", Unreachable, HealthCause.UNREACHABLE, "what it can do"),
        ("S: * OK hi\nC: CAPABILITY\nclose", Unreachable, HealthCause.UNREACHABLE, "closed"),
        ("S~ * OK", Unreachable, HealthCause.UNREACHABLE, "within 1 s"),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: AUTH\nS: %T NO [AUTHENTICATIONFAILED] wrong",
            SignInRefused, HealthCause.SIGN_IN_REFUSED, "refused",
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN] hi\nC: AUTH\nS: %T NO wrong",
            SignInRefused, HealthCause.SIGN_IN_REFUSED, "refused",
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: AUTH\nS: + eyJ9\nC: *\nS: p1 NO wrong",
            SignInRefused, HealthCause.SIGN_IN_REFUSED, "refused",
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: AUTH\nS: %T NO [UNAVAILABLE] later",
            Throttled, HealthCause.THROTTLED, "later",
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: AUTH\nS: * BYE maximum number of connections",
            Throttled, HealthCause.THROTTLED, "maximum",
        ),
        ("S: * OK [CAPABILITY X] hi\nC: LOGIN\nS: %T NO wrong", SignInRefused, HealthCause.SIGN_IN_REFUSED, "refused"),
    ],
)  # fmt: skip
@on_the_loop
async def test_what_goes_wrong(script: str, error: type[ProxydError], cause: HealthCause, says: str):
    with pytest.raises(error, match=says) as raised:
        await through(script)
    assert health_of(raised.value).cause is cause


@pytest.mark.parametrize("script", ["S: * OK " + "x" * 100_000, "S~ " + "x" * 100_000])
@on_the_loop
async def test_a_server_that_does_not_stop(script: str):
    with pytest.raises(Unreachable):
        await through(script)


class Early:
    """A server that tells when somebody has connected, and when they have gone without a word."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.gone = asyncio.Event()
        self.closes = False  # at once, as one that waits no longer
        self.connections = 0

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
        self.came.set()
        if self.closes and self.connections == 1:
            writer.write_eof()
            await reader.read()  # until the other end has seen it
        elif await reader.readline():
            writer.write(b"p1 OK [CAPABILITY IMAP4rev1 X] in\r\n")
        writer.close()
        self.gone.set()

    async def open(self, secret: Callable[[], Awaitable[str]]) -> SignedIn:
        async with await asyncio.start_server(self._accepted, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            signed_in = await Door(Server(host="127.0.0.1", port=port, tls="none"), USER, secret, None).open()
            signed_in.abort()
            return signed_in


@on_the_loop
async def test_the_connection_is_made_while_the_password_is_asked_for():
    server = Early()

    async def secret() -> str:
        await server.came.wait()
        return PASSWORD

    assert "X" in (await server.open(secret)).capabilities
    assert server.connections == 1


@on_the_loop
async def test_without_a_password_the_connection_is_dropped():
    server = Early()

    async def secret() -> str:
        await server.came.wait()
        raise ConfigError("locked")

    with pytest.raises(ConfigError, match="locked"):
        await server.open(secret)
    await server.gone.wait()


@on_the_loop
async def test_a_password_that_took_longer_than_the_server_waits():
    server = Early()
    server.closes = True

    async def secret() -> str:
        await server.gone.wait()
        return PASSWORD

    assert "X" in (await server.open(secret)).capabilities
    assert server.connections == 2


@on_the_loop
async def test_nobody_there():
    async def secret() -> str:
        return "x"

    with pytest.raises(Unreachable, match="refused"):
        await Door(Server(host="127.0.0.1", port=1, tls="none"), USER, secret, None).open()


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("S: * OK [CAPABILITY IMAP4rev1] hi", Misconfigured, "does not offer STARTTLS"),
        ("S: * OK [CAPABILITY STARTTLS] hi\nC: STARTTLS\nS: %T NO later", Unreachable, "later"),
        (
            "S: * OK [CAPABILITY STARTTLS] hi\nC: STARTTLS\nS: %T OK go\nS: * CAPABILITY AUTH=PLAIN",
            Unreachable, "somebody may sit in between",
        ),
        ("S: * OK [CAPABILITY STARTTLS] hi\nC: STARTTLS\nS: %T OK go\nclose", Unreachable, "closed"),
    ],
    ids=["not offered", "refused", "spoken on in clear", "no handshake"],
)  # fmt: skip
@on_the_loop
async def test_starttls_that_fails(script: str, error: type[ProxydError], says: str):
    with pytest.raises(error, match=says):
        await through(script, tls="starttls")


@pytest.mark.servers
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_dovecot(server_folder: Path, tls: str):
    with Dovecot(server_folder, users={USER: "pä ss"}) as dovecot:

        async def secret() -> str:
            return "pä ss"

        port = dovecot.imaps_port if tls == "implicit" else dovecot.imap_port
        context = dovecot.ca.client_context()
        signed_in = await Door(Server(host="localhost", port=port, tls=tls), USER, secret, context).open()
        signed_in.transport.abort()
        assert {"IMAP4rev1", "IDLE", "UIDPLUS"} <= set(signed_in.capabilities)

        async def wrong() -> str:
            return "wrong"

        with pytest.raises(SignInRefused) as refused:
            await Door(Server(host="localhost", port=port, tls=tls), USER, wrong, context).open()
        assert "AUTHENTICATIONFAILED" in refused.value.evidence
        with pytest.raises(Misconfigured, match="authority not known"):
            await Door(Server(host="localhost", port=port, tls=tls), USER, secret, ssl.create_default_context()).open()
