"""A sign-in server on loopback: Authlib's OAuth2 server in Flask, over TLS, with tokens that live for seconds.

What a person does there is done by the test (`agree`, `agree_by_code`, or a browser on the page), what a provider does
too: `revoke` the grant, `rotate` refresh tokens, answer slowly or not at all. Dovecot asks it about access tokens.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc9207 import IssuerParameter
from werkzeug.serving import make_server

from tests.servers.mailprovider import PERSON
from tests.servers.processes import Server, free_port
from tests.servers.tls import ThrowAwayCa, server_context

CLIENT_ID = "the-persons-own-client"
CLIENT_SECRET = "not-so-secret-in-a-desktop-program"
SCOPES = "mail.read mail.send"
PAGE = '<title>Sign in</title><form method="post"><button id="agree" name="answer" value="{}">Agree</button></form>'


class TheClient(ClientMixin):  # type: ignore[misc]
    """The one registered client: a desktop program with a secret, any port and path of loopback."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str | None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(each for each in scope.split() if each in SCOPES.split())

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.startswith(("http://127.0.0.1:", "http://localhost:"))

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post" or endpoint != "token"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class Code:
    """An authorization code, as Authlib's grants read it."""

    code: str
    user: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str
    at: float = field(default_factory=time.time)

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token:
    """An access token with its refresh token."""

    access: str
    refresh: str
    user: str
    expires_at: float
    scope: str
    revoked: bool = False

    def check_client(self, client: Any) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return self.revoked


class Device:
    """A device code and what became of it."""

    def __init__(self, data: dict[str, Any], scope: str) -> None:
        self.data = data
        self.scope = scope
        self.agreed: bool | None = None

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return str(self.data["user_code"])

    def is_expired(self) -> bool:
        return False


