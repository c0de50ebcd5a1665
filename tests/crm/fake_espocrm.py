"""EspoCRM's REST API, as far as its source shows it: contacts, attachments, import of messages, the stream."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
from typing import Any

from tests.crm.fake import FakeCrm, Reply, Request


class FakeEspocrm(FakeCrm):
    def __init__(self, key: str = "an api key") -> None:
        super().__init__()
        self.key = key
        self.contacts: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.emails: dict[str, dict[str, Any]] = {}
        self.posts: list[dict[str, Any]] = []
        self.refuses = ""  # why it imports nothing
        self._next = 0

    def _id(self) -> str:
        self._next += 1
        return f"{self._next:017x}"

    def answer(self, request: Request) -> Reply:
        if request.headers.get("x-api-key") != self.key:
            return Reply(401)
        parts = request.path.removeprefix("/api/v1/").split("/")
        name = f"_{request.method}_{parts[0]}".lower()
        if parts[1:] == ["importEml"]:
            name = "_import"
        elif parts[2:] == ["stream"]:
            name = "_stream"
        found = getattr(self, name, None)
        answer: Reply = found(request, *parts[1:2]) if found else Reply(404)
        return answer

    def _get_contact(self, request: Request) -> Reply:
        assert (request.one("where[0][type]"), request.one("where[0][attribute]")) == ("equals", "emailAddress")
        wanted = request.one("where[0][value]")
        rows = [{"id": id} for id, each in self.contacts.items() if each["emailAddress"] == wanted]
        return Reply(200, {"total": len(rows), "list": rows[: int(request.one("maxSize", "20"))]})

    def _post_contact(self, request: Request) -> Reply:
        body = request.json()
        if not body.get("lastName"):
            return Reply(
                400, b"", {"X-Status-Reason": "Field validation failure; entityType: Contact, field: lastName."}
            )
        same = [each for each in self.contacts.values() if each["lastName"] == body["lastName"]]
        if same and request.headers.get("x-skip-duplicate-check") != "true":
            return Reply(409, same)
        id = self._id()
        self.contacts[id] = body
        return Reply(200, {"id": id, **body})

    def _delete_contact(self, request: Request, id: str) -> Reply:
        return Reply(200, True) if self.contacts.pop(id, None) else Reply(404)

    def _post_attachment(self, request: Request) -> Reply:
        body = request.json()
        assert (body["relatedType"], body["role"]) == ("ImportEml", "Attachment")
        head, _, content = body["file"].partition(",")
        assert head == "data:message/rfc822;base64"
        id = self._id()
        self.uploads[id] = base64.b64decode(content)
        return Reply(200, {"id": id})

    def _delete_attachment(self, request: Request, id: str) -> Reply:
        return Reply(200, True) if self.uploads.pop(id, None) else Reply(404)

    def _import(self, request: Request, _: str) -> Reply:
        if self.refuses:
            return Reply(400, b"", {"X-Status-Reason": self.refuses})
        octets = self.uploads.get(request.json()["fileId"])
        if octets is None:
            return Reply(404)
        message = email.message_from_bytes(octets, policy=email.policy.default)
        message_id = str(message["Message-ID"]).strip("<>")
        for id, each in self.emails.items():
            if each["messageId"] == message_id:
                data = {"id": id, "link": f"#Email/view/{id}"}
                return Reply(409, {"messageTranslation": {"label": "alreadyImported", "scope": "Email", "data": data}})
        id = self._id()
        parts = [part.get_payload(decode=True) for part in message.iter_attachments()]
        self.emails[id] = {
            "messageId": message_id,
            "name": str(message["Subject"]),
            "files": [hashlib.sha256(each).hexdigest() for each in parts],
        }
        del self.uploads[request.json()["fileId"]]
        return Reply(200, {"id": id})

    def _get_email(self, request: Request, id: str = "") -> Reply:
        if not id:
            rows = [{"id": each, "name": email["name"]} for each, email in self.emails.items()]
            return Reply(200, {"total": len(rows), "list": rows})
        return Reply(200, {"id": id, **self.emails[id]}) if id in self.emails else Reply(404)

    def _put_email(self, request: Request, id: str) -> Reply:
        if id not in self.emails:
            return Reply(404)
        self.emails[id].update(request.json())
        return Reply(200, {"id": id})

    def _delete_email(self, request: Request, id: str) -> Reply:
        return Reply(200, True) if self.emails.pop(id, None) else Reply(404)

    def _stream(self, request: Request, id: str) -> Reply:
        rows = [each for each in self.posts if each["parentId"] == id]
        return Reply(200, {"total": len(rows), "list": rows})

    def _post_note(self, request: Request) -> Reply:
        self.posts.append(request.json())
        return Reply(200, {"id": self._id()})
