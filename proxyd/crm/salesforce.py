"""Salesforce: an EmailMessage with its people and files, or, where Enhanced Email is off, a Task.

An EmailMessage cannot be changed once it is there, so it is written whole, and that it bounced is a Task beside it. It
is found again by its Message-ID (`MessageIdentifier`), a Task by our id at the end of its subject. Signed in to by
OAuth 2's client credentials, for a user whom the connected app runs as.
"""

from __future__ import annotations

from typing import Any

from proxyd.config import Salesforce as Settings
from proxyd.crm.adapter import (
    HERE,
    Attachment,
    Direction,
    HttpAdapter,
    Limits,
    MailAddress,
    Person,
    Record,
    SignInRefused,
    State,
    Tools,
)
from proxyd.crm.http import Answer
from proxyd.crm.note import note, reference

SENT, NEW = "3", "0"  # of EmailMessage.Status


class Salesforce(HttpAdapter[Settings]):
    Options = Settings
    # Salesforce's field reference: Subject 3000 (255 of a Task), TextBody and Description 32,000.
    limits = Limits(per_second=10, subject=3000, text=30_000, html=32_000, attachment=20_000_000)

    def __init__(self, options: Settings, tools: Tools) -> None:
        super().__init__(options, tools)
        self._data = f"/services/data/v{options.api}"
        self._token = ""

    async def find_contact(self, address: str) -> str | None:
        return await self._first(f"SELECT Id FROM Contact WHERE Email = {quoted(address)} ORDER BY CreatedDate LIMIT 1")

    async def create_contact(self, person: Person) -> str:
        first, _, last = person.name.strip().rpartition(" ")
        values = {"FirstName": first, "LastName": last or person.address, "Email": person.address}
        return await self._create("Contact", {key: value for key, value in values.items() if value})

    async def log_message(self, record: Record) -> str:
        if self._options.log_as == "task":
            return await self._task(record, f"{record.subject[:200]} {reference(record.id)}", note(record))
        values: dict[str, Any] = {
            "Subject": record.subject,
            "TextBody": record.text,
            "HtmlBody": await record.html(),
            "FromAddress": record.from_.address,
            "FromName": record.from_.name,
            "ToAddress": _addresses(record.to),
            "CcAddress": _addresses(record.cc),
            "BccAddress": _addresses(record.bcc),
            "Incoming": record.direction is Direction.INCOMING,
            "Status": SENT if record.direction is Direction.OUTGOING else NEW,
            "MessageDate": f"{record.date:%Y-%m-%dT%H:%M:%S}Z",
            "MessageIdentifier": f"<{record.message_id}>"[:255],
        }
        to = {each.address.lower() for each in record.to}
        people = [each.remote_id for each in record.people if each.address.lower() in to]
        if people and record.direction is Direction.OUTGOING:
            values["ToIds"] = people
        id = await self._create("EmailMessage", {key: value for key, value in values.items() if value != ""})
        await self._relate_sender(record, id)
        return id

    async def _relate_sender(self, record: Record, id: str) -> None:
        """So that an answer hangs at the contact who wrote it."""
        sender = [each for each in record.people if each.address.lower() == record.from_.address.lower()]
        if record.direction is Direction.INCOMING and sender and sender[0].remote_id:
            where = f"EmailMessageId = {quoted(id)} AND RelationType = 'FromAddress' AND RelationId != null"
            if await self._first(f"SELECT Id FROM EmailMessageRelation WHERE {where} LIMIT 1") is None:
                values = {"EmailMessageId": id, "RelationId": sender[0].remote_id, "RelationType": "FromAddress"}
                await self._create("EmailMessageRelation", values)

    async def _task(self, record: Record, subject: str, text: str) -> str:
        values = {
            "Subject": subject,
            "Description": text,
            "Status": "Completed",
            "TaskSubtype": "Email",
            "ActivityDate": f"{record.date:%Y-%m-%d}",
        }
        if record.people and record.people[0].remote_id:
            values["WhoId"] = record.people[0].remote_id
        if record.owner:
            values["OwnerId"] = record.owner
        return await self._create("Task", values)

    async def find_logged(self, record: Record) -> str | None:
        if self._options.log_as == "task":
            return await self._find_task(record.id)
        id = await self._find_email(record)
        if id is not None:
            await self._relate_sender(record, id)
        return id

    async def _find_email(self, record: Record) -> str | None:
        identifier = quoted(f"<{record.message_id}>"[:255])
        incoming = "true" if record.direction is Direction.INCOMING else "false"
        where = f"MessageIdentifier = {identifier} AND Incoming = {incoming}"
        return await self._first(f"SELECT Id FROM EmailMessage WHERE {where} ORDER BY CreatedDate LIMIT 1")

    async def find_theirs(self, record: Record) -> str | None:
        """Salesforce keeps what it sends itself, and what its own add-ins log, under the mail's Message-ID."""
        return None if self._options.log_as == "task" else await self._find_email(record)

    async def _find_task(self, id: str) -> str | None:
        return await self._first(f"SELECT Id FROM Task WHERE Subject LIKE {quoted('%' + reference(id))} LIMIT 1")

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        name = attachment.name or "attachment"
        values = {
            "Title": _title(attachment),
            "PathOnClient": f"/{name}",
            "VersionData": HERE,
            "FirstPublishLocationId": remote_id,
        }
        answer = await self._call("POST", "sobjects/ContentVersion", file=(attachment, values))
        return str(answer.json()["id"])

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        for each in await self._documents(remote_id):
            if each["ContentDocument"]["Title"] == _title(attachment):
                return str(each["ContentDocumentId"])
        return None

    async def _documents(self, remote_id: str) -> list[Any]:
        fields = "ContentDocumentId, ContentDocument.Title"
        return await self._query(f"SELECT {fields} FROM ContentDocumentLink WHERE LinkedEntityId = {quoted(remote_id)}")

    async def update_state(self, record: Record, remote_id: str) -> None:
        if record.state is State.BOUNCED and await self._find_task(f"{record.id} bounced") is None:
            subject = f"Bounced: {record.subject[:190]} {reference(f'{record.id} bounced')}"
            await self._task(record, subject, f"This message came back. Message-ID: <{record.message_id}>")

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        kind = "Task" if self._options.log_as == "task" else "EmailMessage"
        for id in remote_ids:
            for each in await self._documents(id):
                await self._delete("ContentDocument", each["ContentDocumentId"])
            await self._delete(kind, id)
        contact = await self.find_contact(address)
        if contact is not None:
            await self._delete("Contact", contact)
        return (
            f"{len(remote_ids)} messages and {'the' if contact else 'no'} contact deleted (they are in the recycle bin)"
        )

    # --- REST --------------------------------------------------------------------------------------------------

    async def _create(self, kind: str, values: dict[str, Any]) -> str:
        return str((await self._call("POST", f"sobjects/{kind}", json=values)).json()["id"])

    async def _delete(self, kind: str, id: str) -> None:
        await self._call("DELETE", f"sobjects/{kind}/{id}", expect=(404,))

    async def _query(self, soql: str) -> list[Any]:
        found: list[Any] = (await self._call("GET", "query", params={"q": soql})).json()["records"]
        return found

    async def _first(self, soql: str) -> str | None:
        found = await self._query(soql)
        return str(found[0]["Id"]) if found else None

    async def _call(
        self,
        method: str,
        path: str,
        expect: tuple[int, ...] = (),
        file: tuple[Attachment, dict[str, Any]] | None = None,
        **options: Any,
    ) -> Answer:
        """A token ends at some time: then once with a new one, and `file` is read again."""
        for fresh in (False, True):
            if not self._token:
                self._token = await self._sign_in()
                fresh = True
            headers = {"Authorization": f"Bearer {self._token}"}
            body = file[0].in_json(file[1]) if file is not None else None
            answer = await self._http.request(
                method, f"{self._data}/{path}", expect=(401, *expect), body=body, headers=headers, **options
            )
            if answer.status != 401:
                return answer
            self._token = ""
            if fresh:
                break
        raise SignInRefused(f"{self._http.host}: Salesforce does not take its own token: may the user use the API?")

    async def _sign_in(self) -> str:
        secret = await self._tools.secret(self._options.client_secret, "Salesforce's client secret")
        form = {"grant_type": "client_credentials", "client_id": self._options.client_id, "client_secret": secret}
        answer = await self._http.request("POST", "/services/oauth2/token", expect=(400,), data=form)
        document = answer.json()
        if answer.status == 400 or "access_token" not in document:
            words = " ".join(str(document.get("error_description") or document.get("error") or "").split())[:200]
            raise SignInRefused(f"{self._http.host}: Salesforce refused the connected app: {words}")
        return str(document["access_token"])


def quoted(text: str) -> str:
    """A SOQL string literal; what could end it is escaped, and `%` and `_` stand for any character in LIKE alone."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ").replace("\r", " ")
    return f"'{escaped}'"


def _addresses(people: tuple[MailAddress, ...]) -> str:
    return "; ".join(each.address for each in people)[:4000]


def _title(attachment: Attachment) -> str:
    return f"{attachment.n + 1}-{attachment.name or 'attachment'}"[-255:]
