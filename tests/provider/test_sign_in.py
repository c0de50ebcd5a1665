"""Signing in with an access token: at a real Dovecot and Postfix that ask a real sign-in server about it."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.config import Account, account_of
from proxyd.config.sealed_files import of_keys
from proxyd.errors import ConfigError, SignInRefused
from proxyd.model import Accepted, HealthCause
from proxyd.provider import tokens
from proxyd.provider.imap import Connection, health_of
from proxyd.provider.imap_door import Door
from proxyd.provider.sign_in import AccessToken, SignIns, once_more
from proxyd.provider.smtp_door import Door as SmtpDoor
from proxyd.provider.smtp_door import NotReady
from proxyd.provider.smtp_session import Limits
from proxyd.provider.tls import client_context
from proxyd.provider.token_endpoint import AccessRevoked
from proxyd.provider.tokens import Kept
from proxyd.workers import SystemClock, Workers
from tests.looping import on_the_loop
from tests.provider.scripted_smtp import Peer, scripted
from tests.provider.submitting import client
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.oauth_server import CLIENT_SECRET, OAuthServer, passdb
from tests.servers.tls import ThrowAwayCa

SEAL = of_keys([b"k" * 32])


class Place:
    """A provider that takes access tokens, its sign-in server, and Ada's grant."""

    def __init__(self, folder: Path, provider: Provider, server: OAuthServer, workers: Workers) -> None:
        self.provider, self.server = provider, server
        secret = folder / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(CLIENT_SECRET + "\n")
        text = provider.account_yaml()
        begin = text.index("  password:")
        oauth = f"  oauth: {{{server.yaml}, client_secret: {{file: {secret}}}, tokens: {{file: {folder}/tokens}}}}\n"
        self.account: Account = account_of(text[:begin] + oauth, folder / "accounts.d/ada.yaml")
        assert self.account.sign_in.oauth is not None
        self.oauth = self.account.sign_in.oauth
        self.agree()
        self.sign_ins = SignIns(workers, SystemClock(), SEAL)
        self.workers = workers
        self.imap = client_context("imap", provider.ca.ca)
        self.smtp = client_context("smtp", provider.ca.ca)

    def agree(self) -> None:
        tokens.store(self.oauth, Kept(self.server.grant().refresh), PERSON, SEAL)

    async def by_the_watcher(self) -> list[str]:
        """Signs in as the watcher does; the capabilities say that it is so."""
        at = self.account.provider.imap

        async def attempt(secret: str) -> list[str]:
            connection = await self.workers.run(Connection.open, at.host, at.port, at.tls, self.imap)
            try:
                await self.workers.run(connection.sign_in, PERSON, secret)
                return [folder.name for folder in await self.workers.run(connection.folders)]
            finally:
                await self.workers.run(connection.close)

        return await once_more(self.sign_ins.of(self.account), attempt)

    async def for_a_client(self) -> tuple[str, ...]:
        door = Door(self.account.provider.imap, PERSON, self.sign_ins.of(self.account), self.imap)
        signed_in = await door.open()
        signed_in.abort()
        return signed_in.capabilities

    async def for_sending(self) -> str:
        door = SmtpDoor(
            self.account.provider.smtp, PERSON, self.sign_ins.of(self.account), self.smtp, "[127.0.0.1]", Limits()
        )
        session = await door.open()
        session.wire.close(b"QUIT\r\n")
        return session.welcome.text

    async def everywhere(self) -> None:
        assert "INBOX" in await self.by_the_watcher()
        assert "IDLE" in await self.for_a_client()
        assert "235" in await self.for_sending()


@pytest.fixture
def make_place(
    make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path
) -> Iterator[Callable[..., Place]]:
    with contextlib.ExitStack() as running:
        workers = Workers(4)
        running.callback(workers.close)

        def make(*, mechanisms: str = "xoauth2 oauthbearer", **options: Any) -> Place:
            server = running.enter_context(OAuthServer(ThrowAwayCa(tmp_path / "ca"), **options))
            dovecot = passdb(server, server_folder)
            dovecot["settings"] = dovecot["settings"].replace("login xoauth2 oauthbearer", f"login {mechanisms}")
            provider = make_provider(dovecot=dovecot)
            bundle = tmp_path / "both.pem"  # the provider's servers and the sign-in server have an authority each
            bundle.write_bytes(server.ca.ca.read_bytes() + provider.ca.ca.read_bytes())
            provider.ca.ca = bundle
            return Place(tmp_path, provider, server, workers)

        yield make


