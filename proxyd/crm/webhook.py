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
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from proxyd.config import Webhook as Settings
from proxyd.crm.adapter import HERE, Attachment, HttpAdapter, Limits, Person, Record, SignInRefused, Tools, TryLater
from proxyd.crm.http import said
from proxyd.crm.jsonl import document
from proxyd.crm.streamed import Streamed, whole_body

# The specification has these tried again; 410 alone means "never again".
_NO = tuple(status for status in range(400, 500) if status not in (401, 403, 408, 410, 423, 425, 429))


async def signature(keys: Sequence[bytes], id: str, at: datetime, body: Streamed) -> str:
    """The value of `webhook-signature`. The body is read for it, and once more when it is sent: it may be large."""
    signing = [hmac.new(key, f"{id}.{int(at.timestamp())}.".encode(), hashlib.sha256) for key in keys]
    async for chunk in body.chunks():
        for each in signing:
            each.update(chunk)
    return " ".join(f"v1,{base64.b64encode(each.digest()).decode()}" for each in signing)


def key_of(secret: str) -> bytes:
    """The octets of a secret as people are given it: `whsec_` and base64. Raises SignInRefused."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 16:
        raise SignInRefused("the webhook's secret is none: accepted is whsec_ and the base64 of 24 to 64 octets")
    return key


class Webhook(HttpAdapter[Settings]):
    Options = Settings
    limits = Limits(per_second=50, found_after=0, once_per_mail=False)  # nobody is asked

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._keys: list[bytes] = []

    async def find_contact(self, address: str) -> str | None:
        return address.lower()  # the receiver's own affair: the message names its people

    async def create_contact(self, person: Person) -> str:
        return person.address.lower()

    async def log_message(self, record: Record) -> str:
        await self._post(record.id, "message.logged", document(record, await record.html()))
        return record.id

    async def find_logged(self, record: Record) -> str | None:
        return None

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        id = f"{record.id}.attachment.{attachment.n}"
        told = next(each for each in document(record)["attachments"] if each["n"] == attachment.n)
        await self._post(id, "message.attachment", {"message": record.id, **told, "content": HERE}, attachment)
        return id

    async def update_state(self, record: Record, remote_id: str) -> None:
        what = {"message": record.id, "message_id": record.message_id, "state": record.state}
        await self._post(f"{record.id}.state.{record.state}", "message.state", what)

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        id = f"erase.{hashlib.sha256(' '.join((address, *remote_ids)).encode()).hexdigest()[:32]}"
        await self._post(id, "contact.erased", {"address": address, "messages": list(remote_ids)})
        return "the receiver was told to erase the contact and its messages"

    async def _post(self, id: str, kind: str, data: dict[str, Any], file: Attachment | None = None) -> None:
        if not self._keys:
            sources = (self._options.secret, *self._options.older_secrets)
            self._keys = [key_of(await self._tools.secret(each, "the webhook's secret")) for each in sources]
        at = self._tools.now()
        document = {"type": kind, "timestamp": at.isoformat(), "data": data}
        body = file.in_json(document) if file is not None else whole_body(document)
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": await signature(self._keys, id, at, body),
        }
        answer = await self._http.request("POST", self._options.url, expect=_NO, body=body, headers=headers)
        if answer.status in _NO:
            raise TryLater(f"{self._http.host} answered {answer.status}", evidence=said(answer.body))
