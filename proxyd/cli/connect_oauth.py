"""Letting the person agree to OAuth2: in a browser here, by pasting from a browser elsewhere, or by a code."""

from __future__ import annotations

import asyncio
import sys
import time
import webbrowser
from dataclasses import dataclass

import click

from proxyd.cli.connect_browser import LIMIT, Listener
from proxyd.cli.connect_questions import Questions
from proxyd.cli.showing import note
from proxyd.config import Account, OAuth
from proxyd.errors import ProxydError, SignInRefused, TryLater
from proxyd.provider.consent import Consent, NotOurs
from proxyd.provider.token_endpoint import Answer, Pending, TokenEndpoint
from proxyd.provider.tokens import Kept, first_kept
from proxyd.workers import Workers

PASTED_TO = "127.0.0.1:1"  # nothing listens there: the browser says so, and the address line has the answer


@dataclass(frozen=True, slots=True)
class Agreement:
    """`paste`: the browser is on another machine. `secret` is the client's, "" where it has none."""

    account: Account
    oauth: OAuth
    endpoint: TokenEndpoint
    ask: Questions
    paste: bool

    async def kept(self, workers: Workers) -> Kept:
        """What the person's agreement gave. Raises SignInRefused, TryLater, ConfigError."""
        if self.oauth.flow == "device":
            answer = await self._by_device()
        elif self.paste or not _browser():
            answer = await self._by_pasting()
        else:
            answer = await self._by_browser(workers)
        return first_kept(answer, time.time())

    @property
    def _user(self) -> str:
        user = self.account.sign_in.smtp_user
        return user if "@" in user else self.account.address

    async def _by_browser(self, workers: Workers) -> Answer:
        async with Listener(self.oauth) as listener:
            address = listener.consent.address(self._user)
            note("Agree in your browser. Where it does not open by itself, open this address there:")
            note(f"\n  {address}\n")
            await workers.run(webbrowser.open, address)
            code = await listener.code()
        return await self.endpoint.of_code(code, listener.consent.redirect, listener.consent.verifier)

    async def _by_pasting(self) -> Answer:
        path = "/pasted" if self.oauth.random_path else ""
        consent = Consent.begun(self.oauth, f"http://{PASTED_TO.replace('127.0.0.1', self.oauth.redirect_host)}{path}")
        note("Open this address in a browser on any machine, and agree:")
        note(f"\n  {consent.address(self._user)}\n")
        note("The browser then says that it cannot open a page. Copy that page's address from its address line.")
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                code = consent.code_in(self._pasted())
            except NotOurs as error:
                if not self.ask.terminal:
                    raise
                note(f"{error}; copy the whole address that begins with {consent.redirect}")
                continue
            return await self.endpoint.of_code(code, consent.redirect, consent.verifier)
        raise TryLater(f"nobody agreed within {LIMIT / 60:.0f} minutes")

    def _pasted(self) -> str:
        if self.ask.terminal:
            return str(click.prompt("That address", err=True))
        line = sys.stdin.readline().strip()
        if not line:
            raise ProxydError("the address that the browser came back to is expected on standard input")
        return line

    async def _by_device(self) -> Answer:
        device = await self.endpoint.device_code()
        note(f"On any device, open {device.address} and type the code {device.user_code}")
        end = time.monotonic() + min(device.lifetime, 3 * LIMIT)
        wait = device.interval
        while time.monotonic() + wait < end:
            await asyncio.sleep(wait)
            try:
                return await self.endpoint.of_device_code(device)
            except Pending as pending:
                wait = pending.after or wait
        raise TryLater("nobody typed the code in time")


def _browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def refused(error: SignInRefused) -> str:
    """What to tell of a sign-in that came to nothing."""
    return f"{error}: {error.evidence}" if error.evidence else str(error)
