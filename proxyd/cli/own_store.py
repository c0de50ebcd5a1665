"""The store, opened by a command while no daemon runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from proxyd.places import Places
from proxyd.store.database import Database
from proxyd.store.opening import opened
from proxyd.web import (
    answers,
    answers_companies,
    answers_contacts,
    answers_copies,
    answers_crm,
    answers_erasing,
    answers_search,
    answers_spool,
    answers_suggestions,
    answers_tokens,
)
from proxyd.web.answers import Document
from proxyd.web.troubles import troubles


class OwnStore:
    """Answers as the daemon would."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def timeline(self, contact: str | None, account: str | None, limit: int, company: str | None = None) -> Document:
        id = None if company is None else self.company(company)["id"]
        return answers.timeline(self._database, contact, account, limit, company=id)

    def explain(self, message_id: str) -> Document | None:
        return answers.explain(self._database, message_id, self._now())

    def search(self, q: str, limit: int) -> Document:
        return answers_search.found(self._database, q, limit)

    def contacts(self) -> Document:
        return answers_contacts.listed(self._database)

    def add_contact(self, email: str, name: str, company: str, aliases: Sequence[str] = ()) -> Document:
        return answers_contacts.add(self._database, email, name, company, aliases)

    def import_contacts(self, octets: bytes, kind: str) -> Document:
        return answers_contacts.take_in(self._database, octets, kind)

    def merge_contacts(self, email: str, other: str) -> Document:
        return answers_contacts.merge(self._database, email, other)

    def split_contact(self, address: str) -> Document:
        return answers_contacts.split(self._database, address)

    def companies(self) -> Document:
        return answers_companies.listed(self._database)

    def company(self, word: str) -> Document:
        return _known(answers_companies.one(self._database, word))

    def make_company(self, name: str, domains: Sequence[str]) -> Document:
        return answers_companies.make(self._database, name, domains)

    def change_company(self, word: str, name: str | None, domains: Sequence[str] | None) -> Document:
        return _known(answers_companies.change(self._database, word, name, domains))

    def export(self, contact: str, kind: str) -> Iterator[bytes]:
        written = answers_erasing.as_mbox if kind == "mbox" else answers_erasing.as_json
        return written(self._database, contact)

    def forget(self, contact: str) -> Document:
        return answers_erasing.forget(self._database, contact, self._now())

    def erasures(self, contact: str | None) -> Document:
        return answers_erasing.reports(self._database, contact)

    def tokens(self) -> Document:
        return answers_tokens.every(self._database)

    def make_token(self, name: str, person: str | None, may: str) -> Document:
        return answers_tokens.make(self._database, name, person, may, self._now())

    def revoke_token(self, name: str) -> None:
        if not answers_tokens.revoke(self._database, name):
            raise answers.Unacceptable("there is no token of this name")

    def suggestions(self, account: str | None) -> Document:
        return answers_suggestions.listed(self._database, account)

    def accept_suggestion(self, id: str) -> Document:
        return _there(answers_suggestions.accept(self._database, id))

    def refuse_suggestion(self, id: str) -> Document:
        return _there(answers_suggestions.refuse(self._database, id, self._now()))

    def crm_entries(self, account: str | None, crm: str | None, limit: int) -> Document:
        return answers_crm.listed(self._database, account, crm, limit)

    def retry_crm_entries(self, messages: list[str] | None, account: str | None, crm: str | None) -> Document:
        return answers_crm.retry(self._database, messages, account, crm, self._now())

    def skip_crm_entries(
        self, messages: list[str] | None, account: str | None, crm: str | None, waiting: bool
    ) -> Document:
        return answers_crm.skip(self._database, messages, account, crm, waiting)

    def copies(self, account: str | None, what: str | None, limit: int) -> Document:
        return answers_copies.listed(self._database, account, what, limit, self._now())

    def retry_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document:
        return answers_copies.retry(self._database, copies, account, what, self._now())[0]

    def skip_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document:
        return answers_copies.skip(self._database, copies, account, what, self._now())

    def spooled(self, account: str | None) -> Document:
        return answers_spool.listed(self._database, account)

    def spooled_octets(self, id: str) -> Iterator[bytes]:
        chunks = answers_spool.written(self._database, id)
        if chunks is None:
            raise answers.Unacceptable("no mail in the spool has this id; proxyd spool shows them")
        return chunks

    def retry_spooled(self, mails: list[str], account: str | None) -> Document:
        return answers_spool.retry(self._database, mails, account, self._now())

    def drop_spooled(self, mails: list[str]) -> Document:
        return answers_spool.drop(self._database, mails, self._now())

    def troubles(self) -> Document:
        return troubles(self._database, self._now())


def _known(company: Document | None) -> Document:
    if company is None:
        raise answers.Unacceptable("no company has this id, name or domain; proxyd company list shows them")
    return company


def _there(decided: Document | None) -> Document:
    if decided is None:
        raise answers.Unacceptable("no open suggestion has this id")
    return decided


@contextmanager
def open_store(places: Places) -> Iterator[Database]:
    """Raises ConfigError where the folder or the key cannot be had."""
    places.make_data()
    database = opened(places.data)
    try:
        yield database
    finally:
        database.close()
