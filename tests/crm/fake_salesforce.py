"""Salesforce's REST API: sign-in by client credentials, sObjects, and as much of SOQL as is asked here."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from tests.crm.fake import FakeCrm, Reply, Request

LENGTHS = {
    "Subject": 3000,
    "TextBody": 32_000,
    "HtmlBody": 32_000,
    "Description": 32_000,
    "ToAddress": 4000,
    "MessageIdentifier": 255,
}


class FakeSalesforce(FakeCrm):
    def __init__(self, secret: str = "a secret") -> None:
        super().__init__()
        self.secret = secret
        self.token = "token 1"
        self.tables: dict[str, dict[str, dict[str, Any]]] = {}
        self._next = 0

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return list(self.tables.get(kind, {}).values())

    def expire(self) -> None:
        """The token in use is none any more."""
        self.token = f"token {int(self.token.split()[1]) + 1}"

    def answer(self, request: Request) -> Reply:
        if request.path == "/services/oauth2/token":
            form = {key: each[0] for key, each in parse_qs(request.body.decode()).items()}
            assert (form["grant_type"], form["client_id"]) == ("client_credentials", "the app")
            if form["client_secret"] != self.secret:
                return Reply(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
            return Reply(200, {"access_token": self.token, "instance_url": self.url, "token_type": "Bearer"})
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        parts = re.fullmatch(r"/services/data/v\d+\.0/(query|sobjects)/?(?:(\w+)(?:/(\w+))?/?)?", request.path)
        assert parts is not None, request.path
        if parts[1] == "query":
            records = self._query(request.one("q"))
            return Reply(200, {"totalSize": len(records), "done": True, "records": records})
        table = self.tables.setdefault(parts[2], {})
        if request.method == "POST":
            return self._create(parts[2], request.json())
        if parts[3] not in table:
            return Reply(404, [{"message": "not found", "errorCode": "NOT_FOUND"}])
        if request.method == "DELETE":
            del table[parts[3]]
            return Reply(204)
        return Reply(200, table[parts[3]])

    def _create(self, kind: str, values: dict[str, Any]) -> Reply:
        if any(len(str(values.get(field, ""))) > most for field, most in LENGTHS.items()):
            return Reply(400, [{"message": "data value too large", "errorCode": "STRING_TOO_LONG"}])
        if kind == "Task" and len(values["Subject"]) > 255:
            return Reply(400, [{"message": "data value too large", "errorCode": "STRING_TOO_LONG"}])
        self._next += 1
        id = f"{kind[:3]}{self._next:012d}"
        self.tables.setdefault(kind, {})[id] = {"Id": id, "CreatedDate": self._next, **values}
        if kind == "ContentVersion":
            self._publish(id, values)
        return Reply(201, {"id": id, "success": True, "errors": []})

    def _publish(self, id: str, values: dict[str, Any]) -> None:
        document = f"069{self._next:012d}"
        self.tables.setdefault("ContentDocument", {})[document] = {"Id": document, "Title": values["Title"]}
        link = {"ContentDocumentId": document, "ContentDocument": {"Title": values["Title"]}, "version": id}
        self.tables.setdefault("ContentDocumentLink", {})[f"L{id}"] = {
            **link,
            "LinkedEntityId": values["FirstPublishLocationId"],
        }

    def _query(self, soql: str) -> list[dict[str, Any]]:
        parts = re.fullmatch(
            r"SELECT .+? FROM (\w+)(?: WHERE (.+?))?(?: ORDER BY CreatedDate)?(?: LIMIT (\d+))?", soql, re.DOTALL
        )
        assert parts is not None, soql
        conditions = re.findall(r"([\w.]+) (=|LIKE|!=) ('(?:[^'\\]|\\.)*'|true|false|null)", parts[2] or "")
        found = [each for each in self.rows(parts[1]) if all(_fits(each, *condition) for condition in conditions)]
        return found[: int(parts[3] or 100)]


def _fits(row: dict[str, Any], field: str, operator: str, literal: str) -> bool:
    have = row.get(field)
    if literal in ("true", "false"):
        return bool(have) is (literal == "true")
    if literal == "null":
        return (have is not None) is (operator == "!=")
    value = re.sub(r"\\(.)", r"\1", literal[1:-1])
    if operator == "LIKE":
        pattern = re.escape(value).replace("%", ".*").replace("_", ".")
        return re.fullmatch(pattern, str(have), re.IGNORECASE | re.DOTALL) is not None
    return str(have or "").lower() == value.lower()
