"""Connecting, TLS and signing in: what each failure is called, and that no secret leaves by it."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from proxyd.errors import ConfigError
from proxyd.model import Accepted, HealthCause, NotHandedOver
from proxyd.provider.smtp import Limits
from proxyd.provider.tls import client_context
from tests.looping import on_the_loop
from tests.provider.scripted_smtp import Peer, scripted
from tests.provider.submitting import SECRET, client
from tests.servers.tls import Leaf, ThrowAwayCa, server_context

UNREACHABLE, THROTTLED = HealthCause.UNREACHABLE, HealthCause.THROTTLED
REFUSED, MISCONFIGURED = HealthCause.SIGN_IN_REFUSED, HealthCause.MISCONFIGURED


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayCa:
    return ThrowAwayCa(tmp_path_factory.mktemp("ca"))


async def never(peer: Peer) -> None:
    raise AssertionError("nobody should have connected")


# --- what the server says before it knows us


@pytest.mark.parametrize(
    ("greeting", "cause"),
    [
        ("421 4.3.2 too many connections", THROTTLED),
        ("450 try later", THROTTLED),
        ("554 5.7.1 your address is blocked", UNREACHABLE),
        ("250 what", THROTTLED),
    ],
)
@on_the_loop
async def test_greetings(greeting: str, cause: HealthCause) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(greeting)

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotHandedOver)
        assert outcome.event.cause is cause
        assert outcome.event.evidence == greeting
        assert outcome.reply is not None
        assert greeting in outcome.why


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        ("535 5.7.8 Error: authentication failed: ", REFUSED),
        ("535 Incorrect authentication data", REFUSED),
        ("534-5.7.9 Application-specific password required.\r\n534 5.7.9 See https://x.example", MISCONFIGURED),
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled", MISCONFIGURED),
        ("550 5.7.1 disabled", REFUSED),
        ("454 4.7.0 Too many login attempts", THROTTLED),
        ("451 4.3.0 backend is away", THROTTLED),
        ("421 4.7.0 too many", THROTTLED),
        ("504 5.5.4 no such mechanism", MISCONFIGURED),
        ("538 5.7.11 Encryption required", MISCONFIGURED),
        ("500 what", MISCONFIGURED),
        ("250 out of turn", UNREACHABLE),
    ],
)
@on_the_loop
async def test_answers_to_a_sign_in(reply: str, cause: HealthCause) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        await peer.hear("AUTH")
        await peer.say(reply)
        await peer.rest()

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotHandedOver)
        assert ada.causes == [cause]
        assert ada.health == [outcome.event]
        if cause is not UNREACHABLE:
            first, *_ = reply.splitlines()
            assert ada.health[0].evidence.startswith(first.replace("-", " ", 1).strip())


@on_the_loop
async def test_the_servers_words_are_one_short_printable_line() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        await peer.hear("AUTH")
        await peer.say(b"535-5.7.8 \x1b[31mno\x07\r\n535 " + b"very " * 500 + b"\r\n")

    async with scripted(script) as server, client(server) as ada:
        await ada.submit()
        assert len(ada.health[0].evidence) <= 400
        assert ada.health[0].evidence.startswith("535 5.7.8 [31mno very very")
        assert ada.health[0].evidence.isprintable()


# --- signing in


@on_the_loop
async def test_login_where_plain_is_not_offered() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo(("AUTH XOAUTH2 LOGIN",))
        assert await peer.line() == "AUTH LOGIN"
        await peer.say("334 VXNlcm5hbWU6")
        assert base64.b64decode(await peer.line()) == b"ada@a"
        await peer.say("334 UGFzc3dvcmQ6")
        assert base64.b64decode(await peer.line()).decode() == SECRET
        await peer.say("235 ok")
        await peer.rest()

    async with scripted(script) as server, client(server) as ada:
        await ada.warmed()
        assert ada.causes == [HealthCause.SIGNED_IN]


@on_the_loop
async def test_plain_where_the_server_asks_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        await peer.hear("AUTH PLAIN ")
        await peer.say("334 ")
        assert base64.b64decode(await peer.line()).decode() == f"\0ada@a\0{SECRET}"
        await peer.say("235 ok")
        await peer.rest()

    async with scripted(script) as server, client(server) as ada:
        await ada.warmed()
        assert ada.causes == [HealthCause.SIGNED_IN]


@pytest.mark.parametrize(
    ("offer", "words"),
    [(("SIZE",), "offered: none"), (("AUTH XOAUTH2 GSSAPI",), "offered: XOAUTH2, GSSAPI")],
    ids=["no AUTH", "none that we speak"],
)
@on_the_loop
async def test_no_way_to_sign_in(offer: tuple[str, ...], words: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo(offer)
        assert not (await peer.rest()).count(b"AUTH")

    async with scripted(script) as server, client(server) as ada:
        await ada.submit()
        assert ada.causes == [MISCONFIGURED]
        assert words in ada.health[0].evidence


@on_the_loop
async def test_a_password_that_cannot_be_had() -> None:
    def password() -> str:
        raise ConfigError("password: file /x is missing: write it there")

    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        assert not (await peer.rest()).count(b"AUTH")

    async with scripted(script) as server, client(server, password=password) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotHandedOver)
        assert ada.causes == [MISCONFIGURED]
        assert ada.health[0].evidence == "password: file /x is missing: write it there"


@pytest.mark.parametrize("password", [SECRET, "nul\0inside"], ids=["refused", "unsendable"])
@on_the_loop
async def test_no_secret_in_what_is_said_about_it(password: str, caplog: pytest.LogCaptureFixture) -> None:
    initial = base64.b64encode(f"\0ada@a\0{password}".encode()).decode()

    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        (line,) = await peer.hear("AUTH")
        await peer.say(f"500 5.5.2 unrecognized: {line}, and {password} is wrong")

    async with scripted(script) as server, client(server, password=lambda: password) as ada:
        outcome = await ada.submit()
    told = f"{outcome!r} {ada.health!r} {ada.submitter!r} {caplog.text}"
    for secret in (password, initial, base64.b64encode(password.encode()).decode()):
        assert secret not in told
    assert ada.causes == [MISCONFIGURED]


# --- TLS


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_secured(tls: str, ca: ThrowAwayCa) -> None:
    async def script(peer: Peer) -> None:
        if tls == "starttls":
            await peer.say("220 x")
            await peer.ehlo(("STARTTLS", "SIZE 7", "AUTH PLAIN"))
            await peer.hear("STARTTLS")
            await peer.say("220 go")
            await peer.writer.start_tls(server_context(ca.leaf))
            await peer.ehlo(("PIPELINING", "AUTH LOGIN"))  # the offer counts as it is behind TLS
            await peer.hear("AUTH LOGIN")
            await peer.say("334 u")
            await peer.line()
            await peer.say("334 p")
            await peer.line()
            await peer.say("235 ok")
        else:
            await peer.greet(("PIPELINING", "AUTH PLAIN"))
        await peer.take()

    context = server_context(ca.leaf)
    async with (
        scripted(script, tls=tls, context=context) as server,
        client(server, tls=client_context("smtp", ca.ca)) as ada,
    ):
        assert isinstance(await ada.submit(), Accepted), ada.health
        assert ada.submitter.offer is not None
        assert ada.submitter.offer.size is None


@pytest.mark.parametrize("answer", ["502 no such command", "454 4.7.0 TLS not available"])
@on_the_loop
async def test_starttls_refused_is_never_plain(answer: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo(("STARTTLS", "AUTH PLAIN"))
        await peer.hear("STARTTLS")
        await peer.say(answer)
        assert (await peer.rest()).endswith(b"STARTTLS\r\n")

    async with scripted(script, tls="starttls") as server, client(server) as ada:
        assert isinstance(await ada.submit(), NotHandedOver)


@on_the_loop
async def test_starttls_not_offered_is_never_plain() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        assert (await peer.rest()).endswith(b"EHLO [127.0.0.1]\r\n")

    async with scripted(script, tls="starttls") as server, client(server) as ada:
        assert isinstance(await ada.submit(), NotHandedOver)
        assert ada.causes == [MISCONFIGURED]
        assert ada.health[0].evidence.endswith("the server does not offer STARTTLS")


@pytest.mark.parametrize(
    "injected",
    [b"250-mail.example\r\n250 AUTH PLAIN\r\n", b"235 welcome\r\n", b"2", b"\r\n", b"x" * 9000],
    ids=["an offer", "a welcome", "half a line", "an empty line", "garbage"],
)
@on_the_loop
async def test_answers_injected_behind_starttls_end_the_connection(injected: bytes, ca: ThrowAwayCa) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo(("STARTTLS", "AUTH PLAIN"))
        await peer.hear("STARTTLS")
        await peer.say(b"220 go\r\n" + injected)
        assert (await peer.rest()).endswith(b"STARTTLS\r\n")  # not even a handshake

    async with (
        scripted(script, tls="starttls") as server,
        client(server, tls=client_context("smtp", ca.ca)) as ada,
    ):
        assert isinstance(await ada.submit(), NotHandedOver)
        assert ada.causes == [UNREACHABLE]


def expired(ca: ThrowAwayCa) -> Leaf:
    return ca.expired_leaf()


def foreign(ca: ThrowAwayCa) -> Leaf:
    return ca.foreign_leaf()


def good(ca: ThrowAwayCa) -> Leaf:
    return ca.leaf


@pytest.mark.parametrize(
    ("leaf", "trusted", "words"),
    [
        (expired, True, r"its certificate has expired \(here it is \d{4}-\d\d-\d\d\)"),
        (foreign, True, "its certificate is for another name"),
        (
            good,
            False,
            r"its certificate comes from an authority not known here \(setting `ca` names a private authority\)",
        ),
    ],
    ids=["expired", "another name", "unknown authority"],
)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_certificates_are_verified(
    tls: str, leaf: Callable[[ThrowAwayCa], Leaf], trusted: bool, words: str, ca: ThrowAwayCa
) -> None:
    context = server_context(leaf(ca))

    async def script(peer: Peer) -> None:
        if tls == "starttls":
            await peer.say("220 x")
            await peer.ehlo(("STARTTLS", "AUTH PLAIN"))
            await peer.hear("STARTTLS")
            await peer.say("220 go")
            try:
                await peer.writer.start_tls(context)
            except (ssl.SSLError, ConnectionError):
                return
            raise AssertionError("the client believed it")

    async with (
        scripted(script, tls=tls, context=context) as server,
        client(server, tls=client_context("smtp", ca.ca if trusted else None)) as ada,
    ):
        outcome = await ada.submit()
        assert isinstance(outcome, NotHandedOver)
        assert ada.causes == [MISCONFIGURED]
        assert re.fullmatch(rf"127\.0\.0\.1:{server.port}: {words}", ada.health[0].evidence)


@on_the_loop
async def test_tls_towards_a_server_that_speaks_plainly() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 mail.example")
        await peer.rest()

    async with scripted(script) as server:
        server.tls = "implicit"
        async with client(server) as ada:
            await ada.submit()
            assert ada.causes == [MISCONFIGURED]
            assert "does not speak TLS on this port" in ada.health[0].evidence


# --- the network


@on_the_loop
async def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            async with client(SimpleNamespace(host=host, port=port, tls="none")) as ada:
                await ada.submit()
                assert ada.causes == [UNREACHABLE]
                assert ada.health[0].evidence == f"{host}:{port}: the connection was refused"


@on_the_loop
async def test_a_name_that_does_not_exist() -> None:
    async with client(SimpleNamespace(host="mail.invalid", port=465, tls="implicit")) as ada:
        await ada.submit()
        assert ada.causes == [HealthCause.NO_SUCH_NAME]
        assert ada.health[0].evidence.startswith("mail.invalid:465: the name was not found")


@on_the_loop
async def test_a_server_that_takes_the_connection_and_no_handshake() -> None:
    async def script(peer: Peer) -> None:
        await peer.rest()

    async with scripted(script) as server:
        server.tls = "implicit"
        async with client(server, limits=Limits(connect=0.2, reply=5, final=5)) as ada:
            await ada.submit()
            assert ada.causes == [UNREACHABLE]
            assert ada.health[0].evidence == f"127.0.0.1:{server.port}: no answer in time"


@on_the_loop
async def test_without_tls_only_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo()
        assert not (await peer.rest()).count(b"AUTH")

    monkeypatch.setattr("proxyd.provider.smtp_wire.Wire.peer", "192.0.2.7")
    async with scripted(script) as server, client(server) as ada:
        await ada.submit()
        assert ada.causes == [MISCONFIGURED]
        assert "tls: none is for this machine only" in ada.health[0].evidence
