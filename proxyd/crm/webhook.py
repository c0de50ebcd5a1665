"""Signed HTTP requests to a program of one's own, after the Standard Webhooks specification (version 1).

`POST` with `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,BASE64`: HMAC-SHA256 over `ID.TIMESTAMP.BODY`,
one signature for each secret, so that a secret can be changed without a gap. The body is
`{"type": "message.logged" | "message.attachment" | "message.state" | "contact.erased", "timestamp": …, "data": {…}}`.

Nobody can be asked whether an event has arrived; an event that is sent again has the same `webhook-id`, and the
receiver drops what it has seen, as the specification has it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook as Standard

from proxyd.config import Webhook as Settings
from proxyd.crm.adapter import Adapter, Attachment, Limits, Person, Record, SignInRefused, Tools, TryLater
from proxyd.crm.http import Http, said
from proxyd.crm.jsonl import document

# The specification has these tried again; 410 alone means "never again".
_NO = tuple(status for status in range(400, 500) if status not in (401, 403, 408, 410, 423, 425, 429))


def signature(secrets: Sequence[Standard], id: str, at: datetime, body: str) -> str:
    """The value of `webhook-signature`."""
    return " ".join(each.sign(id, at, body) for each in secrets)


def key_of(secret: str) -> bytes:
    """The octets of a secret as people are given it: `whsec_` and base64. Raises SignInRefused."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 16:
        raise SignInRefused("the webhook's secret is none: accepted is whsec_ and the base64 of 24 to 64 octets")
    return key


class Webhook(Adapter):
    Options = Settings
    limits = Limits(per_second=50, found_after=0, once_per_mail=False)  # nobody is asked

    def __init__(self, options: Settings, tools: Tools) -> None:
        self._options = options
        self._tools = tools
        self._http: Http = tools.http(options.url, ca=options.ca, per_second=self.limits.per_second)
        self._secrets: list[Standard] = []

    @property
    def place(self) -> str:
        return self._options.url

    async def find_contact(self, address: str) -> str | None:
        return address.lower()  # the receiver's own affair: the message names its people

    async def create_contact(self, person: Person) -> str:
        return person.address.lower()

    async def log_message(self, record: Record) -> str:
        await self._post(record.id, "message.logged", document(record))
        return record.id

    async def find_logged(self, record: Record) -> str | None:
        return None

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        id = f"{record.id}.attachment.{attachment.n}"
        content = base64.b64encode(await attachment.read()).decode()
        told = next(each for each in document(record)["attachments"] if each["n"] == attachment.n)
        await self._post(id, "message.attachment", {"message": record.id, **told, "content": content})
        return id

    async def update_state(self, record: Record, remote_id: str) -> None:
        what = {"message": record.id, "message_id": record.message_id, "state": record.state}
        await self._post(f"{record.id}.state.{record.state}", "message.state", what)

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        id = f"erase.{hashlib.sha256(' '.join((address, *remote_ids)).encode()).hexdigest()[:32]}"
        await self._post(id, "contact.erased", {"address": address, "messages": list(remote_ids)})
        return "the receiver was told to erase the contact and its messages"

    async def close(self) -> None:
        await self._http.close()

    async def _post(self, id: str, kind: str, data: dict[str, Any]) -> None:
        if not self._secrets:
            sources = (self._options.secret, *self._options.older_secrets)
            keys = [key_of(await self._tools.secret(each, "the webhook's secret")) for each in sources]
            self._secrets = [Standard(key) for key in keys]
        at = self._tools.now()
        body = json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data})
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature(self._secrets, id, at, body),
        }
        answer = await self._http.request("POST", self._options.url, expect=_NO, content=body, headers=headers)
        if answer.status in _NO:
            raise TryLater(f"{self._http.host} answered {answer.status}", evidence=said(answer.body))
