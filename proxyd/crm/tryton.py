"""Tryton (8.2 and its party module): a party for the contact, a note for the message, attachments beside it.

Tryton's own e-mail records are written by its server alone, so a message is a note (`ir.note`) at the first party of
the conversation. A note cannot be changed afterwards: that a message bounced is a second note. Notes and attachments
carry our id, by which they are found again. Spoken to by JSON-RPC, with a session that is renewed when it has ended.
"""

from __future__ import annotations

import base64
from typing import Any

from proxyd.config import Tryton as Settings
from proxyd.crm.adapter import HERE, Attachment, HttpAdapter, Limits, Person, Record, Refused, SignInRefused, Tools
from proxyd.crm.note import note, reference, state_note
from proxyd.errors import TryLater

_FOR_GOOD = ("UserError", "UserWarning", "DomainValidationError", "SelectionValidationError")
PARTY = "party.party"


class Tryton(HttpAdapter[Settings]):
    Options = Settings
    limits = Limits(per_second=20, found_after=5)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._path = f"/{options.database}/rpc/"
        self._session: str | None = None

    @property
    def place(self) -> str:
        return f"{self._options.url}/{self._options.database}"

    # --- contacts --------------------------------------------------------------------------------------------

    async def find_contact(self, address: str) -> str | None:
        # `_` and `%` in an address stand for any character here: what is found is compared.
        domain = [["type", "=", "email"], ["value", "ilike", address]]
        fields = ["party", "value"]
        rows = await self._call("party.contact_mechanism.search_read", domain, 0, 100, [["id", "ASC"]], fields)
        same = [row for row in rows if row["value"].lower() == address.lower()]
        return str(same[0]["party"]) if same else None

    async def create_contact(self, person: Person) -> str:
        mechanism = {"type": "email", "value": person.address}
        values = {"name": person.name or person.address, "contact_mechanisms": [["create", [mechanism]]]}
        (party,) = await self._call("party.party.create", [values])
        return str(party)

    # --- messages --------------------------------------------------------------------------------------------

    async def find_theirs(self, record: Record) -> str | None:
        """What Tryton's own mailer sent is an `ir.email`, by its Message-ID, at whatever record it was written from."""
        domain = [["message_id", "=", f"<{record.message_id}>"]]
        rows = await self._call("ir.email.search_read", domain, 0, 1, [["id", "ASC"]], ["resource"])
        if not rows:
            return None
        model, _, id = str(rows[0]["resource"] or "").partition(",")
        return f"{id if model == PARTY else ''}/email {rows[0]['id']}"

    async def log_message(self, record: Record) -> str:
        party = _party(record)
        (made,) = await self._call("ir.note.create", [{"resource": f"{PARTY},{party}", "message": note(record)}])
        return f"{party}/{made}"

    async def find_logged(self, record: Record) -> str | None:
        return await self._note(record.id)

    async def _note(self, id: str) -> str | None:
        domain = [["message", "like", f"%{reference(id)}"]]
        rows = await self._call("ir.note.search_read", domain, 0, 1, [["id", "ASC"]], ["resource"])
        return f"{rows[0]['resource'].rpartition(',')[2]}/{rows[0]['id']}" if rows else None

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        values = {
            "resource": f"{PARTY},{remote_id.partition('/')[0]}",
            "name": attachment.name or f"attachment {attachment.n + 1}",
            "type": "data",
            "data": {"__class__": "bytes", "base64": HERE},
            "description": f"{record.subject}\n{reference(f'{record.id} {attachment.n}')}",
        }
        (made,) = await self._call("ir.attachment.create", [values], file=attachment)
        return str(made)

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        domain = [["description", "like", f"%{reference(f'{record.id} {attachment.n}')}"]]
        rows = await self._call("ir.attachment.search", domain, 0, 1, None)
        return str(rows[0]) if rows else None

    async def update_state(self, record: Record, remote_id: str) -> None:
        if await self._note(f"{record.id} {record.state}") is None:
            party = remote_id.partition("/")[0] or await self.find_contact((*record.to, record.from_)[0].address)
            if party is None:
                return  # an e-mail of Tryton's own that hangs at no party: there is nothing to write it at
            resource = f"{PARTY},{party}"
            await self._call("ir.note.create", [{"resource": resource, "message": state_note(record)}])

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        party = await self.find_contact(address)
        parties = {each.partition("/")[0] for each in remote_ids} - {""} | ({party} if party else set())
        gone = 0
        # An OR of nothing is everything to Tryton.
        for model, field in (("ir.note", "message"), ("ir.attachment", "description")) if parties else ():
            of = ["OR", *([["resource", "=", f"{PARTY},{each}"]] for each in sorted(parties))]
            found = await self._call(f"{model}.search", [of, [field, "like", f"%{reference('%')}"]], 0, None, None)
            if found:
                await self._call(f"{model}.delete", found)
            gone += len(found)
        if party is not None:
            await self._call("party.party.delete", [int(party)])
        return f"{gone} notes and attachments and {'the' if party else 'no'} party deleted"

    # --- JSON-RPC ----------------------------------------------------------------------------------------------

    async def _call(self, method: str, *params: Any, file: Attachment | None = None) -> Any:
        """Raises Refused for what Tryton's own rules forbid, TryLater for every other failure of its server."""
        for fresh in (False, True):
            if self._session is None:
                self._session = await self._sign_in()
                fresh = True
            answer = await self._post(f"model.{method}", [*params, {}], self._session, file)
            if answer is not None:
                return answer
            self._session = None
            if fresh:
                break
        raise SignInRefused(f"{self._http.host}: Tryton does not take its own session; is the user active?")

    async def _sign_in(self) -> str:
        user = self._options.user
        password = await self._tools.secret(self._options.password, "Tryton's password")
        answer = await self._post("common.db.login", [user, {"password": password}], None)
        if not answer:
            raise SignInRefused(f"{self._http.host}: Tryton refused the password of {user}")
        token = f"{user}:{answer[0]}:{answer[1]}"
        return f"Session {base64.b64encode(token.encode()).decode()}"

    async def _post(self, method: str, params: list[Any], session: str | None, file: Attachment | None = None) -> Any:
        """The result; None where the credentials were refused."""
        headers = {"Authorization": session} if session else {}
        body = {"id": 1, "method": method, "params": params}
        sent = {"body": file.in_json(body)} if file is not None else {"json": body}
        answer = await self._http.request("POST", self._path, expect=(401,), headers=headers, **sent)
        if answer.status == 401:
            return None
        document = answer.json()
        if "error" not in document:
            return document.get("result") if document.get("result") is not None else True
        error = [str(each) for each in document["error"]]
        words = " ".join(str(document["error"][1:]).split())[:300] if len(error) > 1 else ""
        if error[0] in _FOR_GOOD:
            raise Refused(f"Tryton does not take it: {error[0]} {words}")
        raise TryLater(f"Tryton's server failed: {error[0][:200]}")


def _party(record: Record) -> str:
    if not record.people or record.people[0].remote_id is None:
        raise Refused("nobody of the conversation is a party in Tryton, and none could be made")
    return record.people[0].remote_id
