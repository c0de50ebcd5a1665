"""Tokens from a real sign-in server: refreshed when they end, one refresh at a time, kept before they are used."""

from __future__ import annotations

import asyncio
import functools
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxyd.config import OAuth, SecretFile
from proxyd.config.sealed_files import of_keys
from proxyd.errors import ConfigError, TryLater
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider import tokens
from proxyd.provider.token_endpoint import AccessRevoked, NotNow
from proxyd.provider.tokens import Kept, Tokens
from proxyd.workers import Workers, start
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.servers.mailprovider import PERSON
from tests.servers.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer
from tests.servers.tls import ThrowAwayCa

SEAL = of_keys([b"k" * 32])


class Grant:
    """Ada's grant at `server`: agreed to, and kept in a file."""

    def __init__(self, folder: Path, server: OAuthServer, workers: Workers) -> None:
        self.server = server
        self.clock = ManualClock()
        self.file = folder / "tokens"
        secret = folder / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(CLIENT_SECRET + "\n")
        self.oauth = OAuth(
            client_id=CLIENT_ID,
            client_secret=SecretFile(file=secret),
            flow="browser",
            tokens=SecretFile(file=self.file),
            authorization_endpoint=server.url("authorize"),
            token_endpoint=server.url("token"),
            revocation_endpoint=server.url("revoke"),
            scopes=("mail.read", "mail.send"),
        )
        self.given = server.grant()
        self.keep(Kept(self.given.refresh))
        self.workers = workers
        self.told: list[HealthEvent] = []
        self.tokens = self.fresh()

    def fresh(self) -> Tokens:
        """As after a restart."""
        endpoint = functools.partial(tokens.endpoint_of, self.oauth, PERSON, self.server.ca.ca)
        return Tokens(self.oauth, PERSON, endpoint, self.workers, self.clock, SEAL, self.told.append)

    @property
    def causes(self) -> list[HealthCause]:
        """What was told of the sign-in server."""
        assert all(each.protocol == "OAuth2" for each in self.told)
        return [each.cause for each in self.told]

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        renewing = start(self.tokens.keep_fresh(lambda: 0.5), "renewing")
        try:
            await self.clock.sleeper()
            yield
        finally:
            renewing.cancel()

    def keep(self, kept: Kept) -> None:
        tokens.store(self.oauth, kept, PERSON, SEAL)

    @property
    def kept(self) -> Kept:
        return tokens.load(self.oauth, PERSON, SEAL)


@pytest.fixture
def make_grant(tmp_path: Path) -> Iterator[Callable[..., Grant]]:
    workers = Workers(4)
    running: list[OAuthServer] = []

    def make(**options: Any) -> Grant:
        server = OAuthServer(ThrowAwayCa(tmp_path / "ca"), **options)
        server.start()
        running.append(server)
        return Grant(tmp_path, server, workers)

    yield make
    for each in running:
        each.stop()
    workers.close()


