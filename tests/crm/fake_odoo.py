"""Odoo's JSON-RPC, as its own documents and OdooRPC speak it: models, domains, message_post."""

from __future__ import annotations

import html
import re
from typing import Any

from tests.crm.fake import FakeCrm, Reply, Request

MODELS = ("res.partner", "mail.message", "ir.attachment")


class FakeOdoo(FakeCrm):
    def __init__(self, key: str = "an api key") -> None:
        super().__init__()
        self.key = key
        self.tables: dict[str, dict[int, dict[str, Any]]] = {model: {} for model in MODELS}
        self.knows_body_is_html = True
        self._next = 10

    def answer(self, request: Request) -> Reply:
        body = request.json()
        assert request.path == "/jsonrpc"
        params = body["params"]
        if (params["service"], params["method"]) == ("common", "version"):
            return _result(body, {"server_version": "17.0"})
        if params["service"] == "common":
            assert params["method"] in ("authenticate", "login")
            return _result(body, 2 if params["args"][2] == self.key else False)
        _, _, key, model, method, *rest = params["args"]
        if (model, method) == ("res.users", "context_get"):
            return _result(body, {"lang": "en_US"})
        assert params["method"] == "execute_kw"
        arguments = rest.pop(0)
        if key != self.key:
            return _error(body, "odoo.exceptions.AccessDenied", "Access Denied")
        try:
            return _result(body, getattr(self, f"_{method}")(model, *arguments, **(rest[0] if rest else {})))
        except TypeError as error:
            return _error(body, "builtins.TypeError", str(error))

    def rows(self, model: str) -> list[dict[str, Any]]:
        return list(self.tables[model].values())

    def _search(self, model: str, domain: list[Any], limit: int | None = None, order: str = "", **_: Any) -> list[int]:
        found = [id for id, row in self.tables[model].items() if all(_fits(row, each) for each in domain)]
        return found[:limit]

    def _search_read(self, model: str, domain: list[Any], fields: Any = None, **more: Any) -> list[dict[str, Any]]:
        return [{**self.tables[model][id], "id": id} for id in self._search(model, domain, **more)]

    def _read(self, model: str, ids: list[int], fields: Any = None, **_: Any) -> list[dict[str, Any]]:
        return [{**self.tables[model][id], "id": id} for id in ids]

    def _create(self, model: str, values: dict[str, Any], **_: Any) -> int:
        self._next += 1
        row = dict(values)
        if model == "res.partner":
            row["email_normalized"] = row["email"].lower()
        self.tables[model][self._next] = row
        return self._next

    def _write(self, model: str, ids: list[int], values: dict[str, Any], **_: Any) -> bool:
        for id in ids:
            for key, value in values.items():
                if key == "attachment_ids":
                    there = self.tables[model][id].setdefault(key, [])
                    there += [each[1] for each in value if each[1] not in there]
                else:
                    self.tables[model][id][key] = value
        return True

    def _unlink(self, model: str, ids: list[int], **_: Any) -> bool:
        for id in ids:
            del self.tables[model][id]
        return True

    def _message_post(self, model: str, ids: list[int], **values: Any) -> int:
        unknown = set(values) - {"body", "subject", "message_type", "subtype_xmlid", "context"}
        if self.knows_body_is_html:
            unknown -= {"body_is_html"}
        if unknown:
            raise TypeError(f"message_post() got an unexpected keyword argument {sorted(unknown)[0]!r}")
        assert values["subtype_xmlid"] == "mail.mt_note", "anything else is sent to followers"
        (id,) = ids
        return self._create("mail.message", {"model": model, "res_id": id, **values})


def _fits(row: dict[str, Any], condition: list[Any]) -> bool:
    field, operator, value = condition
    have = row.get(field)
    match operator:
        case "=":
            return bool(have == value)
        case "in":
            return have in value
        case "ilike":
            pattern = ".*".join(re.escape(part) for part in value.replace("_", "%").split("%"))
            return re.search(pattern, str(have or ""), re.IGNORECASE | re.DOTALL) is not None
    raise TypeError(operator)


def shown(note: dict[str, Any]) -> str:
    """A note's text without its markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", note["body"]))


def _result(body: Any, value: Any) -> Reply:
    return Reply(200, {"jsonrpc": "2.0", "id": body.get("id"), "result": value})


def _error(body: Any, name: str, message: str) -> Reply:
    data = {"name": name, "message": message, "debug": "", "arguments": [message]}
    error = {"code": 200, "message": "Odoo Server Error", "data": data}
    return Reply(200, {"jsonrpc": "2.0", "id": body.get("id"), "error": error})
