"""`proxyd connect` and its kin as far as no server is needed: what is refused before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from proxyd.cli.connect_questions import server_option, source_option
from proxyd.config import KeyringEntry, SecretFile, Server
from proxyd.config.sources import Command, Credential, Env, Source
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring.backends.fail import Keyring

    monkeypatch.setattr("keyring.get_password", Keyring().get_password)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no address",), "is no mail address"),
        (("ada@example.com", "--provider", "gmial"), "no provider known by name"),
        (("ada@gmail.com", "--name", "Ada\nLovelace", "--password-stdin"), "does not fit on a line"),
        (("ada@gmail.com",), "answer by --password-stdin or --password-from"),
        (("ada@gmail.com", "--password-stdin"), "standard input is empty"),
        (("ada@gmail.com", "--password-from", "env:NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE"),
        (("ada@outlook.com",), "answer by --client-id ID"),
        (("ada@gmail.com", "--client-id", "x", "--flow", "device"), "this provider gives no device code for mail"),
        (("ada@gmail.com", "--client-id", "x", "--tenant", "y"), "only Microsoft's sign-in has tenants"),
        (("ada@gmail.com", "--client-id", "x", "--endpoint", "token=https://x"), "is unknown in sign_in.oauth"),
        (("ada@gmail.com", "--client-id", "x", "--client-secret-from", "file:/no/such"), "/no/such"),
    ],
)
@on_the_loop
async def test_what_is_refused_before_anybody_is_asked(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = await typed_beside("connect", *words, folder=tmp_path)
    assert (done.code, done.out) == (1, ""), done.err
    assert said in done.err
    assert "fault" not in done.err
    assert not list((tmp_path / "config").rglob("*"))


def test_an_alias_is_no_account_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "config/accounts.d"
    folder.mkdir(parents=True)
    (folder / "ada.yaml").write_text("address: ada@gmail.com\naliases: [sales@gmail.com]\nprovider: gmail\n")
    done = typed("connect", "Sales@gmail.com", "--password-stdin", folder=tmp_path)
    assert (done.code, "is an alias of ada@gmail.com" in done.err) == (1, True)


@pytest.mark.parametrize("command", ["reconnect", "disconnect"])
def test_whom_nobody_knows(tmp_path: Path, command: str) -> None:
    done = typed(command, "ada@example.com", folder=tmp_path)
    assert (done.code, "there is no account 'ada@example.com'" in done.err) == (1, True)


@pytest.mark.parametrize("words", [("--password-stdin",), ()])
def test_a_password_of_ones_own_is_changed_where_it_lies(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = tmp_path / "config/accounts.d"
    folder.mkdir(parents=True)
    (folder / "ada.yaml").write_text(
        "address: ada@gmail.com\nprovider: gmail\nsign_in: {password: {env: NO_SUCH_VARIABLE}}\n"
    )
    done = typed("reconnect", "ada@gmail.com", *words, folder=tmp_path)
    assert done.code == 1
    assert ("change it there" if words else "NO_SUCH_VARIABLE") in done.err


def test_disconnecting_is_asked_first(tmp_path: Path) -> None:
    folder = tmp_path / "config/accounts.d"
    folder.mkdir(parents=True)
    (folder / "ada.yaml").write_text("address: ada@gmail.com\nprovider: gmail\n")
    done = typed("disconnect", "ada@gmail.com", folder=tmp_path)
    assert (done.code, "answer by --yes" in done.err) == (1, True)
    assert (folder / "ada.yaml").exists()


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("imap.example.com", "imap.example.com", 993, "implicit"),
        ("imap.example.com:1993", "imap.example.com", 1993, "implicit"),
        ("imap.example.com:143", "imap.example.com", 143, "starttls"),
        ("imap.example.com+starttls", "imap.example.com", 143, "starttls"),
        ("imap.example.com:7+starttls", "imap.example.com", 7, "starttls"),
        ("[2001:db8::1]", "2001:db8::1", 993, "implicit"),
        ("[2001:db8::1]:1143+starttls", "2001:db8::1", 1143, "starttls"),
        ("localhost:1143+none", "localhost", 1143, "none"),
    ],
)
def test_a_server(text: str, host: str, port: int, tls: str) -> None:
    context = click.Context(click.Command("x"))
    assert server_option(993, 143)(context, click.Option(["--x"]), text) == Server.model_validate(
        {"host": host, "port": port, "tls": tls}
    )


@pytest.mark.parametrize(
    "text", ["", "a b", "host:0x", "host:99999", "host+ssl", "imap.example.com+none", "2001:db8::1"]
)
def test_no_server(text: str) -> None:
    with pytest.raises(click.BadParameter):
        server_option(993, 143)(click.Context(click.Command("x")), click.Option(["--x"]), text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("keyring", KeyringEntry("")),
        ("env:ADA", Env(env="ADA")),
        ("file:/etc/ada", SecretFile(file=Path("/etc/ada"))),
        ("credential:ada", Credential(credential="ada")),
        ("command:pass show mail/ada", Command(command=("pass", "show", "mail/ada"))),
        ("hunter2", None),
        ("env:", None),
        ("command: ", None),
    ],
)
def test_a_source(text: str, source: Source | None) -> None:
    context, option = click.Context(click.Command("x")), click.Option(["--x"])
    if source is not None:
        assert source_option(context, option, text) == source
        return
    with pytest.raises(click.BadParameter) as refused:
        source_option(context, option, text)
    assert "hunter2" not in str(refused.value)
