"""The account's file that `proxyd connect` writes: read back it is what was meant, and a person can read it too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config import ConfigErrors, KeyringEntry, SecretFile, Server, account_of
from proxyd.config.account_file import Draft, quoted, text_of
from proxyd.config.sources import Command, Credential, Env, Source
from proxyd.config.tree import read_tree, values
from proxyd.errors import ConfigError

PATH = Path("/config/accounts.d/ada.yaml")
BARE = Draft("ada@example.com", "", KeyringEntry(""), KeyringEntry(""), "gmail is known by name", provider="gmail")
IMAP = Server(host="imap.example.com", port=993, tls="implicit")
SMTP = Server(host="smtp.example.com", port=587, tls="starttls")


def read(draft: Draft) -> object:
    return account_of(text_of(draft), PATH)


def test_a_preset() -> None:
    account = account_of(text_of(BARE), PATH)
    assert account.provider.name == "gmail"
    assert account.sign_in.password == KeyringEntry("ada@example.com/mail")
    assert account.client.password == KeyringEntry("ada@example.com/client")
    lines = text_of(BARE).splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        "address: ada@example.com", "provider: gmail", "sign_in:", "  password: keyring", "client:",
        "  password: keyring", "track: contacts",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 120


def test_everything_spelled_out() -> None:
    draft = Draft(
        "Ada@example.com",
        "Ada: \"the\" 'First'",
        Command(command=("pass", "show", "mail/ada: x")),
        Credential(credential="c"),
        "IMAP: DNS names it\nSMTP: x",
        imap=IMAP,
        smtp=SMTP,
        ca=Path("/etc/my ca.pem"),
        files_sent="no",
        imap_user="team@example.com",
        smtp_user="yes",
        dropbox="4711@bcc.crm.example",
        track="everything",
        on="2026-11-25",
    )
    account = account_of(text_of(draft), PATH)
    assert (account.provider.imap, account.provider.smtp) == (IMAP, SMTP)
    assert (account.provider.ca, account.provider.files_sent) == (draft.ca, "no")
    assert (account.sign_in.imap_user, account.sign_in.smtp_user) == ("team@example.com", "yes")
    assert (account.sign_in.password, account.client.password) == (draft.password, draft.client_password)
    assert (account.name, account.dropbox, account.track) == (draft.name, draft.dropbox, "everything")


@pytest.mark.parametrize(
    "source", [Env(env="ADA"), SecretFile(file=Path("secrets/ada's file")), Command(command=("a", "b c"))]
)
def test_every_source_reads_back(source: Source) -> None:
    draft = replace(BARE, password=source)
    found = account_of(text_of(draft), PATH).sign_in.password
    assert found == (SecretFile(file=Path("/config/secrets/ada's file")) if isinstance(source, SecretFile) else source)


def test_what_the_reader_refuses_is_refused_here() -> None:
    draft = replace(BARE, dropbox="ada@example.com")
    with pytest.raises(ConfigErrors, match="own address"):
        account_of(text_of(draft), PATH)


@given(st.text())
def test_any_text_is_one_scalar_or_refused(text: str) -> None:
    try:
        line = quoted(text)
    except ConfigError:
        assert not text.isprintable()
        return
    reading = read_tree(f"a: {{b: {line}, c: [{line}]}}\n".encode())
    assert not reading.problems
    assert reading.root is not None
    assert values(reading.root) == {"a": {"b": text, "c": (text,)}}
