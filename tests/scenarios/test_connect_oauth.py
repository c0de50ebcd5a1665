"""OAuth2 as a person meets it: agreeing in a browser, by pasting, by a code; a grant taken back; coming and going."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.browser import chromium
from tests.scenarios.new_user import PATIENCE
from tests.scenarios.oauth_user import OAuthUser
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.oauth_server import CLIENT_SECRET, OAuthServer, passdb
from tests.servers.resolver import Resolver
from tests.servers.tls import ThrowAwayCa
from tests.servers.waiting import eventually


@pytest.fixture
def make_user(
    make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path
) -> Iterator[Callable[..., OAuthUser]]:
    with contextlib.ExitStack() as running:

        def make(**options: Any) -> OAuthUser:
            server = running.enter_context(OAuthServer(ThrowAwayCa(tmp_path / "ca"), **options))
            provider = make_provider(files_sent=True, dovecot=passdb(server, server_folder))
            return OAuthUser(tmp_path, provider, server, Resolver(tmp_path / "dns"))

        yield make


def test_agreed_in_a_browser_then_taken_back_then_agreed_again(make_user: Callable[..., OAuthUser]) -> None:
    """Tokens of four seconds: the daemon refreshes them as it signs in, and ahead of need. What it says is what the
    provider said."""
    user = make_user(lifetime=4)
    done = user.by_oauth()
    assert done.returncode == 0, done.stderr
    assert "Thank you" in (user.folder / "page").read_text()
    no_secret_anywhere(user)  # this machine has no keyring: they lie in a file, enciphered
    assert user.tokens.exists()
    asked = user.server.token_requests[0]
    assert (asked["grant_type"], len(asked["code_verifier"])) == ("authorization_code", 86)
    with user.daemon():
        user.server.revoke()
        told = user.becomes("access_revoked")  # although every connection stands
        assert "invalid_grant" in told["evidence"]
        assert told["cure"] == f"proxyd reconnect {PERSON}"
        again = user.run("reconnect", PERSON)
        assert again.returncode == 0, again.stderr
        user.becomes("connected")
        user.tokens.unlink()
        user.server.revoke()  # nobody has it any more
        (found,) = [each for each in graves(user) if each["kind"] == "tokens"]
        assert found["cure"] == f"proxyd reconnect {PERSON}"
        again = user.run(*found["cure"].split()[1:])
        assert again.returncode == 0, again.stderr
        user.becomes("connected")
        assert graves(user) == []
        gone = user.run("disconnect", PERSON, "--yes")
        assert gone.returncode == 0, gone.stderr
        assert "The grant was given back at the provider." in gone.stderr
        assert "Kept: what was logged" in gone.stderr
        assert json.loads(user.run("status", "--json").stdout)["accounts"] == []
    assert not user.tokens.exists()
    assert not user.account.exists()
    assert user.account.with_name(f"{PERSON}.yaml.disconnected").exists()
    assert [each for each in user.server.tokens if not each.revoked and each.refresh.count(" ") == 0] == []
    no_secret_anywhere(user)


def graves(user: OAuthUser) -> list[dict[str, Any]]:
    """What `proxyd doctor` finds, but for hints."""
    found: list[dict[str, Any]] = json.loads(user.run("doctor", "--json").stdout)["findings"]
    return [each for each in found if each["grave"]]


def test_agreed_in_chromium(make_user: Callable[..., OAuthUser]) -> None:
    """A real browser: its page, its redirect, its request to this machine."""
    user = make_user()
    asked = user.folder / "address"
    user.browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {asked}.new && mv {asked}.new {asked}\n')
    terminal = subprocess.Popen(
        [sys.executable, "-m", "proxyd", *user.words()],
        env=user.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(asked.exists, "the browser to be opened", within=PATIENCE)
    with chromium("--ignore-certificate-errors") as browser:
        browser.go(asked.read_text())
        browser.one("#agree").click()
        browser.sees("Thank you. You may close this window")
    assert terminal.stderr is not None
    err = terminal.stderr.read()
    assert terminal.wait(PATIENCE) == 0, err
    assert user.tokens.exists()


def no_secret_anywhere(user: OAuthUser) -> None:
    """Nothing that was ever a token, a code or a secret stands in a file that is left, the daemon's log among them."""
    tokens = {each.access for each in user.server.tokens} | {
        each.refresh.removesuffix(" used") for each in user.server.tokens
    }
    secrets = {CLIENT_SECRET.encode(), *(each.encode() for each in tokens)}
    assert tokens
    for path in [*user.config.rglob("*"), *user.data.rglob("*"), user.folder / "log"]:
        if path.is_file():
            octets = path.read_bytes()
            assert not [secret for secret in secrets if secret in octets], path


