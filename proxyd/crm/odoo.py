"""Odoo: a partner for the contact, an internal note in its chatter for the message, attachments at the note.

Why a note and not `message_process`, which takes whole messages: that one notifies a record's followers, so that people
would get the mail a second time from Odoo. Spoken to by JSON-RPC, as Odoo's external API has it.
"""

from __future__ import annotations

import html
from typing import Any

from proxyd.config import Odoo as Settings
from proxyd.crm.adapter import HERE, Attachment, HttpAdapter, Limits, Person, Record, Refused, SignInRefused, Tools
from proxyd.crm.note import in_html, note_html, reference, state_note
from proxyd.errors import ProxydError, TryLater

_OWNER_MUST_ACT = ("AccessDenied", "AccessError")
_FOR_GOOD = ("UserError", "ValidationError", "MissingError", "RedirectWarning")
PARTNER = "res.partner"


class Odoo(HttpAdapter[Settings]):
    Options = Settings
    limits = Limits(per_second=10, found_after=10)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._key = ""
        self._user = 0

    @property
    def place(self) -> str:
        return f"{self._options.url}/{self._options.database}"

    async def find_contact(self, address: str) -> str | None:
        domain = [["email_normalized", "=", address.lower()]]
        found = await self._call(PARTNER, "search", domain, limit=1, order="id")
        return str(found[0]) if found else None

    async def create_contact(self, person: Person) -> str:
        return str(
            await self._call(PARTNER, "create", {"name": person.name or person.address, "email": person.address})
        )

    async def log_message(self, record: Record) -> str:
        return await self._post_note(_partner(record), record.subject, note_html(record, await record.html()))

    async def _post_note(self, partner: str, subject: str, body: str) -> str:
        values: dict[str, Any] = {
            "body": body,
            "subject": subject,
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_note",
        }
        try:
            made = await self._call(PARTNER, "message_post", [int(partner)], **values, body_is_html=True)
        except (TryLater, Refused) as error:
            if "body_is_html" not in str(error):
                raise
            made = await self._call(PARTNER, "message_post", [int(partner)], **values)  # before Odoo 17
        return f"{partner}/{made[0] if isinstance(made, list) else made}"

    async def find_logged(self, record: Record) -> str | None:
        return await self._note(record.id)

    async def find_theirs(self, record: Record) -> str | None:
        """What Odoo sends or fetches itself it keeps under the mail's Message-ID, at whatever record it belongs to."""
        domain = [["message_id", "=", f"<{record.message_id}>"]]
        found = await self._call("mail.message", "search_read", domain, fields=["model", "res_id"], limit=1, order="id")
        if not found:
            return None
        partner = found[0]["res_id"] if found[0]["model"] == PARTNER else ""
        return f"{partner}/{found[0]['id']}"

    async def _note(self, id: str) -> str | None:
        domain = [["model", "=", PARTNER], ["body", "ilike", html.escape(reference(id))]]
        found = await self._call("mail.message", "search_read", domain, fields=["res_id"], limit=1, order="id")
        return f"{found[0]['res_id']}/{found[0]['id']}" if found else None

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        partner, _, message = remote_id.partition("/")
        values = {
            "name": attachment.name or f"attachment {attachment.n + 1}",
            "datas": HERE,
            "mimetype": attachment.type,
            "res_model": PARTNER,
            "res_id": int(partner),
            "description": reference(f"{record.id} {attachment.n}"),
        }
        made = await self._call("ir.attachment", "create", values, file=attachment)
        await self._call("mail.message", "write", [int(message)], {"attachment_ids": [[4, made]]})
        return str(made)

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        domain = [["description", "=", reference(f"{record.id} {attachment.n}")]]
        found = await self._call("ir.attachment", "search", domain, limit=1, order="id")
        if not found:
            return None
        message = int(remote_id.partition("/")[2])
        await self._call("mail.message", "write", [message], {"attachment_ids": [[4, found[0]]]})
        return str(found[0])

    async def update_state(self, record: Record, remote_id: str) -> None:
        partner = remote_id.partition("/")[0] or await self.find_contact((*record.to, record.from_)[0].address)
        if partner is not None and await self._note(f"{record.id} {record.state}") is None:
            await self._post_note(partner, record.subject, in_html(state_note(record)))

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        partner = await self.find_contact(address)
        partners = sorted(
            {int(each.partition("/")[0]) for each in remote_ids if not each.startswith("/")}
            | ({int(partner)} if partner else set())
        )
        gone = 0
        for model, field, at in (("ir.attachment", "description", "res_model"), ("mail.message", "body", "model")):
            domain = [[at, "=", PARTNER], ["res_id", "in", partners], [field, "ilike", "[proxyd "]]
            found = await self._call(model, "search", domain)
            if found:
                await self._call(model, "unlink", found)
            gone += len(found)
        if partner is not None:
            await self._call(PARTNER, "unlink", [int(partner)])
        return f"{gone} notes and attachments and {'the' if partner else 'no'} partner deleted"

    # --- JSON-RPC ----------------------------------------------------------------------------------------------

    async def _call(
        self, model: str, method: str, *arguments: Any, file: Attachment | None = None, **keywords: Any
    ) -> Any:
        options = self._options
        if not self._user:
            self._key = await self._tools.secret(options.key, "Odoo's API key")
            user = await self._rpc("common", "authenticate", [options.database, options.user, self._key, {}])
            if not user:
                raise SignInRefused(f"{self._http.host}: Odoo refused the API key of {options.user}")
            self._user = int(user)
        who = [options.database, self._user, self._key]
        return await self._rpc("object", "execute_kw", [*who, model, method, list(arguments), keywords], file)

    async def _rpc(self, service: str, method: str, arguments: list[Any], file: Attachment | None = None) -> Any:
        params = {"service": service, "method": method, "args": arguments}
        body = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
        sent = {"body": file.in_json(body)} if file is not None else {"json": body}
        document = (await self._http.request("POST", "/jsonrpc", **sent)).json()
        if not isinstance(document, dict):
            raise TryLater(f"{self._http.host}: answered with something that is not JSON-RPC")
        if "error" in document:
            raise _failure(self._http.host, document["error"])
        return document.get("result")


def _failure(host: str, error: Any) -> ProxydError:
    data = error.get("data") or {} if isinstance(error, dict) else {}
    kind = str(data.get("name", "")).rpartition(".")[2]
    words = " ".join(str(data.get("message") or error).split())[:300]
    if kind in _OWNER_MUST_ACT:
        return SignInRefused(f"{host}: Odoo does not allow it: {words}")
    if kind in _FOR_GOOD:
        return Refused(f"{host}: Odoo does not take it: {words}")
    return TryLater(f"{host}: Odoo failed: {kind} {words}")


def _partner(record: Record) -> str:
    if not record.people or record.people[0].remote_id is None:
        raise Refused("nobody of the conversation is a partner in Odoo, and none could be made")
    return record.people[0].remote_id
