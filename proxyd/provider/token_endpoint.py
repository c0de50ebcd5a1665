"""Talking to a provider's sign-in server: codes and refresh tokens in, access tokens out (RFC 6749, 7009, 8628).

Why oauthlib: it forms and reads OAuth's messages and does no I/O, so that HTTP is the same client as everywhere else.
What leaves this module as an error is named after who must act; no text of it holds a token, a code or a secret.
"""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx
from oauthlib.oauth2 import DeviceClient, OAuth2Error, WebApplicationClient

from proxyd.config import OAuth
from proxyd.errors import ConfigError, ProxydError, SignInRefused, TryLater
from proxyd.formats.smtp_client import printable
from proxyd.model import HealthCause
from proxyd.rules.grants import Meaning, meaning

LIMIT = httpx.Timeout(20.0, connect=10.0)  # seconds
USUAL_LIFETIME = 3600.0  # seconds, where the server does not say


class AccessRevoked(SignInRefused):
    """The person's grant is gone: they have to agree anew."""


class NotNow(TryLater):
    """The sign-in server answers, and asks for patience: for `after` seconds, where it says so."""


class Pending(TryLater):
    """The person has not answered yet (RFC 8628 section 3.5). `after` is how long to wait from now on."""


def cause_of(error: ProxydError) -> HealthCause:
    """What it means for the account that no access token, or no password, could be had."""
    match error:
        case AccessRevoked():
            return HealthCause.ACCESS_REVOKED
        case NotNow():
            return HealthCause.THROTTLED
        case TryLater():
            return HealthCause.UNREACHABLE
        case _:
            return HealthCause.MISCONFIGURED


@dataclass(frozen=True, slots=True)
class Answer:
    """What the token endpoint gave. `refresh` is "" where it gave no new one; `lifetime` is in seconds."""

    access: str
    refresh: str
    lifetime: float


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What to show the person, and what to ask with (RFC 8628 section 3.2). `lifetime` and `interval` in seconds."""

    code: str
    user_code: str
    address: str
    lifetime: float
    interval: float


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """`secret` is the client's, "" where it has none. Every method raises AccessRevoked, TryLater or ConfigError."""

    oauth: OAuth
    secret: str
    tls: ssl.SSLContext

    async def of_code(self, code: str, redirect: str, verifier: str) -> Answer:
        """RFC 6749 section 4.1.3, with the verifier of RFC 7636."""
        client = WebApplicationClient(self.oauth.client_id)
        body = client.prepare_request_body(code=code, redirect_uri=redirect, code_verifier=verifier)
        return self._read(client, await self._post(self.oauth.token_endpoint, _form(body) | self._ours()))

    async def of_refresh_token(self, refresh: str) -> Answer:
        client = WebApplicationClient(self.oauth.client_id)
        body = client.prepare_refresh_body(refresh_token=refresh, client_id=self.oauth.client_id)
        return self._read(client, await self._post(self.oauth.token_endpoint, _form(body) | self._ours()))

    async def device_code(self) -> DeviceCode:
        """RFC 8628 section 3.1."""
        body = {"client_id": self.oauth.client_id, "scope": " ".join(self.oauth.scopes)}
        answer = await self._post(self.oauth.device_endpoint, body | self._ours())
        said = _json(answer)
        if not answer.is_success or said is None:
            raise self._refused(answer)
        try:
            return DeviceCode(
                str(said["device_code"]),
                printable(str(said["user_code"])),
                printable(str(said.get("verification_uri") or said["verification_url"])),
                float(str(said.get("expires_in", 900))),
                float(str(said.get("interval", 5))),
            )
        except (KeyError, ValueError, TypeError):
            raise TryLater(f"{self._host}: the answer to the request for a device code cannot be read") from None

    async def of_device_code(self, device: DeviceCode) -> Answer:
        """Raises Pending while the person has not agreed yet."""
        client = DeviceClient(self.oauth.client_id)
        body = client.prepare_request_body(device_code=device.code, include_client_id=True)
        answer = await self._post(self.oauth.token_endpoint, _form(body) | self._ours())
        error = (_json(answer) or {}).get("error")
        if error in ("authorization_pending", "slow_down"):
            raise Pending("not agreed yet", device.interval + (5.0 if error == "slow_down" else 0.0))
        return self._read(client, answer)

    async def revoke(self, refresh: str) -> None:
        """RFC 7009. Nothing where the provider has no such endpoint."""
        if self.oauth.revocation_endpoint:
            body = {"token": refresh, "token_type_hint": "refresh_token", "client_id": self.oauth.client_id}
            answer = await self._post(self.oauth.revocation_endpoint, body | self._ours())
            if not answer.is_success:
                raise self._refused(answer)

    # --- one request

    @property
    def _host(self) -> str:
        return urlsplit(self.oauth.token_endpoint).netloc

    def _ours(self) -> dict[str, str]:
        return {"client_secret": self.secret} if self.secret else {}

    async def _post(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        try:
            async with httpx.AsyncClient(verify=self.tls, timeout=LIMIT) as web:
                return await web.post(url, data=dict(form), headers={"accept": "application/json"})
        except httpx.TimeoutException:
            raise TryLater(f"the sign-in server {urlsplit(url).netloc} did not answer in time") from None
        except httpx.HTTPError as error:
            why = printable(str(error)) or type(error).__name__
            raise TryLater(f"the sign-in server {urlsplit(url).netloc} cannot be reached: {why}") from None

    def _read(self, client: WebApplicationClient | DeviceClient, answer: httpx.Response) -> Answer:
        if not answer.is_success or _json(answer) is None:
            raise self._refused(answer)
        try:
            token = client.parse_request_body_response(answer.text)
            lifetime = float(token.get("expires_in") or USUAL_LIFETIME)
            access, refresh = str(token["access_token"]), str(token.get("refresh_token") or "")
        except (OAuth2Error, ValueError, KeyError, TypeError):
            raise TryLater(f"the sign-in server {self._host} gave an answer that cannot be read") from None
        return Answer(access, refresh, lifetime)

    def _refused(self, answer: httpx.Response) -> Exception:
        said = _json(answer) or {}
        code = said.get("error")
        error = code if isinstance(code, str) else None
        words = printable(
            f"{error or f'HTTP {answer.status_code}'}: {said.get('error_description') or answer.reason_phrase}"
        )
        ours = f"the sign-in server {self._host}"
        match meaning(answer.status_code, error):
            case Meaning.REVOKED:
                return AccessRevoked("access was withdrawn at the provider, or has ended", words)
            case Meaning.SETTINGS:
                return ConfigError(f"the sign-in server {self._host} does not accept sign_in.oauth: {words}")
            case Meaning.NOT_NOW:
                return NotNow(f"{ours} says: not now: {words}", _after(answer), f"{ours} says {words}")
            case Meaning.LATER:
                return TryLater(f"{ours} says: not now: {words}", _after(answer), f"{ours} says {words}")


def _form(body: str) -> dict[str, str]:
    return dict(parse_qsl(body, keep_blank_values=True))


def _json(answer: httpx.Response) -> dict[str, object] | None:
    try:
        said = json.loads(answer.text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _after(answer: httpx.Response) -> float | None:
    """Retry-After (RFC 9110 section 10.2.3), in seconds."""
    value = answer.headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value[:6])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except ValueError:
        return None
