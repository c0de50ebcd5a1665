"""A new user at a provider that takes access tokens, who agrees in a browser as soon as it opens."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.scenarios.new_user import PATIENCE, NewUser
from tests.servers.mailprovider import PERSON, Provider
from tests.servers.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer
from tests.servers.resolver import Resolver
from tests.servers.waiting import eventually


class OAuthUser(NewUser):
    """`server` gives the access tokens; `mailbox` is what is connected."""

    def __init__(
        self, folder: Path, provider: Provider, server: OAuthServer, resolver: Resolver, mailbox: str = PERSON
    ) -> None:
        both = folder / "both.pem"
        both.write_bytes(server.ca.ca.read_bytes() + provider.ca.ca.read_bytes())
        provider.ca.ca = both
        super().__init__(folder, provider, resolver)
        self.server = server
        self.mailbox = mailbox
        self.account = self.config / f"accounts.d/{mailbox}.yaml"
        self.browser = folder / "browser"
        self.browser.write_text(  # a person who agrees at once
            f'#!/bin/sh\nexec curl -sS --cacert {server.ca.ca} -L -d answer=yes -o {folder}/page "$1"\n'
        )
        self.browser.chmod(0o755)
        self.secret = folder / "client-secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text(CLIENT_SECRET + "\n")

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"BROWSER": f"{self.browser} %s"}

    def by_oauth(self, *more: str, input: str = "", **expect: Any) -> subprocess.CompletedProcess[str]:
        return self.run(*self.words(*more), input=input)

    def words(self, *more: str) -> list[str]:
        server, provider = self.server, self.provider
        words = ["connect", self.mailbox, "--ca", str(provider.ca.ca), "--no-test-mail", "--client-id", CLIENT_ID]
        words += [
            "--imap",
            f"localhost:{provider.dovecot.imaps_port}",
            "--smtp",
            f"localhost:{provider.postfix.smtps_port}",
        ]
        words += ["--client-secret-from", f"file:{self.secret}", "--scope", "mail.read", "--scope", "mail.send"]
        for name in ("authorization", "token", "device", "revocation"):
            path = {"authorization": "authorize", "revocation": "revoke"}.get(name, name)
            words += ["--endpoint", f"{name}_endpoint={server.url(path)}"]
        return [*words, "--endpoint", f"issuer={server.url('').rstrip('/')}", *more]

    @property
    def tokens(self) -> Path:
        return self.data / f"tokens/{self.mailbox}"

    def state(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout or '{"accounts": [{"state": ""}]}')
        account: dict[str, Any] = status["accounts"][0]
        return account

    def becomes(self, state: str, within: float = PATIENCE) -> dict[str, Any]:
        eventually(lambda: self.state()["state"] == state, f"the account to be {state}", within=within, every=0.2)
        return self.state()
