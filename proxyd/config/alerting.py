"""Where trouble is told: the setting `alerts`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from proxyd.config.fields import WORD_TAG, Word, is_loopback
from proxyd.config.problems import NotAccepted
from proxyd.config.sources import SOURCES, Section, SourceSetting


def _url(value: object) -> str:
    """What is posted names the account: it does not cross a network in the clear."""
    accepted = "an https:// address; http:// on this machine only"
    if not isinstance(value, str) or any(c.isspace() for c in value):
        raise NotAccepted(accepted)
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise NotAccepted(accepted) from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise NotAccepted(accepted)
    return value


Url = Annotated[str, PlainValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://[^\\s]+$"})]


class AlertCommand(Section):
    """A program that is started with the alert as a JSON document on its standard input."""

    command: tuple[Word, ...] = Field(
        min_length=1, description="The program and its arguments, as a list; no shell is involved."
    )


_LEFT_OUT: Any = None  # pydantic's Discriminator fits into no `| None`


class AlertWebhook(Section):
    """An address that the alert is posted to as a JSON document."""

    webhook: Url = Field(description="The address: https://, or http:// on this machine.")
    secret: SourceSetting = Field(
        default=_LEFT_OUT,
        description=f"Where the key lies that posts are signed with (Standard Webhooks, whsec_…): {SOURCES}.",
    )


def _place(value: object) -> str:
    if value not in ("desktop", "inbox"):
        raise NotAccepted(ALERTS)
    return str(value)


ALERTS = "desktop, inbox, {command: [PROGRAM, ARGUMENT]} or {webhook: URL}"
_KINDS = ("command", "webhook")


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return WORD_TAG
    if isinstance(value, dict):
        return next((f"\0{key}" for key in _KINDS if key in value), None)
    return next((f"\0{key}" for key in _KINDS if hasattr(value, key)), None)


Alert = Annotated[
    Annotated[str, PlainValidator(_place), WithJsonSchema({"enum": ["desktop", "inbox"]}), Tag(WORD_TAG)]
    | Annotated[AlertCommand, Tag("\0command")]
    | Annotated[AlertWebhook, Tag("\0webhook")],
    Discriminator(
        _kind,
        custom_error_type="shape",
        custom_error_message="{accepted}",
        custom_error_context={"accepted": ALERTS},
    ),
]
