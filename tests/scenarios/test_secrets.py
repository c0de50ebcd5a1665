"""Where no secret may be: files, logs, the process list and the environment, of the daemon and of what it starts."""

from __future__ import annotations

import base64
import contextlib
import json
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.oauth_server import OAuthServer, by_oauth, passdb
from tests.servers.tls import ThrowAwayCa
from tests.servers.waiting import eventually

COLLEAGUE = "colleague@example.test"
UNUSED = "what nobody has logged in with yet"
PRIVATE = "what the contract says of the price, for the two of us"
WRONG = "what a wrong client tried"


def secrets(rig: Rig) -> dict[str, list[bytes]]:
    """What to look for, by what it is: as it is, and as it crosses the wire."""

    def spelled(*texts: str) -> list[bytes]:
        return [octets for text in texts for octets in (text.encode(), base64.b64encode(text.encode()))]

    key = (rig.data / "store.key").read_text().strip()
    return {
        "the provider's password": spelled(PASSWORD, f"\0{PERSON}\0{PASSWORD}"),
        "the client's password": spelled(CLIENT_PASSWORD, f"\0{PERSON}\0{CLIENT_PASSWORD}"),
        "a wrong password": spelled(WRONG, f"\0{PERSON}\0{WRONG}"),
        "the store's key": [key.encode(), bytes.fromhex(key)],
    }


def processes(pid: int) -> list[int]:
    """The daemon, and all that it started and that still runs."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in processes(int(child)))]


def found(rig: Rig, wanted: dict[str, list[bytes]]) -> list[str]:
    own = {rig.client_password, rig.data / "store.key", *rig.provider.folder.glob("*.password")}
    places = [path for folder in (rig.config, rig.data) for path in folder.rglob("*") if path.is_file()] + [rig.log]
    if rig.runs:
        places += [Path(f"/proc/{pid}/{name}") for pid in processes(rig.pid) for name in ("cmdline", "environ")]
    return [
        f"{what} in {path}"
        for path in places
        if path not in own
        for what, spellings in wanted.items()
        if any(each in path.read_bytes() for each in spellings)
    ]


def test_no_secret_where_it_should_not_be(make_rig: Any) -> None:
    rig: Rig = make_rig(start=False)
    text = (rig.config / "accounts.d/ada.yaml").read_text()
    place = rig.provider.password_file()
    rig.write_account(text.replace(f"{{file: {place}}}", f"{{command: [sh, -c, 'cat {place}']}}"))
    rig.start()
    rig.connected()
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with (
        smtplib.SMTP_SSL("localhost", rig.port("smtps"), context=trust) as smtp,
        pytest.raises(smtplib.SMTPAuthenticationError),
    ):
        smtp.login(PERSON, WRONG)
    with rig.client() as smtp:
        smtp.noop()
    rig.provider.dovecot.set_password(PERSON, "changed meanwhile")  # a refusal, which the provider may quote
    rig.provider.dovecot.stop()
    rig.provider.dovecot.start()
    rig.hang_up()
    eventually(lambda: "refused" in rig.log.read_text(), "the refusal to be told", within=60)
    assert found(rig, secrets(rig)) == []
    (rig.data / "left behind").write_bytes(b"x" + base64.b64encode(f"\0{PERSON}\0{PASSWORD}".encode()) + b"y")
    assert found(rig, secrets(rig)) == [f"the provider's password in {rig.data / 'left behind'}"]  # our eyes are open


def in_memory(pid: int, wanted: bytes) -> int:
    """How often it stands in the process's memory now (proc(5))."""
    found = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, _, end = span.partition("-")
            if "r" in rights:
                with contextlib.suppress(OSError, ValueError, OverflowError):  # [vvar], [vsyscall]
                    memory.seek(int(start, 16))
                    found += memory.read(int(end, 16) - int(start, 16)).count(wanted)
    return found


def test_tokens_lie_in_no_file_in_clear(
    make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path
) -> None:
    """One that lies open, as an older proxyd left it, is enciphered when it is read first; those that follow it never
    lie open. What is enciphered is of use: the daemon goes on with it."""
    with OAuthServer(ThrowAwayCa(tmp_path / "ca"), lifetime=4) as server:
        provider = make_provider(dovecot=passdb(server, server_folder))
        provider.ca.ca.write_bytes(server.ca.ca.read_bytes() + provider.ca.ca.read_bytes())
        rig = Rig(tmp_path / "rig", provider)
        grant = rig.data / "grant"
        grant.mkdir()
        rig.write_account(by_oauth(provider.account_yaml(client_password=rig.client_password), server, grant))

        def tokens() -> dict[str, list[bytes]]:
            given = {text for each in server.tokens for text in (each.access, each.refresh.removesuffix(" used"))}
            return {
                "a token": [octets for text in given for octets in (text.encode(), base64.b64encode(text.encode()))]
            }

        rig.log.touch()
        assert found(rig, tokens()) == [f"a token in {grant / 'tokens'}"]
        rig.start()
        try:
            rig.connected()
            eventually(lambda: len(server.token_requests) > 2, "the token to be renewed, and its refresh token with it")
            assert found(rig, tokens()) == []
            done = rig.run("doctor", "--json")
            assert not [each for each in json.loads(done.stdout)["findings"] if "token" in each["what"]]
        finally:
            rig.stop()
        assert rig.run("rekey").returncode == 0
        asked = len(server.token_requests)
        rig.start()
        try:
            rig.connected()
            eventually(lambda: len(server.token_requests) > asked, "the token to be renewed, under another key")
            assert found(rig, tokens()) == []
        finally:
            rig.stop()


def test_what_is_in_the_daemons_memory(make_rig: Any) -> None:
    """A client's password is there from when it is used, not before. What Python has let go it cannot wipe, so nothing
    is said of what was used, nor of a mail's text; they are in no file, and the memory goes nowhere
    (tests/daemon/test_limits)."""
    rig: Rig = make_rig(start=False, more_users={COLLEAGUE: PASSWORD})
    unused = rig.folder / "colleague.password"
    unused.touch(mode=0o600)
    unused.write_text(UNUSED + "\n")
    rig.write_account(rig.provider.account_yaml(COLLEAGUE, client_password=unused), "colleague")
    rig.start()
    rig.connected()
    with rig.client() as smtp:
        smtp.noop()
    rig.send(letter(body=PRIVATE))
    assert in_memory(rig.pid, b"5a" * 32) > 0, "the store's key is in use: our eyes are open"
    assert in_memory(rig.pid, UNUSED.encode()) == 0
    assert found(rig, {"what an untracked mail says": [PRIVATE.encode()]}) == []
