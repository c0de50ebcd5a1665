"""The HTTP API under /api/v1/: the same on the control socket and on the `web` listener, for whoever is asking.

Each handler says in its signature what it takes (`proxyd.web.routes`); what blocks runs in a worker thread.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import quote

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.journal.changes import What
from proxyd.model import mailbox_key
from proxyd.store.database import Database
from proxyd.web import (
    answers,
    answers_companies,
    answers_contacts,
    answers_crm,
    answers_erasing,
    answers_html,
    answers_search,
    answers_suggestions,
    documents,
    openapi,
)
from proxyd.web.answers import DaemonState, Document
from proxyd.web.api_copies import CopiesRoutes
from proxyd.web.api_sending import Sender, SendingRoutes
from proxyd.web.api_spool import SpoolRoutes
from proxyd.web.events import Events
from proxyd.web.problems import Problem, Request, not_found
from proxyd.web.routes import posted, route, table
from proxyd.web.streaming import write_chunks
from proxyd.web.viewer import May, Viewer
from proxyd.workers import Clock, Workers

NO_MESSAGE = "no logged message has this id"
NO_COMPANY = "no company has this id, name or domain"
NO_SUGGESTION = "no open suggestion has this id"
UNKNOWN = (HTTPStatus.NOT_FOUND,)


class Api(SendingRoutes, CopiesRoutes, SpoolRoutes):
    """Everybody's routes. `reconnect` signs an account in anew, `sender` takes what is to be sent."""

    def __init__(
        self,
        journal: Journal,
        database: Database,
        workers: Workers,
        clock: Clock,
        state: Callable[[], DaemonState],
        reconnect: Callable[[str], Awaitable[None]],
        accounts: Callable[[], Mapping[str, Account]],
        sender: Sender,
    ) -> None:
        self._journal = journal
        self._database = database
        self._workers = workers
        self._state = state
        self._reconnect = reconnect
        self._accounts = accounts
        self._sender = sender
        self._events = Events(journal, database, workers, clock)

    # --- the daemon --------------------------------------------------------------------------------------

    @route("GET", "openapi.json", answer="application/json")
    async def openapi(self) -> Document:
        """This description."""
        return openapi.document(table(self), self._state().version)

    @route("GET", "accounts", answer=documents.Accounts)
    async def accounts(self, viewer: Viewer) -> Document:
        """The accounts and how they are."""
        return answers.accounts(self._state(), viewer)

    @route("POST", "accounts/{address}/reconnect", answer=documents.AccountListed, may=May.SEND, problems=UNKNOWN)
    async def reconnect(self, viewer: Viewer, address: str) -> Document:
        """Sign the account in anew, whatever was refused before."""
        key = address.strip().lower()
        before = next((each for each in self._state().accounts if each.address == key), None)
        if before is None or not viewer.sees(key):
            raise not_found("no account has this address")
        if not viewer.speaks_for(key):
            raise Problem(HTTPStatus.FORBIDDEN, "this token belongs to another account's owner")
        await self._reconnect(key)
        (now,) = (each for each in answers.accounts(self._state())["accounts"] if each["address"] == key)
        return dict(now)

    @route("GET", "events", answer="text/event-stream")
    async def events(
        self, request: Request, asking: Callable[[], Viewer | None], query: documents.WatchEvents
    ) -> bytes:
        """What changes, as server-sent events: `ready`, `message`, `account`, `contact`; each says what to read."""
        return await self._events.write(request, asking, query.account.lower() if query.account else None)

    def rights_changed(self) -> None:
        """Tokens or accounts are others now: who listens is looked at anew."""
        self._journal.changes.tell(What.RIGHTS, "")

    # --- contacts ----------------------------------------------------------------------------------------

    @route("GET", "contacts", answer=documents.Contacts, problems=UNKNOWN)
    async def contacts(self, viewer: Viewer, query: documents.ListContacts) -> Document:
        """The contacts by address, or those with the newest messages first."""
        company = None if query.company is None else (await self._company(viewer, query.company))["id"]
        listed = functools.partial(answers_contacts.listed, newest=query.order == "newest", company=company)
        return await self._workers.run(listed, self._database, query.q, viewer, query.limit, query.cursor)

    @route(
        "POST",
        "contacts",
        answer=documents.ContactMade,
        may=May.SEND,
        status=(HTTPStatus.CREATED, HTTPStatus.OK),
    )
    async def add_contact(self, request: Request, body: documents.MakeContact) -> Document:
        """Make a contact, or complete the one that has this address: what is left out stays."""
        given = (body.email, body.name, body.company, body.aliases)
        added = await self._workers.run(answers_contacts.add, self._database, *given)
        self._journal.changes.tell(What.CONTACT, mailbox_key(added["email"]))
        if added["new"]:
            request.setResponseCode(HTTPStatus.CREATED)
        return added

    @route(
        "POST",
        "contacts/import",
        answer=documents.Imported,
        may=May.SEND,
        takes=("text/csv", "text/vcard", "application/octet-stream"),
    )
    async def import_contacts(self, request: Request, query: documents.ImportContacts) -> Document:
        """Take an address book in; a line that is not usable stops no other."""
        taken = await self._workers.run(answers_contacts.take_in, self._database, posted(request), query.kind)
        self._journal.changes.tell(What.CONTACT, "")
        return taken

    @route("POST", "contacts/{email}/merge", answer=documents.Contact, may=May.SEND)
    async def merge_contact(self, email: str, body: documents.MergeContact) -> Document:
        """Two contacts are one person: the other one's addresses are this one's from now on."""
        merged = await self._workers.run(answers_contacts.merge, self._database, email, body.other)
        self._journal.changes.tell(What.CONTACT, mailbox_key(merged["email"]))
        return merged

    @route("POST", "contacts/{email}/split", answer=documents.Contact, may=May.SEND)
    async def split_contact(self, email: str) -> Document:
        """A contact's further address is a contact of its own (again): what was merged is as it was before."""
        made = await self._workers.run(answers_contacts.split, self._database, email)
        self._journal.changes.tell(What.CONTACT, mailbox_key(made["email"]))
        return made

    @route("GET", "contacts/{email}/timeline", answer=documents.Messages)
    async def timeline(self, viewer: Viewer, email: str, query: documents.ListMessages) -> Document:
        """What is logged with one contact, under any of their addresses, newest first."""
        return await self._listed(viewer, email, query)

    # --- companies ---------------------------------------------------------------------------------------

    @route("GET", "companies", answer=documents.Companies)
    async def companies(self, viewer: Viewer, query: documents.ListCompanies) -> Document:
        """The companies by name."""
        given = (query.q, viewer, query.limit, query.cursor)
        return await self._workers.run(answers_companies.listed, self._database, *given)

    @route("POST", "companies", answer=documents.CompanyListed, may=May.SEND)
    async def make_company(self, body: documents.MakeCompany) -> Document:
        """Make a company, or give the one of this name further domains."""
        made = await self._workers.run(answers_companies.make, self._database, body.name, body.domains)
        self._journal.changes.tell(What.CONTACT, "")
        return made

    @route("GET", "companies/{company}", answer=documents.CompanyListed, problems=UNKNOWN)
    async def company(self, viewer: Viewer, company: str) -> Document:
        """One company, by its id, name or domain."""
        return await self._company(viewer, company)

    @route("POST", "companies/{company}", answer=documents.CompanyListed, may=May.SEND, problems=UNKNOWN)
    async def change_company(self, company: str, body: documents.ChangeCompany) -> Document:
        """Another name, other domains; the contacts follow."""
        given = (company, body.name, body.domains)
        changed = await self._workers.run(answers_companies.change, self._database, *given)
        if changed is None:
            raise not_found(NO_COMPANY)
        self._journal.changes.tell(What.CONTACT, "")
        return changed

    @route("GET", "companies/{company}/timeline", answer=documents.Messages, problems=UNKNOWN)
    async def company_timeline(self, viewer: Viewer, company: str, query: documents.ListMessages) -> Document:
        """What is logged with anybody of one company, newest first."""
        found = await self._company(viewer, company)
        return await self._listed(viewer, None, query, found["id"])

    async def _company(self, viewer: Viewer, word: str) -> Document:
        found = await self._workers.run(answers_companies.one, self._database, word, viewer)
        if found is None:
            raise not_found(NO_COMPANY)
        return found

    # --- handing over, forgetting --------------------------------------------------------------------------

    @route("GET", "contacts/{email}/export", answer="application/octet-stream")
    async def export(self, request: Request, viewer: Viewer, email: str, query: documents.ExportContact) -> bytes:
        """Everything that is logged with one contact, attachments and all: an mbox file, or a JSON document."""
        written = answers_erasing.as_mbox if query.format == "mbox" else answers_erasing.as_json
        request.setHeader("content-type", "application/octet-stream")
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("content-disposition", f'attachment; filename="contact.{query.format}"')
        return await write_chunks(request, written(self._database, email, viewer), self._workers)

    @route("POST", "contacts/{email}/forget", answer=documents.Erasure, may=May.OWNER)
    async def forget(self, email: str) -> Document:
        """Erase one contact, all their addresses and every logged message with them, here and in every CRM that can."""
        report = await self._workers.run(answers_erasing.forget, self._database, email, datetime.now(UTC))
        self._journal.wakes.outbox.set()
        self._journal.changes.tell(What.EVERYTHING, "")
        return report

    @route("GET", "erasures", answer=documents.Erasures, may=May.OWNER)
    async def erasures(self, query: documents.ListErasures) -> Document:
        """The reports of contacts forgotten; they hold nothing of them."""
        return await self._workers.run(answers_erasing.reports, self._database, query.contact)

    # --- messages ----------------------------------------------------------------------------------------

    @route("GET", "messages", answer=documents.Messages)
    async def messages(self, viewer: Viewer, query: documents.ListMessages) -> Document:
        """What is logged, newest first."""
        return await self._listed(viewer, None, query)

    async def _listed(
        self, viewer: Viewer, contact: str | None, query: documents.ListMessages, company: str | None = None
    ) -> Document:
        listed = functools.partial(
            answers.timeline, limit=query.limit, viewer=viewer, cursor=query.cursor, company=company
        )
        return await self._workers.run(listed, self._database, contact, query.account)

    # --- the CRMs ----------------------------------------------------------------------------------------

    @route("GET", "crm/entries", answer=documents.CrmEntries)
    async def crm_entries(self, viewer: Viewer, query: documents.ListCrmEntries) -> Document:
        """What a CRM refused, or has not taken yet, in its own words."""
        return await self._workers.run(
            answers_crm.listed, self._database, query.account, query.crm, query.limit, viewer
        )

    @route("POST", "crm/entries/retry", answer=documents.CrmEntriesChanged, may=May.SEND)
    async def retry_crm_entries(self, viewer: Viewer, body: documents.ChooseCrmEntries) -> Document:
        """Ask the CRMs again, now: somebody has mended what they complained of."""
        done = await self._workers.run(
            answers_crm.retry, self._database, body.messages, body.account, body.crm, datetime.now(UTC), viewer
        )
        self._journal.wakes.mended.set()
        self._journal.wakes.entries.set()
        return done

    @route("POST", "crm/entries/skip", answer=documents.CrmEntriesChanged, may=May.SEND)
    async def skip_crm_entries(self, viewer: Viewer, body: documents.SkipCrmEntries) -> Document:
        """Leave out what a CRM refused: it is neither tried nor told of any more."""
        return await self._workers.run(
            answers_crm.skip, self._database, body.messages, body.account, body.crm, body.waiting, viewer
        )

    # --- suggestions -------------------------------------------------------------------------------------

    @route("GET", "suggestions", answer=documents.Suggestions)
    async def suggestions(self, viewer: Viewer, query: documents.ListSuggestions) -> Document:
        """Mail that may belong to a conversation and waits for its person's word."""
        return await self._workers.run(answers_suggestions.listed, self._database, query.account, viewer)

    @route("POST", "suggestions/{id}/accept", answer=documents.SuggestionListed, may=May.SEND, problems=UNKNOWN)
    async def accept_suggestion(self, viewer: Viewer, id: str) -> Document:
        """Fetch the message and log it into its conversation."""
        decided = await self._workers.run(answers_suggestions.accept, self._database, id, viewer)
        if decided is None:
            raise not_found(NO_SUGGESTION)
        self._journal.suggestions.tell(decided["account"])
        return decided

    @route("POST", "suggestions/{id}/refuse", answer=documents.SuggestionListed, may=May.SEND, problems=UNKNOWN)
    async def refuse_suggestion(self, viewer: Viewer, id: str) -> Document:
        """Forget the message: it is not fetched, and not suggested again."""
        now = datetime.now(UTC)
        decided = await self._workers.run(answers_suggestions.refuse, self._database, id, now, viewer)
        if decided is None:
            raise not_found(NO_SUGGESTION)
        return decided

    @route("GET", "messages/{id}", answer=documents.OneMessage, problems=UNKNOWN)
    async def message(self, viewer: Viewer, id: str) -> Document:
        """One logged message."""
        found = await self._workers.run(answers.message, self._database, id, viewer)
        if found is None:
            raise not_found(NO_MESSAGE)
        return await self._workers.run(answers_html.with_invitations, self._database, found, viewer)

    @route("GET", "messages/{id}/html", answer="text/html", problems=UNKNOWN)
    async def message_html(self, request: Request, viewer: Viewer, id: str, query: documents.ShowMessage) -> bytes:
        """It as a page of its own, to be shown in a sandboxed frame: nothing in it runs, and nothing loads unless
        `images` says so. The header field X-Blocked-Images counts what was left out."""
        shown = await self._workers.run(answers_html.page, self._database, id, query.images, viewer)
        if shown is None:
            raise not_found(NO_MESSAGE)
        request.setHeader("content-type", "text/html; charset=utf-8")
        request.setHeader("content-security-policy", answers_html.policy(query.images))
        request.setHeader("referrer-policy", "no-referrer")
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("x-blocked-images", str(shown["blocked"]))
        octets: bytes = shown["html"].encode("utf-8", "replace")
        return octets

    @route("GET", "messages/{id}/raw", answer="message/rfc822", problems=UNKNOWN)
    async def raw(self, request: Request, viewer: Viewer, id: str) -> bytes:
        """Its octets, as they were sent or received."""
        chunks = await self._workers.run(answers.raw, self._database, id, viewer)
        if chunks is None:
            raise not_found(NO_MESSAGE)
        request.setHeader("content-type", "message/rfc822")
        request.setHeader("x-content-type-options", "nosniff")
        return await write_chunks(request, chunks, self._workers)

    @route("GET", "messages/{id}/attachments/{n}", answer="application/octet-stream", problems=UNKNOWN)
    async def attachment(self, request: Request, viewer: Viewer, id: str, n: int) -> bytes:
        """One attachment, counted from 0 as the message lists them."""
        found = await self._workers.run(answers.attachment, self._database, id, n, viewer)
        if found is None:
            raise not_found("no logged message has this id and an attachment of this number, counted from 0")
        about, chunks = found
        # Never shown in place: what a stranger sent must not run as a page of ours.
        request.setHeader("content-type", "application/octet-stream")
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("content-disposition", f"attachment; filename*=UTF-8''{quote(about['name'], safe='')}")
        return await write_chunks(request, chunks, self._workers)

    @route("GET", "search", answer=documents.FoundMessages)
    async def search(self, viewer: Viewer, query: documents.Search) -> Document:
        """The full text of what is logged, newest first."""
        return await self._workers.run(answers_search.found, self._database, query.q, query.limit, viewer, query.cursor)

    @route("GET", "explain", answer=documents.Explanation, problems=UNKNOWN)
    async def explain(self, viewer: Viewer, query: documents.ExplainMessage) -> Document:
        """Why a message was or was not logged, and what became of its copies."""
        found = await self._workers.run(answers.explain, self._database, query.message_id, datetime.now(UTC), viewer)
        if found is None:
            raise not_found("nothing is known under this Message-ID")
        return found