def test_agreed_on_another_machine_and_pasted(make_user: Callable[..., OAuthUser]) -> None:
    user = make_user()
    terminal = subprocess.Popen(
        [sys.executable, "-m", "proxyd", *user.words("--paste")],
        env=user.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert terminal.stderr is not None
    address = next(found[0] for line in terminal.stderr if (found := re.search(r"https://\S+", line)))
    with httpx.Client(verify=user.server.ca.client_context()) as web:
        assert "Agree" in web.get(address).text
        landed = web.post(address, data={"answer": "yes"}).headers["location"]
    assert landed.startswith("http://127.0.0.1:1/pasted?")
    out, err = terminal.communicate(landed + "\n", timeout=PATIENCE)
    assert terminal.returncode == 0, err
    assert "Thunderbird" in out


def test_agreed_by_a_code(make_user: Callable[..., OAuthUser]) -> None:
    user = make_user()
    terminal = subprocess.Popen(
        [sys.executable, "-m", "proxyd", *user.words("--flow", "device")],
        env=user.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert terminal.stderr is not None
    said = next(line for line in terminal.stderr if "type the code" in line)
    assert user.server.devices[0].get_user_code() in said
    assert user.server.url("activate") in said
    eventually(lambda: len(user.server.token_requests), "a first question", within=PATIENCE)  # not yet, says the server
    user.server.agree_by_code()
    err = terminal.stderr.read()
    assert terminal.wait(PATIENCE) == 0, err
    assert "flow: device" in user.account.read_text()


@pytest.mark.parametrize("how", ["refuses", "another mailbox", "another issuer"])
def test_what_comes_to_nothing_leaves_nothing(make_user: Callable[..., OAuthUser], how: str) -> None:
    user = make_user(**({"user": "charles@example.test"} if how == "another mailbox" else {}))
    more: tuple[str, ...] = ()
    said = {
        "refuses": "access_denied",
        "another mailbox": "Did you choose this mailbox's account",
        "another issuer": "another sign-in server",
    }[how]
    if how == "refuses":
        user.browser.write_text(user.browser.read_text().replace("answer=yes", "answer=no"))
    if how == "another issuer":
        user.server.issuer = "https://evil.example"
        more = ("--paste",)
        terminal = subprocess.Popen(
            [sys.executable, "-m", "proxyd", *user.words(*more)],
            env=user.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert terminal.stderr is not None
        address = next(found[0] for line in terminal.stderr if (found := re.search(r"https://\S+", line)))
        with httpx.Client(verify=user.server.ca.client_context()) as web:
            landed = web.post(address, data={"answer": "yes"}).headers["location"]
        out, err = terminal.communicate(landed + "\n", timeout=PATIENCE)
        code = terminal.returncode
    else:
        done = user.by_oauth()
        code, out, err = done.returncode, done.stdout, done.stderr
    assert (code, out) == (1, ""), err
    assert said in err
    assert user.everything() == set()


def test_a_new_password(make_user: Callable[..., OAuthUser]) -> None:
    """`reconnect` where a password is the way: tried first, then kept; a wrong one changes nothing."""
    user = make_user()
    place = [
        "--imap",
        f"localhost:{user.provider.dovecot.imaps_port}",
        "--smtp",
        f"localhost:{user.provider.postfix.smtps_port}",
    ]
    words = ["connect", PERSON, *place, "--ca", str(user.provider.ca.ca), "--no-test-mail", "--password-stdin"]
    done = user.run(*words, input=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    user.provider.dovecot.set_password(PERSON, "a new one")
    wrong = user.run("reconnect", PERSON, "--password-stdin", input=PASSWORD + "\n")
    assert (wrong.returncode, "refused" in wrong.stderr) == (1, True)
    right = user.run("reconnect", PERSON, "--password-stdin", input="a new one\n")
    assert right.returncode == 0, right.stderr
    kept = user.config / f"secrets/{PERSON}.password"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("a new one\n", 0o600)
    gone = user.run("disconnect", PERSON, "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not kept.exists()
    assert list((user.config / "secrets").iterdir()) == []
    assert user.run("check").stdout.startswith("No account yet")