@on_the_loop
async def test_it_is_refreshed_when_it_ends_and_not_before(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant(lifetime=600)
    first = await grant.tokens.access_token()
    await grant.clock.advance(539)
    assert await grant.tokens.access_token() == first
    await grant.clock.advance(2)  # its last tenth
    second = await grant.tokens.access_token()
    assert second != first
    assert len(grant.server.token_requests) == 2
    assert await grant.fresh().access_token() == second  # after a restart the one that is kept will do
    assert len(grant.server.token_requests) == 2


@on_the_loop
async def test_who_asks_at_the_same_time_waits_for_one_refresh(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    answers = await asyncio.gather(*(grant.tokens.access_token() for _ in range(20)))
    assert len(set(answers)) == 1
    assert len(grant.server.token_requests) == 1


@on_the_loop
async def test_who_waited_for_one_that_failed_does_not_ask_again(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    grant.server.answers_with = (500, "")
    grant.server.may_answer.clear()
    asking = [asyncio.ensure_future(grant.tokens.access_token())]
    await asyncio.get_running_loop().run_in_executor(None, grant.server.asked.wait, 20)
    asking += [asyncio.ensure_future(grant.tokens.access_token()) for _ in range(4)]
    await asyncio.sleep(0)
    grant.server.may_answer.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in answers] == [TryLater] * 5
    assert len(grant.server.token_requests) == 1
    grant.server.answers_with = None
    assert await grant.tokens.access_token()


@on_the_loop
async def test_what_is_given_is_kept_before_it_is_used(make_grant: Callable[..., Grant]) -> None:
    """The old refresh token stays until the new one has worked; nobody else can read either."""
    grant = make_grant(lifetime=600)
    access = await grant.tokens.access_token()
    kept = grant.kept
    assert (kept.access, kept.before) == (access, grant.given.refresh.removesuffix(" used"))
    assert kept.refresh not in ("", kept.before)
    assert stat.S_IMODE(grant.file.stat().st_mode) == 0o600
    await grant.clock.advance(601)
    await grant.tokens.access_token()
    assert grant.kept.before == kept.refresh  # and the first is forgotten


@on_the_loop
async def test_a_refresh_token_that_stays_the_same(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant(lifetime=600, rotate=False)
    await grant.tokens.access_token()
    assert (grant.kept.refresh, grant.kept.before) == (grant.given.refresh, "")


@on_the_loop
async def test_a_new_refresh_token_that_does_not_work_costs_nobody_their_sign_in(
    make_grant: Callable[..., Grant],
) -> None:
    """A provider that crashed behind its answer knows the old one only."""
    grant = make_grant()
    grant.keep(Kept("never heard of", grant.given.refresh))
    assert await grant.fresh().access_token()
    assert grant.server.token_requests[0]["refresh_token"] == "never heard of"


@on_the_loop
async def test_what_cannot_be_kept_is_not_used_and_not_lost(
    make_grant: Callable[..., Grant], monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = make_grant()
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "write_sealed", _full)
        for _ in range(2):
            with pytest.raises(ConfigError, match="no space"):
                await grant.tokens.access_token()
    assert await grant.tokens.access_token() == grant.kept.access
    assert len(grant.server.token_requests) == 1


def _full(*_: object) -> None:
    raise ConfigError("no space left on device")


@on_the_loop
async def test_a_revoked_grant_says_so_in_the_servers_words(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    grant.server.revoke()
    with pytest.raises(AccessRevoked) as refused:
        await grant.tokens.access_token()
    assert refused.value.evidence.startswith("invalid_grant")
    assert grant.given.refresh not in str(refused.value) + refused.value.evidence
    grant.keep(Kept(grant.server.grant().refresh))  # the person agrees anew
    assert await grant.tokens.access_token()


@on_the_loop
async def test_who_agreed_anew_while_we_refreshed_is_not_overwritten(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    grant.server.may_answer.clear()
    asking = asyncio.ensure_future(grant.tokens.access_token())
    await asyncio.get_running_loop().run_in_executor(None, grant.server.asked.wait, 20)
    grant.keep(Kept("the person's new one", "", "a new access token", 4e9, 600.0))
    grant.server.may_answer.set()
    assert await asking == "a new access token"
    assert grant.kept.refresh == "the person's new one"


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (503, "", NotNow, "HTTP 503"),
        (500, "", TryLater, "HTTP 500"),
        (200, "<html>hotel wifi</html>", TryLater, "not now"),
        (429, '{"error": "invalid_grant"}', NotNow, "invalid_grant"),
        (400, '{"error": "temporarily_unavailable"}', NotNow, "not now"),
        (200, '{"token_type": "Bearer"}', TryLater, "cannot be read"),
        (200, '{"access_token": "x", "expires_in": "soon"}', TryLater, "cannot be read"),
        (401, '{"error": "invalid_client", "error_description": "a\\r\\nb"}', ConfigError, "invalid_client: a b"),
        (400, '{"error": "invalid_scope"}', ConfigError, "sign_in.oauth"),
        (400, '{"error": "interaction_required"}', AccessRevoked, "access was withdrawn"),
    ],
)
@on_the_loop
async def test_what_other_answers_mean(
    make_grant: Callable[..., Grant], status: int, body: str, error: type[Exception], said: str
) -> None:
    grant = make_grant()
    grant.server.answers_with = (status, body)
    with pytest.raises(error, match=said) as raised:
        await grant.tokens.access_token()
    assert type(raised.value) is error
    grant.server.answers_with = None
    assert await grant.tokens.access_token()


@on_the_loop
async def test_a_server_that_is_down_or_slow_is_no_refusal(
    make_grant: Callable[..., Grant], monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxyd.provider import token_endpoint

    grant = make_grant()
    monkeypatch.setattr(token_endpoint, "LIMIT", 0.3)
    grant.server.may_answer.clear()
    with pytest.raises(TryLater, match="did not answer in time"):
        await grant.tokens.access_token()
    grant.server.stop()
    with pytest.raises(TryLater, match="cannot be reached"):
        await grant.tokens.access_token()


@on_the_loop
async def test_it_is_renewed_before_anybody_needs_it_and_a_grant_that_is_gone_shows(
    make_grant: Callable[..., Grant],
) -> None:
    grant = make_grant(lifetime=600)
    async with grant.kept_fresh():
        first = await grant.tokens.access_token()
        assert len(grant.server.token_requests) == 1, "one for both"
        await grant.clock.advance(509)
        assert len(grant.server.token_requests) == 1
        await grant.clock.advance(1)
        await grant.clock.sleeper()
        assert await grant.tokens.access_token() != first
        assert grant.causes == [HealthCause.SIGNED_IN, HealthCause.SIGNED_IN]
        grant.server.revoke()
        await grant.clock.advance(511)
        await grant.clock.sleeper()
        assert grant.causes[2:] == [HealthCause.ACCESS_REVOKED]
        assert grant.told[-1].evidence.startswith("invalid_grant")
        asked = len(grant.server.token_requests)
        await grant.clock.advance(1800)
        assert len(grant.server.token_requests) == asked, "once an hour is enough to ask for what is gone"


@on_the_loop
async def test_a_server_that_is_unwell_is_nobodys_trouble_while_the_token_will_do(
    make_grant: Callable[..., Grant],
) -> None:
    grant = make_grant(lifetime=6000)
    async with grant.kept_fresh():
        grant.server.answers_with = (500, "")
        await grant.clock.advance(5105)
        await grant.clock.sleeper()
        asked = len(grant.server.token_requests)
        assert asked == 2
        assert grant.causes == [HealthCause.SIGNED_IN]
        await grant.clock.advance(2)
        await grant.clock.sleeper()
        assert len(grant.server.token_requests) == 3, "tried again soon"
        await grant.clock.advance(895)
        await grant.clock.sleeper()
        with pytest.raises(TryLater):
            await grant.tokens.access_token()
        assert HealthCause.UNREACHABLE in grant.causes[1:]
        grant.server.answers_with = None
        assert await grant.tokens.access_token()
        assert grant.causes[-1] is HealthCause.SIGNED_IN


@on_the_loop
async def test_a_server_that_asks_for_patience_is_not_asked(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    grant.server.answers_with, grant.server.retry_after = (429, '{"error": "slow_down"}'), "90"
    for left in (90, 80):
        with pytest.raises(NotNow, match="slow_down") as raised:
            await grant.tokens.access_token()
        assert raised.value.after == left
        await grant.clock.advance(10)
    assert len(grant.server.token_requests) == 1
    assert grant.causes == [HealthCause.THROTTLED]
    grant.server.answers_with = None
    await grant.clock.advance(70)
    assert await grant.tokens.access_token()


@on_the_loop
async def test_a_person_is_not_kept_waiting_by_it(make_grant: Callable[..., Grant]) -> None:
    grant = make_grant()
    grant.server.answers_with, grant.server.retry_after = (503, ""), "Mon, 23 Nov 2099 10:00:00 GMT"
    with pytest.raises(NotNow):
        await grant.tokens.access_token()
    grant.server.answers_with = None
    grant.tokens.afresh()
    assert await grant.tokens.access_token()


@pytest.mark.parametrize("text", ["", "{}", "hunter2", '{"refresh": 5}', "[1]"])
def test_what_is_no_token_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="agree anew") as raised:
        tokens.read_kept(text, "the tokens of ada@example.test")
    assert "hunter2" not in str(raised.value)


def test_one_line() -> None:
    kept = Kept("a\nb", "ü", 'c"', 1.5, 2.0)
    line = tokens.text_of(kept)
    assert "\n" not in line
    assert tokens.read_kept(line, "x") == kept
    assert json.loads(line)["refresh"] == "a\nb"
    assert replace(kept) == kept
