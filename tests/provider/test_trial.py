"""An account tried out at a real provider: Sent, and what a mail to oneself shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.config import account_of
from proxyd.errors import SignInRefused, TryLater
from proxyd.provider.trial import Habits, Trial
from proxyd.workers import Workers
from tests.looping import on_the_loop
from tests.servers.mailprovider import DROPBOX, PASSWORD, PERSON, Provider

FOLDER = Path("/config/accounts.d/ada.yaml")


@pytest.fixture(name="trial")
def make_trial() -> Iterator[Callable[..., Trial]]:
    workers = Workers(1)

    def made(provider: Provider, more: str = "", secret: str = PASSWORD) -> Trial:
        account = account_of(provider.account_yaml(more=more), FOLDER)
        return Trial(account, secret, workers, filed_within=1.0)

    yield made
    workers.close()


@on_the_loop
async def test_a_provider_that_files_sent_mail(
    trial: Callable[..., Trial], make_provider: Callable[..., Provider]
) -> None:
    provider = make_provider(files_sent=True)
    sent = await trial(provider).imap()
    assert (sent.name, sent.because) == ("Sent", "the server marks it \\Sent")
    assert await trial(provider).mail_to_oneself(sent) == Habits(arrived=True, files_sent=True, new_id=False)
    (mail,) = provider.dovecot.messages(PERSON)
    assert b"Auto-Submitted: auto-generated" in mail.octets
    assert "\\Seen" not in mail.flags


@on_the_loop
async def test_a_provider_that_does_not(trial: Callable[..., Trial], make_provider: Callable[..., Provider]) -> None:
    """And what lies in the mailbox already is not looked into."""
    provider = make_provider()
    for n in range(3):
        provider.dovecot.deliver(PERSON, f"Subject: private {n}\r\n\r\nprivate\r\n".encode())
    sent = await trial(provider).imap()
    habits = await trial(provider, f"dropbox: {DROPBOX}\n").mail_to_oneself(sent)
    assert habits == Habits(arrived=True, files_sent=False, new_id=False)
    assert len(provider.dovecot.messages(DROPBOX)) == 1
    wire = provider.dovecot.rawlog(PERSON)
    assert "private" not in wire
    assert "BODY[]" not in wire.upper()


@on_the_loop
async def test_a_provider_that_gives_another_id(
    trial: Callable[..., Trial], make_provider: Callable[..., Provider]
) -> None:
    """Postfix rewrites the Message-ID as Exchange does."""
    rule = "regexp:{{/^Message-ID: <(.*)@(.*)>/ REPLACE Message-ID: <new.$1@provider.test>}}"
    provider = make_provider(files_sent=True, postfix={"settings": {"header_checks": rule}})
    sent = await trial(provider).imap()
    assert await trial(provider).mail_to_oneself(sent) == Habits(arrived=True, files_sent=True, new_id=True)


@on_the_loop
async def test_a_dropbox_that_is_refused_is_told_and_fails_nothing(
    trial: Callable[..., Trial], provider: Provider
) -> None:
    sent = await trial(provider).imap()
    habits = await trial(provider, "dropbox: nobody@example.test\n").mail_to_oneself(sent)
    assert habits.arrived
    assert "550 5.1.1" in habits.dropbox


@on_the_loop
async def test_a_wrong_password_is_refused_by_both(trial: Callable[..., Trial], provider: Provider) -> None:
    wrong = trial(provider, secret="wrong")
    with pytest.raises(SignInRefused) as imap:
        await wrong.imap()
    assert "Authentication failed" in imap.value.evidence
    with pytest.raises(SignInRefused) as smtp:
        await wrong.smtp()
    assert "535" in smtp.value.evidence
    await trial(provider).smtp()


@on_the_loop
async def test_a_server_that_is_down_is_not_a_wrong_password(trial: Callable[..., Trial], provider: Provider) -> None:
    tried = trial(provider)
    provider.postfix.stop()
    with pytest.raises(TryLater, match="the connection was refused"):
        await tried.smtp()


@on_the_loop
async def test_no_more_is_waited_than_was_said(trial: Callable[..., Trial], provider: Provider) -> None:
    """A Sent folder that does not exist yet, and a mail that does not arrive: the answer comes, and says so."""
    tried = replace(trial(provider), arrives_within=0.5)
    sent = await tried.imap()
    provider.dovecot.set_password(PERSON, PASSWORD)
    habits = await tried.mail_to_oneself(replace(sent, name="Nowhere", exists=False))
    assert not habits.files_sent
