"""EspoCRM: its own import of whole messages, with people, threading and attachments; exact by Message-ID.

A message is uploaded as a file and imported (`Email/importEml`). Whatever is there under its Message-ID already answers
409 and names itself: asking again is how a message is found.
"""

from __future__ import annotations

from typing import Any

from proxyd.config import Espocrm as Settings
from proxyd.crm.adapter import HERE, HttpAdapter, Limits, Person, Record, Tools, TryLater
from proxyd.crm.http import Answer
from proxyd.crm.note import state_note

API = "/api/v1"


class Espocrm(HttpAdapter[Settings]):
    Options = Settings
    limits = Limits(per_second=10, attachments=False, attachment=None)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._key = ""

    async def find_contact(self, address: str) -> str | None:
        where = {"where[0][type]": "equals", "where[0][attribute]": "emailAddress", "where[0][value]": address.lower()}
        rows = (await self._call("GET", "Contact", params={**where, "maxSize": "1", "select": "id"})).json()["list"]
        return str(rows[0]["id"]) if rows else None

    async def create_contact(self, person: Person) -> str:
        first, _, last = person.name.strip().rpartition(" ")
        body = {"firstName": first, "lastName": last or person.address, "emailAddress": person.address.lower()}
        # A namesake is another person: that nobody has this address was asked before.
        made = await self._call("POST", "Contact", json=body, headers={"X-Skip-Duplicate-Check": "true"})
        return str(made.json()["id"])

    async def log_message(self, record: Record) -> str:
        upload = {
            "name": f"{record.id}.eml",
            "type": "message/rfc822",
            "role": "Attachment",
            "relatedType": "ImportEml",
            "field": "file",
            "file": f"data:message/rfc822;base64,{HERE}",
        }
        file = (await self._call("POST", "Attachment", body=record.in_json(upload))).json()["id"]
        answer = await self._call("POST", "Email/importEml", expect=(409,), json={"fileId": file})
        if answer.status == 409:
            id = _already(answer)
            await self._call("DELETE", f"Attachment/{file}", expect=(403, 404))
            there = (await self._call("GET", f"Email/{id}")).json()
        else:
            id, there = str(answer.json()["id"]), {}
        # One that EspoCRM sent or fetched itself may hang at a case, and be somebody's: that stays.
        changes: dict[str, Any] = {}
        if record.people and not there.get("parentId"):
            changes = {"parentType": "Contact", "parentId": record.people[0].remote_id}
        if record.owner and not there.get("assignedUserId"):
            changes["assignedUserId"] = record.owner
        if changes:
            await self._call("PUT", f"Email/{id}", json=changes)
        return id

    async def find_logged(self, record: Record) -> str | None:
        return None  # logging it again finds it

    async def update_state(self, record: Record, remote_id: str) -> None:
        text = state_note(record)
        stream = (await self._call("GET", f"Email/{remote_id}/stream", params={"maxSize": "100"})).json()["list"]
        if all(each.get("post") != text for each in stream):
            note = {"type": "Post", "parentType": "Email", "parentId": remote_id, "post": text}
            await self._call("POST", "Note", json=note)

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        for id in remote_ids:
            await self._call("DELETE", f"Email/{id}", expect=(404,))
        contact = await self.find_contact(address)
        if contact is not None:
            await self._call("DELETE", f"Contact/{contact}", expect=(404,))
        return f"{len(remote_ids)} e-mails and {'the' if contact else 'no'} contact deleted"

    async def _call(self, method: str, path: str, **options: Any) -> Answer:
        if not self._key:
            self._key = await self._tools.secret(self._options.key, "EspoCRM's API key")
        headers = {"X-Api-Key": self._key, **options.pop("headers", {})}
        return await self._http.request(method, f"{API}/{path}", headers=headers, **options)


def _already(answer: Answer) -> str:
    """The id of the e-mail that is there."""
    document = answer.json()
    try:
        return str(document["messageTranslation"]["data"]["id"])
    except (KeyError, TypeError):
        raise TryLater("EspoCRM says that it has the message, and not as what") from None
