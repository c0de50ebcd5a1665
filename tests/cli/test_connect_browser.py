"""The address that a browser comes back to: one answer, and only from whom it was asked of."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from proxyd.cli.connect_browser import Listener
from proxyd.config import KeyringEntry, OAuth
from proxyd.errors import SignInRefused, TryLater
from proxyd.provider.consent import Consent, NotOurs
from tests.looping import on_the_loop

OAUTH = OAuth(
    client_id="mine",
    client_secret=None,
    flow="browser",
    tokens=KeyringEntry("x"),
    authorization_endpoint="https://login.example.com/authorize",
    token_endpoint="https://login.example.com/token",
    issuer="https://login.example.com",
    scopes=("mail", "offline"),
    ask_too=(("prompt", "consent"),),
)
MICROSOFT = OAUTH.model_copy(update={"redirect_host": "localhost", "random_path": False})


def test_what_is_asked() -> None:
    consent = Consent.begun(OAUTH, "http://127.0.0.1:5/x")
    address = urlsplit(consent.address("ada@example.com"))
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert f"{address.scheme}://{address.netloc}{address.path}" == OAUTH.authorization_endpoint
    digest = hashlib.sha256(consent.verifier.encode()).digest()
    assert asked == {
        "response_type": "code",
        "client_id": "mine",
        "redirect_uri": "http://127.0.0.1:5/x",
        "scope": "mail offline",
        "state": consent.state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "login_hint": "ada@example.com",
        "prompt": "consent",
    }
    again = Consent.begun(OAUTH, "http://127.0.0.1:5/x")
    assert len({consent.state, again.state, consent.verifier, again.verifier}) == 4


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("code=c&state={state}", "c"),
        ("code=c&state={state}&iss=https://login.example.com", "c"),
        ("code=c&state={state}&iss=https://evil.example", NotOurs),
        ("code=c&state=guessed", NotOurs),
        ("code=c", NotOurs),
        ("code=c&state={state}&state=guessed", NotOurs),
        ("state={state}", NotOurs),
        ("error=access_denied&state=guessed", NotOurs),
        ("error=access_denied&error_description=no%0d%0away&state={state}", SignInRefused),
        ("", NotOurs),
    ],
)
def test_what_comes_back(query: str, code: str | type[Exception]) -> None:
    consent = Consent.begun(OAUTH, "http://127.0.0.1:5/x")
    address = "http://127.0.0.1:5/x?" + query.format(state=consent.state)
    if isinstance(code, str):
        assert consent.code_in(f" {address}\n") == code
        return
    with pytest.raises(code) as raised:
        consent.code_in(address)
    if code is SignInRefused:
        assert raised.value.evidence == "access_denied: no way"  # type: ignore[attr-defined]


@on_the_loop
async def test_one_answer_and_no_other() -> None:
    async with Listener(OAUTH) as listener, httpx.AsyncClient() as browser:
        there, state = listener.consent.redirect, listener.consent.state
        assert there.startswith("http://127.0.0.1:")
        assert len(urlsplit(there).path) > 30
        right = {"code": "c", "state": state}
        root = f"http://{urlsplit(there).netloc}/"
        refused = [
            await browser.get(root, params=right),  # who found the port has not found the path
            await browser.post(there, params=right),
            await browser.get(there, params=right, headers={"host": "evil.example"}),  # DNS rebinding
            await browser.get(there, params=right, headers={"origin": "https://evil.example"}),
            await browser.get(there, params={"code": "c", "state": "guessed"}),
        ]
        assert [each.status_code for each in refused] == [404, 404, 403, 403, 400]
        assert "c" not in {each.text for each in refused}
        answered = await browser.get(there, params=right)
        assert (answered.status_code, "Thank you" in answered.text) == (200, True)
        assert answered.headers["cache-control"] == "no-store"
        assert await listener.code() == "c"
        assert (await browser.get(there, params=right)).status_code == 403


@on_the_loop
async def test_microsofts_registrations_know_no_path() -> None:
    async with Listener(MICROSOFT) as listener, httpx.AsyncClient() as browser:
        there = urlsplit(listener.consent.redirect)
        assert (there.hostname, there.path) == ("localhost", "")
        answer = {"code": "c", "state": listener.consent.state}
        at = f"http://127.0.0.1:{there.port}/"
        assert (await browser.get(at, params=answer, headers={"host": there.netloc})).status_code == 200
        assert await listener.code() == "c"


@on_the_loop
async def test_no_is_an_answer_and_silence_ends() -> None:
    async with Listener(OAUTH) as listener, httpx.AsyncClient() as browser:
        with pytest.raises(TryLater, match="nobody agreed"):
            await listener.code(0.01)
    async with Listener(OAUTH) as listener, httpx.AsyncClient() as browser:
        no = {"error": "access_denied", "state": listener.consent.state}
        assert "Access was not given" in (await browser.get(listener.consent.redirect, params=no)).text
        with pytest.raises(SignInRefused):
            await listener.code()
