"""Pipedrive's API as its own client (npm `pipedrive`) calls it: v2 persons and activities, v1 files."""

from __future__ import annotations

import re
from typing import Any

from tests.crm.fake import FakeCrm, Reply, Request
from tests.crm.fake_hubspot import form

ACTIVITY_FIELDS = [
    "subject",
    "type",
    "owner_id",
    "deal_id",
    "lead_id",
    "person_id",
    "org_id",
    "project_id",
    "due_date",
    "due_time",
    "duration",
    "busy",
    "done",
    "location",
    "participants",
    "attendees",
    "public_description",
    "priority",
    "outcome",
    "note",
]


class FakePipedrive(FakeCrm):
    """`page` activities and files at most on one page: few, so that there are several pages."""

    def __init__(self, token: str = "a token", page: int = 7) -> None:
        super().__init__()
        self.token = token
        self.page = page
        self.persons: dict[int, dict[str, Any]] = {}
        self.activities: dict[int, dict[str, Any]] = {}
        self.files: dict[int, dict[str, Any]] = {}
        self._next = 0

    def _id(self) -> int:
        self._next += 1
        return self._next

    def answer(self, request: Request) -> Reply:
        if self.token not in (request.headers.get("x-api-token"), request.one("api_token")):
            return Reply(401, {"success": False, "error": "unauthorized access"})
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["api", "v2", "persons", "search"]:
                assert (request.one("fields"), request.one("exact_match")) == ("email", "true")
                term = request.one("term").lower()
                found = [{"item": {"id": id}} for id, each in self.persons.items() if each["email"].lower() == term]
                return _ok({"items": found[:1]})
            case "POST", ["api", "v2", "persons"]:
                body = request.json()
                id = self._id()
                self.persons[id] = {"name": body["name"], "email": body["emails"][0]["value"]}
                return _ok({"id": id}, 201)
            case "GET", ["api", "v2", "persons", id]:
                person = self.persons[int(id)]
                email = {"value": person["email"], "primary": True, "label": "work"}
                return _ok({"id": int(id), "name": person["name"], "emails": [email]})
            case "GET", ["api", "v2", "activities", id]:
                return _ok({"id": int(id), **self.activities[int(id)]})
            case "GET", ["api", "v2", "activities"]:
                return self._list(request)
            case "POST", ["api", "v2", "activities"]:
                return self._activity(request.json())
            case "PATCH", ["api", "v2", "activities", id]:
                self.activities[int(id)].update(request.json())
                return _ok({"id": int(id)})
            case "DELETE", ["api", "v2", ("persons" | "activities") as kind, id]:
                table = self.persons if kind == "persons" else self.activities
                return _ok({"id": int(id)}) if table.pop(int(id), None) else Reply(404, {"success": False})
            case "POST", ["v1", "files"]:
                fields = form(request)
                id = self._id()
                name, octets = fields["file"]
                at = {"person_id": int(fields["person_id"]), "activity_id": int(fields["activity_id"])}
                self.files[id] = {"name": name, "octets": octets, **at}
                return _ok({"id": id, "name": name}, 201)
            case "GET", ["v1", "persons", id, "files"]:
                return self._files(int(id), int(request.one("start", "0")))
            case "DELETE", ["v1", "files", id]:
                return _ok({"id": int(id)}) if self.files.pop(int(id), None) else Reply(404, {"success": False})
        return Reply(404, {"success": False, "error": "unknown method"})

    def _activity(self, body: dict[str, Any]) -> Reply:
        unknown = set(body) - set(ACTIVITY_FIELDS)
        if unknown or "person_id" in body:
            return Reply(400, {"success": False, "error": f"unknown or read-only: {sorted(unknown)}"})
        primary = [each["person_id"] for each in body["participants"] if each.get("primary")]
        if len(primary) != 1 or any(each["person_id"] not in self.persons for each in body["participants"]):
            return Reply(400, {"success": False, "error": "participants"})
        id = self._id()
        self.activities[id] = {**body, "person_id": primary[0]}
        return _ok({"id": id}, 201)

    def _list(self, request: Request) -> Reply:
        rows = [
            {"id": id, **each}
            for id, each in sorted(self.activities.items(), reverse=request.one("sort_direction") == "desc")
            if str(each["person_id"]) == request.one("person_id")
        ]
        assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?", request.one("updated_since"))
        page = min(int(request.one("limit", "100")), 500, self.page)
        start = int(request.one("cursor", "0"))
        more = {"next_cursor": str(start + page) if len(rows) > start + page else None}
        return Reply(200, {"success": True, "data": rows[start : start + page], "additional_data": more})

    def _files(self, person: int, start: int) -> Reply:
        rows = [
            {"id": id, "name": each["name"], "activity_id": each["activity_id"]}
            for id, each in sorted(self.files.items(), reverse=True)
            if each["person_id"] == person
        ]
        size = min(self.page, 100)
        more = len(rows) > start + size
        paging = {"start": start, "more_items_in_collection": more, "next_start": start + size}
        page = rows[start : start + size] or None  # Pipedrive says null for none
        return Reply(200, {"success": True, "data": page, "additional_data": {"pagination": paging}})


def _ok(data: Any, status: int = 200) -> Reply:
    return Reply(status, {"success": True, "data": data})