class OAuthServer(Server):
    """`lifetime` of access tokens in seconds; `rotate`: each refresh gives a new refresh token and ends the old one;
    `names_itself`: its answers carry `iss` (RFC 9207), `issuer` where that is to be somebody else."""

    def __init__(self, ca: ThrowAwayCa, *, lifetime: float = 3600, rotate: bool = True, user: str = PERSON) -> None:
        self.ca = ca
        self.lifetime = lifetime
        self.rotate = rotate
        self.user = user
        self.port, self.plain_port = free_port(), free_port()
        self.issuer: str | None = self.url("").rstrip("/")
        self.tokens: list[Token] = []
        self.codes: dict[str, Code] = {}
        self.devices: list[Device] = []
        self.token_requests: list[dict[str, str]] = []
        self.answers_with: tuple[int, str] | None = None  # in the place of a token
        self.retry_after: str | None = None  # told with it (RFC 9110 section 10.2.3)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Event()
        self._servers: list[tuple[Any, threading.Thread]] = []

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}/{path}"

    @property
    def yaml(self) -> str:
        """The endpoints as `sign_in.oauth` has them, on one line without braces."""
        return (
            f"client_id: {CLIENT_ID}, authorization_endpoint: '{self.url('authorize')}', "
            f"token_endpoint: '{self.url('token')}', device_endpoint: '{self.url('device')}', "
            f"revocation_endpoint: '{self.url('revoke')}', issuer: '{self.url('').rstrip('/')}', "
            "scopes: [mail.read, mail.send]"
        )

    def start(self) -> None:
        app = self._app()
        for port, context in ((self.port, server_context(self.ca.leaf)), (self.plain_port, None)):
            server: Any = make_server("127.0.0.1", port, app, threaded=True, ssl_context=context)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            self._servers.append((server, thread))

    def stop(self) -> None:
        self.may_answer.set()
        for server, thread in self._servers:
            server.shutdown()
            server.server_close()
            thread.join()
        self._servers = []

    # --- what the person and the provider do

    def grant(self) -> Token:
        """The person has agreed a while ago."""
        token = Token(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), self.user, time.time() + self.lifetime, SCOPES
        )
        self.tokens.append(token)
        return token

    def revoke(self) -> None:
        """The person takes the grant back at the provider."""
        for token in self.tokens:
            token.revoked = True

    def agree_by_code(self, *, yes: bool = True) -> None:
        """The person types the newest device code in and agrees, or does not."""
        self.devices[-1].agreed = yes

    # --- the server

    def _app(self) -> flask.Flask:
        app = flask.Flask("sign-in server")
        app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
            ("authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE), self.lifetime
        )
        server = AuthorizationServer(app, query_client=self._client, save_token=self._save)
        self._register(server)

        @app.route("/authorize", methods=["GET", "POST"])
        def authorize() -> Any:
            grant = server.get_consent_grant(end_user=self.user)
            if flask.request.method == "GET":
                return PAGE.format("yes")
            user = self.user if flask.request.form.get("answer", "yes") == "yes" else None
            return server.create_authorization_response(grant_user=user, grant=grant)

        @app.route("/token", methods=["POST"])
        def token() -> Any:
            self.token_requests.append(dict(flask.request.form))
            self.asked.set()
            self.may_answer.wait(60)
            if self.answers_with is not None:
                status, body = self.answers_with
                headers = {"Retry-After": self.retry_after} if self.retry_after else {}
                return flask.Response(body, status, headers, content_type="application/json")
            return server.create_token_response()

        @app.route("/device", methods=["POST"])
        def device() -> Any:
            return server.create_endpoint_response(_DeviceEndpoint.ENDPOINT_NAME)

        @app.route("/revoke", methods=["POST"])
        def revoke() -> Any:
            return server.create_endpoint_response(_Revocation.ENDPOINT_NAME)

        @app.route("/introspect", methods=["GET", "POST"])
        def introspect() -> Any:
            text = flask.request.values.get("token") or flask.request.headers.get("authorization", "")[7:]
            known = next((each for each in self.tokens if each.access == text), None)
            if known is None or known.is_expired() or known.revoked:
                return {"active": False}
            return {"active": True, "email": known.user, "username": known.user, "scope": known.scope}

        return app

    def _client(self, client_id: str) -> TheClient | None:
        return TheClient() if client_id == CLIENT_ID else None

    def _save(self, token: dict[str, Any], request: Any) -> None:
        refresh = token.get("refresh_token") or request.form.get("refresh_token", "")
        self.tokens.append(
            Token(token["access_token"], refresh, str(request.user), time.time() + self.lifetime, token["scope"])
        )

    def _register(self, server: AuthorizationServer) -> None:
        it = self

        class OfCode(grants.AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)

            def save_authorization_code(self, code: str, request: Any) -> Code:
                form = request.payload.data
                made = Code(
                    code,
                    request.user,
                    request.payload.redirect_uri,
                    request.payload.scope,
                    form.get("code_challenge", ""),
                    form.get("code_challenge_method", "plain"),
                )
                it.codes[code] = made
                return made

            def query_authorization_code(self, code: str, client: Any) -> Code | None:
                return it.codes.get(code)

            def delete_authorization_code(self, authorization_code: Code) -> None:
                del it.codes[authorization_code.code]

            def authenticate_user(self, authorization_code: Code) -> str:
                return authorization_code.user

        class OfRefreshToken(grants.RefreshTokenGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)
            INCLUDE_NEW_REFRESH_TOKEN = it.rotate

            def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
                return next((each for each in it.tokens if each.refresh == refresh_token and not each.revoked), None)

            def authenticate_user(self, refresh_token: Token) -> str:
                return refresh_token.user

            def revoke_old_credential(self, refresh_token: Token) -> None:
                if it.rotate:
                    refresh_token.refresh += " used"

        class OfDevice(DeviceCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)

            def query_device_credential(self, device_code: str) -> Device | None:
                return next((each for each in it.devices if each.data["device_code"] == device_code), None)

            def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
                known = next(each for each in it.devices if each.data["user_code"] == user_code)
                return None if known.agreed is None else (it.user, known.agreed)

            def should_slow_down(self, credential: Device) -> bool:
                return False

        class Itself(IssuerParameter):  # type: ignore[misc]
            def get_issuer(self) -> str | None:
                return it.issuer

        server.register_grant(OfCode, [CodeChallenge(required=True)])
        server.register_grant(OfRefreshToken)
        server.register_grant(OfDevice)
        server.register_extension(Itself())
        server.register_endpoint(type("_Device", (_DeviceEndpoint,), {"it": it}))
        server.register_endpoint(type("_Revoke", (_Revocation,), {"it": it}))


