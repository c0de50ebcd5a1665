"""HubSpot, as far as its documents and its own client show it: contacts, e-mails, files, search."""

from __future__ import annotations

import email
import email.policy
import json
from pathlib import PurePosixPath
from typing import Any

from tests.crm.fake import FakeCrm, Reply, Request

READ_ONLY = ("hs_email_from_email", "hs_email_to_email", "hs_email_sender_email")


def form(request: Request) -> dict[str, Any]:
    """The fields of a multipart form; a file is (name, octets)."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parsed = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    fields: dict[str, Any] = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        octets = part.get_payload(decode=True)
        file = part.get_filename()
        fields[str(name)] = (file, octets) if file is not None else octets.decode()
    return fields


class FakeHubspot(FakeCrm):
    def __init__(self, token: str = "a token") -> None:
        super().__init__()
        self.token = token
        self.contacts: dict[str, dict[str, str]] = {}
        self.emails: dict[str, dict[str, str]] = {}
        self.associations: dict[str, list[str]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self._next = 1000

    def _id(self) -> str:
        self._next += 1
        return str(self._next)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(
                401,
                {
                    "status": "error",
                    "message": "Authentication credentials not found.",
                    "category": "INVALID_AUTHENTICATION",
                },
            )
        parts = request.path.strip("/").split("/")
        if parts[:3] == ["crm", "v3", "objects"]:
            return getattr(self, f"_{parts[3]}")(request, parts[4:])
        if parts[:3] == ["files", "v3", "files"]:
            return self._file(request, parts[3:])
        return _error(404, "no such path")

    # --- contacts --------------------------------------------------------------------------------------------

    def _contacts(self, request: Request, rest: list[str]) -> Reply:
        if request.method == "POST" and rest == ["gdpr-delete"]:
            for id in [each for each, one in self.contacts.items() if one["email"] == request.json()["objectId"]]:
                del self.contacts[id]
            return Reply(204)
        if request.method == "POST" and not rest:
            properties = request.json()["properties"]
            there = next((id for id, each in self.contacts.items() if each["email"] == properties["email"]), None)
            if there:
                return _error(409, f"Contact already exists. Existing ID: {there}")
            return Reply(201, _object(self._store(self.contacts, properties), properties))
        assert request.method == "GET"
        assert request.one("idProperty") == "email"
        from urllib.parse import unquote

        wanted = unquote(rest[0]).lower()
        for id, properties in self.contacts.items():
            if properties["email"].lower() == wanted:
                return Reply(200, _object(id, properties))
        return _error(404, "resource not found")

    def _store(self, table: dict[str, dict[str, str]], properties: dict[str, str]) -> str:
        id = self._id()
        table[id] = dict(properties)
        return id

    # --- e-mails ---------------------------------------------------------------------------------------------

    def _emails(self, request: Request, rest: list[str]) -> Reply:
        if request.method == "POST" and rest == ["search"]:
            return self._search(request.json())
        if request.method == "POST":
            return self._new_email(request.json())
        if rest[0] not in self.emails:
            return _error(404, "resource not found")
        properties = self.emails[rest[0]]
        if request.method == "DELETE":
            del self.emails[rest[0]]
            return Reply(204)
        if request.method == "PATCH":
            properties.update(request.json()["properties"])
        wanted = ["hs_object_id", *request.one("properties").split(",")]
        shown = properties if request.method == "PATCH" else {key: properties.get(key) for key in filter(None, wanted)}
        return Reply(200, _object(rest[0], shown))

    def _new_email(self, body: dict[str, Any]) -> Reply:
        properties = body["properties"]
        if "hs_timestamp" not in properties:
            return _error(400, "Property values were not valid: hs_timestamp is required")
        if any(key in properties for key in READ_ONLY):
            return _error(400, "Property values were not valid: READ_ONLY_VALUE")
        try:
            people = json.loads(properties.get("hs_email_headers", "{}"))
        except ValueError:
            return _error(400, "Property values were not valid: INVALID_JSON")
        if any(len(str(value)) > 65_536 for value in properties.values()):
            return _error(400, "Property values were not valid: too long")
        contacts = []
        for each in body.get("associations") or []:
            (kind,) = each["types"]
            if (kind["associationCategory"], kind["associationTypeId"]) != ("HUBSPOT_DEFINED", 198):
                return _error(400, "INVALID_ASSOCIATION_TYPE")
            if each["to"]["id"] not in self.contacts:
                return _error(400, "INVALID_OBJECT_IDS")
            contacts.append(each["to"]["id"])
        id = self._store(self.emails, properties)
        self.emails[id]["hs_email_to_email"] = ";".join(each["email"] for each in people.get("to", []))
        self.associations[id] = contacts
        return Reply(201, _object(id, self.emails[id]))

    def _search(self, body: dict[str, Any]) -> Reply:
        def fits(properties: dict[str, str]) -> bool:
            return any(
                all(properties.get(each["propertyName"]) == each["value"] for each in group["filters"])
                for group in body["filterGroups"]
            )

        found = [(id, each) for id, each in self.emails.items() if fits(each)]
        shown = [_object(id, {key: each.get(key) for key in body["properties"]}) for id, each in found]
        return Reply(200, {"total": len(shown), "results": shown[: body.get("limit", 10)]})

    # --- files -----------------------------------------------------------------------------------------------

    def _file(self, request: Request, rest: list[str]) -> Reply:
        if request.method == "POST":
            fields = form(request)
            assert ("folderPath" in fields) != ("folderId" in fields), "exactly one of both"
            options = json.loads(fields["options"])
            path = PurePosixPath(fields["folderPath"]) / fields["fileName"]
            there = next((id for id, each in self.files.items() if each["path"] == str(path)), None)
            id = there if there and options.get("overwrite") else self._id()
            self.files[id] = {"path": str(path), "octets": fields["file"][1], "access": options["access"]}
            return Reply(201, self._shown(id))
        if rest[0] not in self.files:
            return _error(404, "file not found")
        if request.method == "DELETE":
            del self.files[rest[0]]
            return Reply(204)
        return Reply(200, self._shown(rest[0]))

    def _shown(self, id: str) -> dict[str, Any]:
        file = self.files[id]
        path = PurePosixPath(file["path"])
        return {
            "id": id,
            "name": path.stem,
            "extension": path.suffix.lstrip("."),
            "path": file["path"],
            "size": len(file["octets"]),
            "access": file["access"],
            "archived": False,
            "createdAt": "2026-11-23T10:00:00Z",
            "updatedAt": "2026-11-23T10:00:00Z",
        }


def _object(id: str, properties: dict[str, Any]) -> dict[str, Any]:
    at = "2026-11-23T10:00:00Z"
    return {"id": id, "properties": properties, "createdAt": at, "updatedAt": at, "archived": False}


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"status": "error", "message": message, "correlationId": "0", "category": "X"})
