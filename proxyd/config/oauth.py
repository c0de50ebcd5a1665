"""Signing in by OAuth2: what an account's file says of it, what a known provider adds, and the two worked out.

The client id is the owner's own: what a program's maker registers, every copy of that program shares, and one abuser's
doing ends everybody's sign-in. docs/gmail.md and docs/microsoft365.md tell how one is made.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from proxyd.config.fields import WORD_TAG, Word, is_loopback
from proxyd.config.problems import NotAccepted
from proxyd.config.sources import KeyringEntry, SecretFile, Section, Source, SourceSetting

TOKENS = "keyring, or {file: FILE}"
Flow = Literal["browser", "device"]


def _address(value: object) -> str:
    """https, or on this machine http."""
    accepted = "an address such as https://login.example.com/token"
    if not isinstance(value, str):
        raise NotAccepted(accepted)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise NotAccepted(accepted) from None
    if parts.username or parts.fragment or not host or not value.isprintable() or " " in value:
        raise NotAccepted(accepted)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise NotAccepted(accepted, "tokens do not cross a network without TLS")
    return value


WebAddress = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


def _tenant(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", value):
        raise NotAccepted("common, organizations, consumers, or the organisation's id or domain")
    return value


Tenant = Annotated[str, PlainValidator(_tenant), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9.-]+$"})]


def _tokens_kind(value: object) -> str | None:
    if isinstance(value, str):
        return WORD_TAG
    return "\0file" if isinstance(value, dict | SecretFile) else None


TokensSetting = Annotated[
    Annotated[Literal["keyring"], Tag(WORD_TAG)] | Annotated[SecretFile, Tag("\0file")],
    Discriminator(
        _tokens_kind,
        custom_error_type="shape",
        custom_error_message="{accepted}",
        custom_error_context={"accepted": TOKENS},
    ),
]


class Endpoints(Section):
    """Where a provider's sign-in server is. `{tenant}` in a preset's addresses is the account's own."""

    authorization_endpoint: WebAddress | None = Field(
        default=None, description="Where the person agrees, in a browser. Default: the known provider's."
    )
    token_endpoint: WebAddress | None = Field(
        default=None, description="Where tokens are fetched. Default: the known provider's."
    )
    device_endpoint: WebAddress | None = Field(
        default=None, description="Where a device code is asked for (flow: device). Default: the known provider's."
    )
    revocation_endpoint: WebAddress | None = Field(
        default=None, description="Where a grant is given back by `proxyd disconnect`. Default: the known provider's."
    )
    issuer: Word | None = Field(
        default=None, description="What the sign-in server calls itself in its answers (RFC 9207), to be compared."
    )
    scopes: tuple[Word, ...] | None = Field(
        default=None, description="What is asked for: reading and sending mail. Default: the known provider's."
    )


class KnownEndpoints(Endpoints):
    """A preset's. `ask_too` goes into the authorization request; `redirect` is what its registrations can match."""

    tenant: str = ""
    ask_too: dict[str, str] = Field(default_factory=dict)
    redirect_host: Literal["127.0.0.1", "localhost"] = "127.0.0.1"
    redirect_path: Literal["random", "none"] = "random"


_LEFT_OUT: Any = None  # a registered desktop application need not have a secret


class OAuthSetting(Endpoints):
    """Signing in by OAuth2 in the place of a password."""

    client_id: Word = Field(description="The id of the application that you registered at the provider.")
    client_secret: SourceSetting = Field(
        default=_LEFT_OUT, description="Where its secret lies, if it has one: the same kinds of source as a password."
    )
    tenant: Tenant | None = Field(
        default=None, description="Microsoft 365: your organisation's id or domain. Default: common."
    )
    flow: Flow = Field(
        default="browser",
        description="How you agree: browser | device = by a code that you type on any device.",
    )
    tokens: TokensSetting = Field(
        default="keyring", description=f"Where proxyd keeps the tokens, which change by themselves: {TOKENS}."
    )


class OAuth(Section):
    """Worked out: every endpoint that is needed is there; "" where a provider has no such thing."""

    client_id: str
    client_secret: Source | None
    flow: Flow
    tokens: Source
    authorization_endpoint: str
    token_endpoint: str
    device_endpoint: str = ""
    revocation_endpoint: str = ""
    issuer: str = ""
    scopes: tuple[str, ...] = ()
    ask_too: tuple[tuple[str, str], ...] = ()
    redirect_host: str = "127.0.0.1"
    random_path: bool = True


def worked_out(setting: OAuthSetting, known: KnownEndpoints | None, address: str) -> OAuth:
    """Raises NotAccepted with what is missing."""
    base = known or KnownEndpoints()
    tenant = setting.tenant or base.tenant

    def place(name: str) -> str:
        return getattr(setting, name) or (getattr(base, name) or "").replace("{tenant}", tenant)

    scopes = setting.scopes or base.scopes
    needed = ["token_endpoint", "device_endpoint" if setting.flow == "device" else "authorization_endpoint"]
    missing = [name for name in needed if not place(name)] + ([] if scopes else ["scopes"])
    if missing:
        if known is not None:
            raise NotAccepted("flow: browser", "this provider gives no device code for mail")
        raise NotAccepted(f"with servers that are spelled out: {', '.join(missing)} too", "the provider is not known")
    if setting.tenant is not None and not base.tenant:
        raise NotAccepted("no tenant", "only Microsoft's sign-in has tenants")
    secret: Any = setting.client_secret
    return OAuth(
        client_id=setting.client_id,
        client_secret=KeyringEntry(f"{address}/oauth-client") if isinstance(secret, str) else secret,
        flow=setting.flow,
        tokens=KeyringEntry(f"{address}/oauth") if isinstance(setting.tokens, str) else setting.tokens,
        authorization_endpoint=place("authorization_endpoint"),
        token_endpoint=place("token_endpoint"),
        device_endpoint=place("device_endpoint"),
        revocation_endpoint=place("revocation_endpoint"),
        issuer=place("issuer"),
        scopes=tuple(scopes or ()),
        ask_too=tuple(base.ask_too.items()),
        redirect_host=base.redirect_host,
        random_path=base.redirect_path == "random",
    )