@pytest.mark.parametrize("mechanisms", ["xoauth2 oauthbearer", "xoauth2", "oauthbearer"])
@on_the_loop
async def test_reading_and_sending(make_place: Callable[..., Place], mechanisms: str) -> None:
    place = make_place(mechanisms=mechanisms)
    await place.everywhere()
    assert len(place.server.token_requests) == 1  # all three with one token


@on_the_loop
async def test_a_token_that_ends_before_its_time_is_replaced_at_once(make_place: Callable[..., Place]) -> None:
    """The provider forgets the access token (a password was changed, a key rolled over), not the grant."""
    place = make_place()
    for signs_in in (place.by_the_watcher, place.for_a_client, place.for_sending):
        await signs_in()
        asked = len(place.server.token_requests)
        place.server.tokens[-1].access += " forgotten"
        await signs_in()
        assert len(place.server.token_requests) == asked + 1


@on_the_loop
async def test_a_grant_that_is_taken_back(make_place: Callable[..., Place]) -> None:
    """Every way in says the same, in the sign-in server's words; and the person's agreement heals each of them."""
    place = make_place()
    await place.everywhere()
    place.server.revoke()
    for signs_in in (place.by_the_watcher, place.for_a_client):
        with pytest.raises(AccessRevoked) as refused:
            await signs_in()
        assert health_of(refused.value).cause is HealthCause.ACCESS_REVOKED
        assert "invalid_grant" in health_of(refused.value).evidence
    with pytest.raises(NotReady) as sending:
        await place.for_sending()
    assert (sending.value.event.cause, sending.value.reply) == (HealthCause.ACCESS_REVOKED, None)
    assert "invalid_grant" in sending.value.event.evidence
    place.agree()
    await place.everywhere()


@on_the_loop
async def test_a_sign_in_server_that_is_down_is_no_refusal(make_place: Callable[..., Place]) -> None:
    place = make_place()
    place.server.stop()
    with pytest.raises(NotReady) as sending:
        await place.for_sending()
    assert sending.value.event.cause is HealthCause.UNREACHABLE
    with pytest.raises(Exception, match="cannot be reached") as reading:
        await place.by_the_watcher()
    assert health_of(reading.value).cause is HealthCause.UNREACHABLE  # type: ignore[arg-type]


@on_the_loop
async def test_a_fresh_token_that_is_refused_is_a_refusal(make_place: Callable[..., Place]) -> None:
    """Somebody else's mailbox: the grant is well, and this user may not."""
    place = make_place(user="charles@example.test")
    with pytest.raises(SignInRefused) as refused:
        await place.by_the_watcher()
    assert health_of(refused.value).cause is HealthCause.SIGN_IN_REFUSED
    assert health_of(refused.value).evidence.endswith("(a fresh token)")
    with pytest.raises(SignInRefused, match="fresh access token"):
        await place.for_a_client()
    with pytest.raises(NotReady) as sending:
        await place.for_sending()
    assert sending.value.event.cause is HealthCause.SIGN_IN_REFUSED


@on_the_loop
async def test_a_server_that_takes_passwords_only(provider: Provider) -> None:
    connection = Connection.open("localhost", provider.dovecot.imaps_port, "implicit", provider.ca.client_context())
    try:
        with pytest.raises(ConfigError, match="neither XOAUTH2 nor OAUTHBEARER"):
            connection.sign_in(PERSON, AccessToken("x"))
        connection.sign_in(PERSON, PASSWORD)
    finally:
        connection.close()


@pytest.mark.parametrize("long", [False, True])
@on_the_loop
async def test_sending_a_long_token_waits_for_the_go_ahead(long: bool) -> None:
    """RFC 4954 section 4: a command line has 512 octets. And no word of the token in what is said about a refusal."""
    token = AccessToken("x" * (2000 if long else 100))
    wanted = base64.b64encode(f"user=ada@a\x01auth=Bearer {token}\x01\x01".encode()).decode()
    lines: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.say("220 x")
        await peer.ehlo(("AUTH XOAUTH2",))
        lines.append(await peer.line())
        if long:
            await peer.say("334 ")
            lines.append(await peer.line())
        await peer.say("334 " + base64.b64encode(b'{"status":"400"}').decode())
        lines.append(await peer.line())
        await peer.say(f"535 5.7.8 {token} is wrong")

    async def secret() -> str:
        return token

    async with scripted(script) as server, client(server, secret=secret) as ada:
        assert not isinstance(await ada.submit(), Accepted)
        assert ada.causes == [HealthCause.SIGN_IN_REFUSED]
        assert token not in ada.health[0].evidence
    assert lines == (["AUTH XOAUTH2", wanted, ""] if long else [f"AUTH XOAUTH2 {wanted}", ""])
