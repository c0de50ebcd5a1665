"""The pages of the people: the contacts with their list beside, one contact's story, a company and its people."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from urllib.parse import quote

from proxyd.config import Account
from proxyd.journal import Journal
from proxyd.journal.changes import What
from proxyd.model import mailbox_key
from proxyd.store.database import Database
from proxyd.web import answers, answers_companies, answers_contacts, answers_html, answers_suggestions
from proxyd.web.answers import Document
from proxyd.web.page import story
from proxyd.web.page.visits import Visit, app, argument, go, page, posted_here
from proxyd.web.problems import Request, not_found
from proxyd.workers import Workers

LATEST = 15  # messages on the first page
AT_ONCE = 100  # messages of one contact on one page
LISTED = 50  # contacts in the list beside, until one asks for more
MOST_LISTED = 1000
COMPANIES = 100  # on one page
COLLEAGUES = 30  # of a company, on its page

NO_COMPANY = "there is no such company; it goes with its last contact"


class PeoplePages:
    """`render` fills a template in for a visit; `mine` are the accounts that somebody speaks for."""

    _journal: Journal
    _database: Database
    _workers: Workers
    _render: Callable[..., str]
    _mine: Callable[[Visit], list[Account]]

    # --- the contacts ------------------------------------------------------------------------------------

    @app.route("/contacts", methods=["GET"])
    @page
    async def contacts(self, request: Request, visit: Visit) -> str:
        part = argument(request, "part")
        if part == "latest":
            return self._render(visit, "latest.html", **await self._latest(visit))
        listed = await self._listed(request, visit)
        if part == "list":
            return self._render(visit, "contact_list.html", **listed)
        return self._render(visit, "contacts.html", here="contacts", **listed, **await self._latest(visit))

    @app.route("/contacts", methods=["POST"])
    @page
    @posted_here
    async def add_contact(self, request: Request, visit: Visit) -> bytes:
        email, name, company = (argument(request, each) for each in ("email", "name", "company"))
        added = await self._workers.run(answers_contacts.add, self._database, email, name, company)
        return self._changed(request, added)

    @app.route("/contacts/<path:email>/addresses", methods=["POST"])
    @page
    @posted_here
    async def one_more(self, request: Request, visit: Visit, email: str) -> bytes:
        """One more address of a contact. Where it is another contact's, the two are one person from now on."""
        other = argument(request, "address")
        there = await self._workers.run(answers_contacts.one, self._database, other, visit.viewer)
        if there is not None:
            merged = await self._workers.run(answers_contacts.merge, self._database, email, other)
            return self._changed(request, merged)
        given = (email, "", "", (other,))
        return self._changed(request, await self._workers.run(answers_contacts.add, self._database, *given))

    @app.route("/contacts/<path:email>/split", methods=["POST"])
    @page
    @posted_here
    async def split(self, request: Request, visit: Visit, email: str) -> bytes:
        """An address is a contact of its own (again)."""
        made = await self._workers.run(answers_contacts.split, self._database, argument(request, "address"))
        return self._changed(request, made)

    @app.route("/contacts/<path:email>", methods=["GET"])
    @page
    async def contact(self, request: Request, visit: Visit, email: str) -> str | bytes:
        """Anybody's conversations, a contact's or not: a colleague in Cc is one click away."""
        person = await self._workers.run(answers_contacts.one, self._database, email, visit.viewer)
        part = argument(request, "part")
        if person and not part and mailbox_key(person["email"]) != mailbox_key(email):
            return go(request, f"/contacts/{quote(person['email'], safe='@')}")  # the browser keeps what it looks for
        told = await self._story(request, visit, email, None)
        stranger = {"email": email, "name": "", "company": "", "addresses": [email], "company_id": None}
        shown = told | {"contact": person or stranger, "known": person is not None, "company": None}
        if person and person["company_id"]:
            found = await self._workers.run(answers_companies.one, self._database, person["company_id"], visit.viewer)
            shown["company"] = found
        if part == "timeline":
            return self._render(visit, "timeline.html", **shown)
        key = mailbox_key(person["email"] if person else email)
        return self._render(visit, "contact.html", here="contacts", **shown, **await self._listed(request, visit, key))

    def _changed(self, request: Request, contact: Document) -> bytes:
        self._journal.changes.tell(What.CONTACT, mailbox_key(contact["email"]))
        return go(request, f"/contacts/{quote(contact['email'], safe='@')}")

    # --- the companies -----------------------------------------------------------------------------------

    @app.route("/companies", methods=["GET"])
    @page
    async def companies(self, request: Request, visit: Visit) -> str:
        q, cursor = argument(request, "q"), argument(request, "cursor") or None
        given = (q, visit.viewer, COMPANIES, cursor)
        found = await self._workers.run(answers_companies.listed, self._database, *given)
        return self._render(visit, "companies.html", here="companies", q=q, cursor=cursor, **found)

    @app.route("/companies/<id>", methods=["GET"])
    @page
    async def company(self, request: Request, visit: Visit, id: str) -> str:
        found = await self._workers.run(answers_companies.one, self._database, id, visit.viewer)
        if found is None:
            raise not_found(NO_COMPANY)
        shown = await self._story(request, visit, None, found["id"]) | {
            "company": found,
            "contact": None,
            "known": True,
        }
        if argument(request, "part") == "timeline":
            return self._render(visit, "timeline.html", **shown)
        asked = functools.partial(answers_contacts.listed, newest=True, company=found["id"])
        people = await self._workers.run(asked, self._database, "", visit.viewer, COLLEAGUES)
        shown |= {"colleagues": people["contacts"], "more_colleagues": people["total"] - len(people["contacts"])}
        listed = await self._listed(request, visit)
        return self._render(visit, "company.html", here="companies", **shown, **listed)

    @app.route("/companies/<id>", methods=["POST"])
    @page
    @posted_here
    async def change_company(self, request: Request, visit: Visit, id: str) -> bytes:
        """Another name, other domains."""
        name, domains = argument(request, "name").strip(), argument(request, "domains").replace(",", " ").split()
        changed = await self._workers.run(answers_companies.change, self._database, id, name or None, domains)
        if changed is None:
            raise not_found(NO_COMPANY)
        self._journal.changes.tell(What.CONTACT, "")
        return go(request, f"/companies/{changed['id']}")

    # --- what they have in common ------------------------------------------------------------------------

    async def _story(self, request: Request, visit: Visit, email: str | None, company: str | None) -> Document:
        """The conversations with somebody, or with anybody of a company, as the templates tell them."""
        before = argument(request, "before") or None
        asked = functools.partial(answers.timeline, cursor=before, company=company)
        found = await self._workers.run(asked, self._database, email, None, AT_ONCE, visit.viewer)
        invited = functools.partial(answers_html.with_invitations, self._database, viewer=visit.viewer)
        told = await self._workers.run(lambda: [invited(each) for each in found["messages"]])
        shown: Document = {"threads": story.threads(told), "next": found["next"], "before": before}
        path = f"/companies/{company}" if company else f"/contacts/{quote(email or '', safe='@')}"
        shown |= {"path": path, "writes": bool(self._mine(visit)), "called": await self._called(told)}
        return shown

    async def _latest(self, visit: Visit) -> Document:
        latest = await self._workers.run(answers.timeline, self._database, None, None, LATEST, visit.viewer)
        open_ones = await self._workers.run(answers_suggestions.listed, self._database, None, visit.viewer)
        told = latest["messages"]
        anybody = (
            told or (await self._workers.run(answers_contacts.listed, self._database, "", visit.viewer, 1))["total"]
        )
        return {
            "messages": told,
            "anybody": bool(anybody),
            "undecided": len(open_ones["suggestions"]),
            "called": await self._called(told),
        }

    async def _listed(self, request: Request, visit: Visit, chosen: str = "") -> Document:
        """What the list beside is filled in with: those with the newest words first, then those nobody has written to
        yet, by address; `chosen` is the mailbox key of whom one reads."""
        q, listed = argument(request, "q"), argument(request, "listed")
        limit = min(int(listed), MOST_LISTED) if listed.isdecimal() and len(listed) < 9 else LISTED
        asked = functools.partial(answers_contacts.listed, newest=True)
        found = await self._workers.run(asked, self._database, q, visit.viewer, limit)
        unlisted = found["total"] - len(found["contacts"])
        more = limit + 4 * LISTED if unlisted and limit < MOST_LISTED else None
        return {"contacts": found["contacts"], "unlisted": unlisted, "more": more, "q": q, "chosen": chosen}

    async def _called(self, messages: Iterable[Document]) -> Callable[[Document], str]:
        """How the people of these messages are called: as they sign, else as a contact, else by their address."""
        everybody = {each["address"] for message in messages for each in story.everybody(message)}
        names = await self._workers.run(answers_contacts.names, self._database, everybody)

        def called(person: Document) -> str:
            return str(person["name"] or names.get(mailbox_key(person["address"])) or person["address"])

        return called
