"""HubSpot: contacts, logged e-mails with their people and times, files.

An e-mail of HubSpot's is found again by its time: to the second, which the message says, three digits are added that
come of our id. No other field can be both written and searched; its search index is behind by some seconds. Files lie
in a folder of the message's own, where one that is sent again replaces itself.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any
from urllib.parse import quote

from proxyd.config import Hubspot as Settings
from proxyd.crm.adapter import (
    Attachment,
    Direction,
    HttpAdapter,
    Limits,
    MailAddress,
    Person,
    Record,
    Refused,
    State,
    Tools,
)
from proxyd.crm.http import Answer

EMAIL_TO_CONTACT = 198  # HUBSPOT_DEFINED, of the vendor's client's AssociationTypes
FOUND = ["hs_timestamp", "hs_email_subject", "hs_email_direction", "hs_email_headers", "hs_attachment_ids"]


class Hubspot(HttpAdapter[Settings]):
    Options = Settings
    # 100 requests in 10 s are every plan's; a text property takes 65,536 characters.
    limits = Limits(per_second=9, subject=1000, text=65_000, html=65_000, attachment=20_000_000, found_after=60)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._objects = "/crm/v3/objects" if options.api == "v3" else f"/crm/objects/{options.api}"
        self._token = ""

    # --- contacts --------------------------------------------------------------------------------------------

    async def find_contact(self, address: str) -> str | None:
        path = f"{self._objects}/contacts/{quote(address.lower(), safe='')}"
        answer = await self._call("GET", path, expect=(404,), params={"idProperty": "email"})
        return None if answer.status == 404 else str(answer.json()["id"])

    async def create_contact(self, person: Person) -> str:
        first, _, last = person.name.strip().partition(" ")
        names = {"firstname": first, "lastname": last.strip()}
        properties = {"email": person.address.lower()} | {key: name for key, name in names.items() if name}
        answer = await self._call("POST", f"{self._objects}/contacts", expect=(409,), json={"properties": properties})
        if answer.status == 409:  # it is there after all; nothing of it is changed
            there = await self.find_contact(person.address)
            if there is None:
                raise Refused("HubSpot has a contact with this address, and does not show it")
            return there
        return str(answer.json()["id"])

    # --- e-mails ---------------------------------------------------------------------------------------------

    async def log_message(self, record: Record) -> str:
        properties: dict[str, Any] = {
            "hs_timestamp": str(timestamp(record)),
            "hs_email_direction": _direction(record),
            "hs_email_status": "BOUNCED" if record.state is State.BOUNCED else "SENT",
            "hs_email_subject": record.subject,
            "hs_email_text": record.text,
            "hs_email_headers": headers(record),
        }
        if html := await record.html():
            properties["hs_email_html"] = html
        if record.owner:
            properties["hubspot_owner_id"] = record.owner
        kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": EMAIL_TO_CONTACT}
        associations = [{"to": {"id": each.remote_id}, "types": [kind]} for each in record.people]
        body = {"properties": properties, "associations": associations}
        return str((await self._call("POST", f"{self._objects}/emails", json=body)).json()["id"])

    async def find_logged(self, record: Record) -> str | None:
        at = {"propertyName": "hs_timestamp", "operator": "EQ", "value": str(timestamp(record))}
        body = {"filterGroups": [{"filters": [at]}], "properties": FOUND, "limit": 100}
        found = (await self._call("POST", f"{self._objects}/emails/search", json=body)).json()["results"]
        for each in found:
            properties = each["properties"]
            if properties["hs_email_direction"] == _direction(record) and _recipients(
                properties.get("hs_email_headers")
            ) == _recipients(headers(record)):
                return str(each["id"])
        return None

    async def update_state(self, record: Record, remote_id: str) -> None:
        if record.state is State.BOUNCED:
            body = {"properties": {"hs_email_status": "BOUNCED"}}
            await self._call("PATCH", f"{self._objects}/emails/{remote_id}", json=body)

    # --- files -----------------------------------------------------------------------------------------------

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        body = attachment.in_form(
            file_name(attachment),
            folderPath=f"/proxyd/{record.id}",
            fileName=file_name(attachment),
            options=json.dumps({"access": "PRIVATE", "overwrite": True}),
        )
        file = str((await self._call("POST", "/files/v3/files", body=body)).json()["id"])
        ids = await self._attached(remote_id)
        if file not in ids:
            changes = {"properties": {"hs_attachment_ids": ";".join([*ids, file])}}
            await self._call("PATCH", f"{self._objects}/emails/{remote_id}", json=changes)
        return file

    async def _attached(self, remote_id: str) -> list[str]:
        path = f"{self._objects}/emails/{remote_id}"
        answer = await self._call("GET", path, params={"properties": "hs_attachment_ids"})
        return [each for each in (answer.json()["properties"].get("hs_attachment_ids") or "").split(";") if each]

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        stem = file_name(attachment).rpartition(".")[0] or file_name(attachment)
        for id in await self._attached(remote_id):
            answer = await self._call("GET", f"/files/v3/files/{id}", expect=(404,))
            if answer.status != 404 and str(answer.json().get("name", "")).startswith(stem):
                return id
        return None

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        for id in remote_ids:
            for file in await self._files_of(id):
                await self._call("DELETE", f"/files/v3/files/{file}/gdpr-delete", expect=(404,))
            await self._call("DELETE", f"{self._objects}/emails/{id}", expect=(404,))
        body = {"idProperty": "email", "objectId": address}
        await self._call("POST", f"{self._objects}/contacts/gdpr-delete", expect=(404,), json=body)
        return f"the contact was erased for good, {len(remote_ids)} e-mails deleted"

    async def _files_of(self, remote_id: str) -> list[str]:
        path = f"{self._objects}/emails/{remote_id}"
        answer = await self._call("GET", path, expect=(404,), params={"properties": "hs_attachment_ids"})
        if answer.status == 404:
            return []
        return [each for each in (answer.json()["properties"].get("hs_attachment_ids") or "").split(";") if each]

    async def _call(self, method: str, path: str, **options: Any) -> Answer:
        if not self._token:
            self._token = await self._tools.secret(self._options.token, "HubSpot's token")
        return await self._http.request(method, path, headers={"Authorization": f"Bearer {self._token}"}, **options)


def timestamp(record: Record) -> int:
    """Milliseconds since 1970: the message's own second, and three digits of our id."""
    return int(record.date.timestamp()) * 1000 + zlib.crc32(record.id.encode()) % 1000


def _direction(record: Record) -> str:
    return "EMAIL" if record.direction is Direction.OUTGOING else "INCOMING_EMAIL"


def headers(record: Record) -> str:
    """HubSpot's `hs_email_headers`: JSON in a string, of which it fills what it shows of sender and recipients."""
    people = {
        "from": _person(record.from_),
        "to": [_person(each) for each in record.to],
        "cc": [_person(each) for each in record.cc],
        "bcc": [_person(each) for each in record.bcc],
    }
    return json.dumps(people, ensure_ascii=False)


def _person(person: MailAddress) -> dict[str, str]:
    first, _, last = person.name.strip().partition(" ")
    named = {"firstName": first, "lastName": last.strip()}
    return {"email": person.address} | {key: name for key, name in named.items() if name}


def _recipients(text: str | None) -> list[str]:
    try:
        people = json.loads(text or "{}")
        return sorted(str(each["email"]).lower() for key in ("to", "cc", "bcc") for each in people.get(key, ()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def file_name(attachment: Attachment) -> str:
    """Its own name behind its number: two attachments of one name are two files."""
    plain = re.sub(r"[^\w. -]+", "_", attachment.name).strip(". ")
    return f"{attachment.n + 1}-{plain[-150:] or 'attachment'}"
