"""Pipedrive: a person for the contact, a done activity of the type e-mail for the message, files at both.

Pipedrive's mailbox cannot be written to by its API (its Smart BCC address can: that is the account's `dropbox`), so a
message is an activity; the text is its note. Persons and activities are of API v2, files of v1, which v2 has none of.
"""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ulid import ULID

from proxyd.config import Pipedrive as Settings
from proxyd.crm.adapter import Attachment, HttpAdapter, Limits, Person, Record, Refused, State, Tools
from proxyd.crm.http import Answer
from proxyd.crm.note import note_html, reference

MOST_PAGES = 20  # of 500 activities, or a hundred files, that are looked through for one
CLOCKS_APART = timedelta(hours=1)  # Pipedrive's and ours


class Pipedrive(HttpAdapter[Settings]):
    Options = Settings
    limits = Limits(per_second=5, subject=200, text=60_000, html=60_000, attachment=20_000_000)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._token = ""

    async def find_contact(self, address: str) -> str | None:
        query = {"term": address, "fields": "email", "exact_match": "true", "limit": "1"}
        items = (await self._call("GET", "/api/v2/persons/search", params=query)).json()["data"]["items"]
        return str(items[0]["item"]["id"]) if items else None

    async def create_contact(self, person: Person) -> str:
        email = {"value": person.address, "primary": True, "label": "work"}
        body = {"name": person.name or person.address, "emails": [email]}
        return str((await self._call("POST", "/api/v2/persons", json=body)).json()["data"]["id"])

    async def log_message(self, record: Record) -> str:
        if not record.people:
            raise Refused("nobody of the conversation is a person in Pipedrive, and none could be made")
        people = [{"person_id": _number(each.remote_id), "primary": n == 0} for n, each in enumerate(record.people)]
        body = {
            "subject": record.subject or "(no subject)",
            "type": "email",
            "done": True,
            "due_date": f"{record.date:%Y-%m-%d}",
            "due_time": f"{record.date:%H:%M}",
            "participants": people,
            "note": note_html(record, await record.html()),
        }
        if record.owner and record.owner.isdigit():
            body["owner_id"] = int(record.owner)
        made = (await self._call("POST", "/api/v2/activities", json=body)).json()["data"]["id"]
        return f"{record.people[0].remote_id}/{made}"

    async def find_logged(self, record: Record) -> str | None:
        wanted = html.escape(reference(record.id))
        for person in record.people[:1]:
            query = {
                "person_id": str(person.remote_id),
                "sort_by": "add_time",
                "sort_direction": "desc",
                "updated_since": f"{_logged_at(record) - CLOCKS_APART:%Y-%m-%dT%H:%M:%SZ}",
                "limit": "500",
            }
            for _ in range(MOST_PAGES):
                page = (await self._call("GET", "/api/v2/activities", params=query)).json()
                for each in page["data"] or ():
                    if wanted in (each.get("note") or ""):
                        return f"{person.remote_id}/{each['id']}"
                cursor = (page.get("additional_data") or {}).get("next_cursor")
                if not cursor:
                    break
                query["cursor"] = cursor
        return None

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        person, _, activity = remote_id.partition("/")
        name = file_name(record, attachment)
        body = attachment.in_form(name, person_id=person, activity_id=activity)
        return str((await self._call("POST", "/v1/files", body=body)).json()["data"]["id"])

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        wanted = file_name(record, attachment)
        return next((id for id, name in await self._files(remote_id) if name == wanted), None)

    async def _files(self, remote_id: str) -> list[tuple[str, str]]:
        """(id, name) of the activity's files."""
        person, _, activity = remote_id.partition("/")
        found: list[tuple[str, str]] = []
        query = {"start": "0", "limit": "100", "sort": "id DESC"}
        for _page in range(MOST_PAGES):
            page = (await self._call("GET", f"/v1/persons/{person}/files", params=query)).json()
            rows = [each for each in page["data"] or () if str(each.get("activity_id")) == activity]
            found += [(str(each["id"]), str(each["name"])) for each in rows]
            paging = (page.get("additional_data") or {}).get("pagination") or {}
            if not paging.get("more_items_in_collection"):
                break
            query["start"] = str(paging["next_start"])
        return found

    async def update_state(self, record: Record, remote_id: str) -> None:
        if record.state is State.BOUNCED:
            body = {"subject": f"Bounced: {record.subject}"[: self.limits.subject]}
            await self._call("PATCH", f"/api/v2/activities/{remote_id.partition('/')[2]}", json=body)

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        for each in remote_ids:
            for id, _name in await self._files(each):
                await self._call("DELETE", f"/v1/files/{id}", expect=(404, 410))
            await self._call("DELETE", f"/api/v2/activities/{each.partition('/')[2]}", expect=(404, 410))
        person = await self.find_contact(address)
        if person is not None:
            await self._call("DELETE", f"/api/v2/persons/{person}", expect=(404, 410))
        return f"{len(remote_ids)} activities and {'the' if person else 'no'} person deleted"

    async def _call(self, method: str, path: str, **options: Any) -> Answer:
        if not self._token:
            self._token = await self._tools.secret(self._options.token, "Pipedrive's API token")
        return await self._http.request(method, path, headers={"x-api-token": self._token}, **options)


def _logged_at(record: Record) -> datetime:
    """When it came into our records, which its id says: no activity before that can be it."""
    return datetime.fromtimestamp(ULID.from_str(record.id).timestamp, UTC)


def _number(id: str | None) -> int:
    return int(json.loads(id or "0"))


def file_name(record: Record, attachment: Attachment) -> str:
    """Its own name behind its number: two attachments of one name are two files."""
    plain = re.sub(r"[^\w. -]+", "_", attachment.name).strip(". ")
    return f"{attachment.n + 1}-{plain[-150:] or 'attachment'}"