class _DeviceEndpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ("none", "client_secret_post")
    INTERVAL = 1
    it: OAuthServer

    def get_verification_uri(self) -> str:
        return self.it.url("activate")

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        self.it.devices.append(Device(data, scope))


class _Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ("client_secret_post",)
    it: OAuthServer

    def query_token(self, token: str, token_type_hint: str) -> Token | None:
        return next((each for each in self.it.tokens if each.refresh == token), None)

    def revoke_token(self, token: Token, request: Any) -> None:
        token.revoked = True


def passdb(server: OAuthServer, folder: Path) -> dict[str, Any]:
    """What Dovecot needs to take this server's access tokens, beside passwords: `Provider(dovecot=passdb(…))`."""
    file = folder / "oauth2.conf.ext"
    file.write_text(
        f"introspection_url = http://127.0.0.1:{server.plain_port}/introspect\n"
        "introspection_mode = post\nusername_attribute = email\nactive_attribute = active\nactive_value = true\n"
    )
    file.chmod(0o644)
    return {
        "settings": "auth_mechanisms = plain login xoauth2 oauthbearer\nauth_cache_size = 0\n"
        f"passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {file}\n}}\n"
    }


class Delegates:
    """Whose token opens which mailbox, for what: asked at each sign-in, so that a permission can be taken back."""

    def __init__(self, server: OAuthServer, folder: Path) -> None:
        self.passdb = passdb(server, folder)
        file = folder / "oauth2.conf.ext"
        # Dovecot 2.3 compares no more of the name than this; 2.4 calls the setting username_validation_format, and a
        # setting that it does not know ends its sign-in process, whose clients then wait.
        file.write_text(file.read_text() + "username_format = %d\npass_attrs = whose=%{oauth2:email}\n")
        self._may = folder / "may.dict"
        lookup = folder / "may.conf"
        lookup.write_text(
            f"uri = file:{self._may}\n"
            "key passdb {\n  key = %s/%{passdb:whose}/%u\n  format = json\n}\npassdb_objects = passdb\n"
        )
        settings = self.passdb["settings"].replace(
            "driver = oauth2\n", "driver = oauth2\n  result_success = continue\n"
        )
        self.passdb["settings"] = (
            f"{settings}passdb {{\n  driver = dict\n  mechanisms = xoauth2 oauthbearer\n  args = {lookup}\n}}\n"
        )

    def may(self, *what: tuple[str, str, str]) -> None:
        """These and no others, each as (service: imap | smtp, whose token, which mailbox), from the next sign-in on."""
        lines = [f'shared/{"/".join(each)}\n{{"nopassword": "y"}}\n' for each in what]
        fresh = self._may.with_name("may.new")
        fresh.write_text("".join(lines))
        fresh.replace(self._may)


def by_oauth(account: str, server: OAuthServer, folder: Path) -> str:
    """The text of an account's file with OAuth2 in the place of its password; the person has agreed. Secrets and tokens
    lie in `folder`."""
    for name, text in (
        ("client-secret", CLIENT_SECRET),
        ("tokens", json.dumps(_AGREED | {"refresh": server.grant().refresh})),
    ):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text + "\n")
    lies = f"client_secret: {{file: {folder}/client-secret}}, tokens: {{file: {folder}/tokens}}"
    return re.sub(r"(?m)^  password: .*$", f"  oauth: {{{server.yaml}, {lies}}}", account, count=1)


_AGREED = {"before": "", "access": "", "expires_at": 0.0, "lifetime": 0.0}
