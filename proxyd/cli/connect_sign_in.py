"""Signing in at both servers with what the person gives: a password, or their agreement to OAuth2.

A wrong password may be typed again; an agreement for the wrong mailbox is told as that.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from proxyd.cli.connect_oauth import Agreement, refused
from proxyd.cli.connect_questions import Questions
from proxyd.cli.showing import note
from proxyd.config import Account, KeyringEntry, OAuth, SecretFile, read_secret
from proxyd.errors import ProxydError, SignInRefused
from proxyd.provider.sign_in import AccessToken
from proxyd.provider.tls import client_context
from proxyd.provider.token_endpoint import TokenEndpoint
from proxyd.provider.tokens import Kept
from proxyd.provider.trial import Trial
from proxyd.workers import Workers

TRIES = 3  # passwords that a person may type


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An account that both servers let in. What is to be kept: the `password` where it was typed, the OAuth2 `tokens`,
    the `client_secret` where it was typed."""

    trial: Trial
    password: str | None = None
    tokens: Kept | None = None
    client_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How the person signs in. `read`: the password lies somewhere already and is read from there."""

    ask: Questions
    workers: Workers
    from_stdin: bool = False
    read: bool = False
    paste: bool = False
    client_secret: str | None = None  # typed

    def signed_in(self, account: Account) -> SignedIn:
        """Raises ProxydError where it came to nothing."""
        oauth = account.sign_in.oauth
        return self._by_password(account) if oauth is None else asyncio.run(self._by_oauth(account, oauth))

    # --- by password

    def _by_password(self, account: Account) -> SignedIn:
        for attempt in range(TRIES):
            secret, typed = self._password(account)
            trial = Trial(account, secret, self.workers)
            try:
                asyncio.run(_both(trial))
            except SignInRefused as error:
                if not typed or self.from_stdin or not self.ask.terminal or attempt == TRIES - 1:
                    raise ProxydError(refused(error)) from None
                note(refused(error))
            else:
                return SignedIn(trial, secret if typed else None)
        raise AssertionError("the last try raises")

    def _password(self, account: Account) -> tuple[str, bool]:
        """The secret, and whether it was given now."""
        what = f"the mail password of {account.address}"
        if self.from_stdin:
            secret = sys.stdin.readline().rstrip("\r\n")
            if not secret:
                raise ProxydError(f"{what}: standard input is empty")
            return secret, True
        if self.read:
            return read_secret(account.sign_in.password, what), False
        if not isinstance(account.sign_in.password, KeyringEntry | SecretFile):  # only its owner can change it there
            return read_secret(account.sign_in.password, what), False
        option = "--password-stdin or --password-from"
        return self.ask.secret(f"Password of {account.sign_in.imap_user}", option), True

    # --- by OAuth2

    async def _by_oauth(self, account: Account, oauth: OAuth) -> SignedIn:
        secret = self.client_secret
        if secret is None and oauth.client_secret is not None:
            secret = read_secret(oauth.client_secret, f"{account.address}: client_secret")
        endpoint = TokenEndpoint(oauth, secret or "", client_context("sign-in", account.provider.ca))
        try:
            kept = await Agreement(account, oauth, endpoint, self.ask, self.paste).kept(self.workers)
        except SignInRefused as error:
            raise ProxydError(refused(error)) from None
        trial = Trial(account, AccessToken(kept.access), self.workers)
        for protocol, signing_in in (("IMAP", trial.imap), ("SMTP", trial.smtp)):
            try:
                await signing_in()
            except SignInRefused as error:
                raise ProxydError(_no_token(account, protocol, error.evidence)) from None
        return SignedIn(trial, tokens=kept, client_secret=self.client_secret)


def _no_token(account: Account, protocol: str, evidence: str) -> str:
    """What to tell where a mail server does not take a token that the sign-in server gave a moment ago."""
    reading, sending = account.sign_in.imap_user, account.sign_in.smtp_user
    if protocol == "SMTP":
        ask = f"Did you agree as {sending}, and is authenticated SMTP switched on for it?"
        if reading == sending:
            ask += " Reading works: a shared mailbox is sent from with a name of your own, --smtp-user YOU."
    elif reading == sending:
        ask = "Did you choose this mailbox's account, and is IMAP switched on for it?"
    else:
        ask = f"Did you agree as {sending}, and may {sending} open this mailbox (Full Access)?"
    name = sending if protocol == "SMTP" else reading
    return f"the mail server refused the access token for {name} by {protocol}: {evidence}. {ask}"


async def _both(trial: Trial) -> None:
    await trial.imap()
    await trial.smtp()
