"""One person's agreement in a browser: where they are sent, and what comes back (RFC 6749 section 4.1, RFC 8252).

Every attempt has a state, a verifier (PKCE, S256) and a redirect address of its own, and takes one answer. An answer
that does not carry the state is nobody's: it is not read any further.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from oauthlib.oauth2 import WebApplicationClient

from proxyd.config import OAuth
from proxyd.errors import ProxydError, SignInRefused
from proxyd.formats.smtp_client import printable


class NotOurs(ProxydError):
    """An answer to another question than ours: a stray request, or somebody who guesses."""


@dataclass(frozen=True, slots=True)
class Consent:
    """`redirect` is where the browser comes back to."""

    oauth: OAuth
    redirect: str
    state: str
    verifier: str

    @classmethod
    def begun(cls, oauth: OAuth, redirect: str) -> Consent:
        return cls(oauth, redirect, secrets.token_urlsafe(32), secrets.token_urlsafe(64))

    def address(self, user: str) -> str:
        """Where the person agrees. `user` is a hint which of their accounts is meant."""
        client = WebApplicationClient(self.oauth.client_id)
        return str(
            client.prepare_request_uri(
                self.oauth.authorization_endpoint,
                redirect_uri=self.redirect,
                scope=list(self.oauth.scopes),
                state=self.state,
                code_challenge=client.create_code_challenge(self.verifier, "S256"),
                code_challenge_method="S256",
                login_hint=user,
                **dict(self.oauth.ask_too),
            )
        )

    def code_in(self, address: str) -> str:
        """The code in the address that the browser came back to; its path is not looked at.

        Raises NotOurs, or SignInRefused with the server's words where the person or the server said no.
        """
        query = parse_qs(urlsplit(address.strip()).query, keep_blank_values=True, max_num_fields=50)

        def one(name: str) -> str:
            values = query.get(name, [""])
            return values[0] if len(values) == 1 else ""

        if not hmac.compare_digest(one("state").encode(), self.state.encode()):
            raise NotOurs("this is not the answer to the question that was asked (its state is another)")
        if self.oauth.issuer and one("iss") and one("iss") != self.oauth.issuer:  # RFC 9207 section 2.4
            raise NotOurs(f"the answer comes from another sign-in server: {printable(one('iss'), 100)}")
        if one("error"):
            words = printable(f"{one('error')}: {one('error_description')}".rstrip(": "))
            raise SignInRefused("the sign-in server did not give access", words)
        if not one("code"):
            raise NotOurs("the answer has no code")
        return one("code")
