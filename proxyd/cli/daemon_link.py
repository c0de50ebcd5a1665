"""The control socket's other end: what a command asks the running daemon.

Where no daemon runs, `records` opens the store itself; both sides answer with the same documents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from proxyd.daemon.alone import waits
from proxyd.errors import ProxydError, TryLater
from proxyd.places import Places

Document = dict[str, Any]

BASE = "http://proxyd/api/v1"
TIMEOUT = httpx.Timeout(30.0, connect=2.0)  # seconds
SEND_TIMEOUT = httpx.Timeout(660.0, connect=2.0)  # longer than any answer_within
IMPORT_TIMEOUT = httpx.Timeout(300.0, connect=2.0)


class NotRunning(ProxydError):
    """Nobody answers on the control socket."""


class Waiting(NotRunning):
    """The daemon has been started, and cannot answer before a person has done something."""


class NotOurs(NotRunning):
    """Another user's daemon."""


class Answered(ProxydError):
    """The daemon answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, document: Document) -> None:
        super().__init__(str(document.get("detail") or f"the daemon answered {status}"))
        self.status = status
        self.document = document


class Records(Protocol):
    """What the commands ask of our records, with or without a daemon."""

    def timeline(
        self, contact: str | None, account: str | None, limit: int, company: str | None = None
    ) -> Document: ...

    def explain(self, message_id: str) -> Document | None: ...

    def search(self, q: str, limit: int) -> Document: ...

    def contacts(self) -> Document: ...

    def add_contact(self, email: str, name: str, company: str, aliases: Sequence[str] = ()) -> Document: ...

    def import_contacts(self, octets: bytes, kind: str) -> Document: ...

    def merge_contacts(self, email: str, other: str) -> Document: ...

    def split_contact(self, address: str) -> Document: ...

    def companies(self) -> Document: ...

    def make_company(self, name: str, domains: Sequence[str]) -> Document: ...

    def change_company(self, word: str, name: str | None, domains: Sequence[str] | None) -> Document: ...

    def export(self, contact: str, kind: str) -> Iterator[bytes]: ...

    def forget(self, contact: str) -> Document: ...

    def erasures(self, contact: str | None) -> Document: ...

    def tokens(self) -> Document: ...

    def make_token(self, name: str, person: str | None, may: str) -> Document: ...

    def revoke_token(self, name: str) -> None: ...

    def suggestions(self, account: str | None) -> Document: ...

    def accept_suggestion(self, id: str) -> Document: ...

    def refuse_suggestion(self, id: str) -> Document: ...

    def crm_entries(self, account: str | None, crm: str | None, limit: int) -> Document: ...

    def retry_crm_entries(self, messages: list[str] | None, account: str | None, crm: str | None) -> Document: ...

    def skip_crm_entries(
        self, messages: list[str] | None, account: str | None, crm: str | None, waiting: bool
    ) -> Document: ...

    def copies(self, account: str | None, what: str | None, limit: int) -> Document: ...

    def retry_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document: ...

    def skip_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document: ...

    def spooled(self, account: str | None) -> Document: ...

    def spooled_octets(self, id: str) -> Iterator[bytes]: ...

    def retry_spooled(self, mails: list[str], account: str | None) -> Document: ...

    def drop_spooled(self, mails: list[str]) -> Document: ...

    def troubles(self) -> Document: ...


class DaemonLink:
    """One connection to the daemon; the methods raise NotRunning, TryLater or Answered."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **arguments: str) -> Document:
        return self._ask("GET", path, params=arguments)

    def status(self) -> Document:
        return self.get("status")

    def reload(self) -> list[str]:
        """The problems of the new configuration, none where it was taken."""
        try:
            self._ask("POST", "reload")
        except Answered as answer:
            problems = answer.document.get("problems")
            if isinstance(problems, list):
                return [str(each) for each in problems]
            raise
        return []

    def reconnect(self, account: str) -> Document:
        """Sign it in anew, whatever was refused before."""
        return self._ask("POST", f"accounts/{quote(account, safe='@')}/reconnect")

    def login_link(self, account: str | None) -> str:
        """The page's one-time link: for an account's person, None = the owner."""
        return str(self._ask("POST", "login-links", json={"account": account})["url"])

    def ask_backfill(self, account: str, since: str, dry_run: bool) -> Document:
        return self._ask("POST", "backfills", json={"account": account, "since": since, "dry_run": dry_run})

    def backfill(self, account: str, dry_run: bool) -> Document:
        """How it is, once there is something new to show; waits for a second at most."""
        return self.get(f"backfills/{quote(account, safe='@')}", wait="1", dry_run=str(dry_run).lower())

    def stop_backfill(self, account: str, dry_run: bool) -> Document:
        arguments = {"dry_run": str(dry_run).lower()}
        return self._ask("DELETE", f"backfills/{quote(account, safe='@')}", params=arguments)

    def timeline(self, contact: str | None, account: str | None, limit: int, company: str | None = None) -> Document:
        path = f"contacts/{quote(contact, safe='@')}/timeline" if contact else "messages"
        if company is not None:
            path = f"companies/{quote(company, safe='')}/timeline"
        return self.get(path, limit=str(limit), **({"account": account} if account else {}))

    def explain(self, message_id: str) -> Document | None:
        try:
            return self.get("explain", message_id=message_id)
        except Answered as answer:
            if answer.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def search(self, q: str, limit: int) -> Document:
        return self.get("search", q=q, limit=str(limit))

    def suggestions(self, account: str | None) -> Document:
        return self.get("suggestions", **({"account": account} if account else {}))

    def accept_suggestion(self, id: str) -> Document:
        return self._ask("POST", f"suggestions/{quote(id)}/accept", json={})

    def refuse_suggestion(self, id: str) -> Document:
        return self._ask("POST", f"suggestions/{quote(id)}/refuse", json={})

    def contacts(self) -> Document:
        return self.get("contacts")

    def add_contact(self, email: str, name: str, company: str, aliases: Sequence[str] = ()) -> Document:
        given = {"email": email, "name": name, "company": company, "aliases": list(aliases)}
        return self._ask("POST", "contacts", json=given)

    def merge_contacts(self, email: str, other: str) -> Document:
        return self._ask("POST", f"contacts/{quote(email, safe='@')}/merge", json={"other": other})

    def split_contact(self, address: str) -> Document:
        return self._ask("POST", f"contacts/{quote(address, safe='@')}/split", json={})

    def companies(self) -> Document:
        return self.get("companies")

    def make_company(self, name: str, domains: Sequence[str]) -> Document:
        return self._ask("POST", "companies", json={"name": name, "domains": list(domains)})

    def change_company(self, word: str, name: str | None, domains: Sequence[str] | None) -> Document:
        given = {"name": name, "domains": None if domains is None else list(domains)}
        return self._ask("POST", f"companies/{quote(word, safe='')}", json=given)

    def import_contacts(self, octets: bytes, kind: str) -> Document:
        return self._ask("POST", "contacts/import", params={"kind": kind}, content=octets, timeout=IMPORT_TIMEOUT)

    def send(self, mail: bytes | Document, account: str | None, key: str) -> Document:
        """A whole message, or the document of one that is to be composed."""
        headers = {"idempotency-key": key}
        arguments = {"account": account} if account else {}
        if isinstance(mail, dict):
            return self._ask("POST", "messages", json=mail, headers=headers, timeout=SEND_TIMEOUT)
        headers["content-type"] = "message/rfc822"
        return self._ask("POST", "messages", content=mail, headers=headers, params=arguments, timeout=SEND_TIMEOUT)

    def export(self, contact: str, kind: str) -> Iterator[bytes]:
        return self._stream(f"contacts/{quote(contact, safe='@')}/export", format=kind)

    def _stream(self, path: str, **arguments: str) -> Iterator[bytes]:
        try:
            with self._client.stream("GET", f"{BASE}/{path}", params=arguments, timeout=IMPORT_TIMEOUT) as response:
                if response.is_error:
                    response.read()
                    raise Answered(response.status_code, response.json())
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise TryLater(f"the daemon did not answer ({type(error).__name__}); see its log") from None

    def forget(self, contact: str) -> Document:
        return self._ask("POST", f"contacts/{quote(contact, safe='@')}/forget", timeout=IMPORT_TIMEOUT)

    def erasures(self, contact: str | None) -> Document:
        return self.get("erasures", **({"contact": contact} if contact else {}))

    def tokens(self) -> Document:
        return self.get("tokens")

    def make_token(self, name: str, person: str | None, may: str) -> Document:
        return self._ask("POST", "tokens", json={"name": name, "person": person, "may": may})

    def revoke_token(self, name: str) -> None:
        self._ask("DELETE", f"tokens/{quote(name, safe='')}")

    def crm_entries(self, account: str | None, crm: str | None, limit: int) -> Document:
        said = {"account": account, "crm": crm}
        return self.get("crm/entries", limit=str(limit), **{key: each for key, each in said.items() if each})

    def retry_crm_entries(self, messages: list[str] | None, account: str | None, crm: str | None) -> Document:
        return self._ask("POST", "crm/entries/retry", json={"messages": messages, "account": account, "crm": crm})

    def skip_crm_entries(
        self, messages: list[str] | None, account: str | None, crm: str | None, waiting: bool
    ) -> Document:
        chosen = {"messages": messages, "account": account, "crm": crm, "waiting": waiting}
        return self._ask("POST", "crm/entries/skip", json=chosen)

    def copies(self, account: str | None, what: str | None, limit: int) -> Document:
        said = {"account": account, "what": what}
        return self.get("copies", limit=str(limit), **{key: each for key, each in said.items() if each})

    def retry_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document:
        return self._ask("POST", "copies/retry", json={"copies": copies, "account": account, "what": what})

    def skip_copies(self, copies: list[str] | None, account: str | None, what: str | None) -> Document:
        return self._ask("POST", "copies/skip", json={"copies": copies, "account": account, "what": what})

    def spooled(self, account: str | None) -> Document:
        return self.get("spool", **({"account": account} if account else {}))

    def spooled_octets(self, id: str) -> Iterator[bytes]:
        return self._stream(f"spool/{quote(id, safe='')}/raw")

    def retry_spooled(self, mails: list[str], account: str | None) -> Document:
        return self._ask("POST", "spool/retry", json={"mails": mails, "account": account})

    def drop_spooled(self, mails: list[str]) -> Document:
        return self._ask("POST", "spool/drop", json={"mails": mails})

    def settle(self, message_id: str, *, sent: bool) -> Document:
        return self._ask("POST", "outcomes", json={"message_id": message_id, "sent": sent})

    def troubles(self) -> Document:
        return self.get("troubles")

    def trace(self, address: str, seconds: int) -> Iterator[str]:
        """The lines as they come; a first, empty one says that it has begun."""
        path = f"http://proxyd/api/v1/accounts/{quote(address, safe='@')}/trace"
        limit = httpx.Timeout(seconds + 30.0, connect=2.0)
        try:
            with self._client.stream("GET", path, params={"seconds": str(seconds)}, timeout=limit) as response:
                if response.is_error:
                    response.read()
                    raise Answered(response.status_code, dict(response.json()))
                yield from response.iter_lines()
        except httpx.ConnectError:
            raise NotRunning("the daemon is not running; start it with: proxyd run") from None
        except httpx.HTTPError as error:
            raise TryLater(f"the trace was cut off ({type(error).__name__})") from None

    def _ask(self, method: str, path: str, **more: Any) -> Document:
        try:
            response = self._client.request(method, f"{BASE}/{path}", **more)
        except httpx.ConnectError:
            raise NotRunning("the daemon is not running; start it with: proxyd run") from None
        except httpx.HTTPError as error:
            raise TryLater(f"the daemon did not answer ({type(error).__name__}); see its log") from None
        document: Any = response.json() if "json" in response.headers.get("content-type", "") else {}
        if response.is_error:
            raise Answered(response.status_code, document)
        return dict(document)


@contextmanager
def daemon_link(places: Places) -> Iterator[DaemonLink]:
    """Raises NotRunning where there is no control socket; one that nobody answers is found out when it is asked."""
    path = places.control_socket
    try:
        there = stat.S_ISSOCK(path.stat().st_mode)
        ours = os.access(path, os.R_OK | os.W_OK)
    except PermissionError:
        there, ours = True, False
    except OSError:
        there = ours = False
    if there and not ours:
        raise NotOurs(
            f"the control socket {path} is not ours to open; type the command as the user that the daemon runs as"
        )
    if not there and (what := waits(places.data)):
        raise Waiting(f"the daemon has been started and waits {what}; it goes on by itself")
    if not there:
        raise NotRunning(f"the daemon is not running (there is no {path}); start it with: proxyd run")
    # trust_env off: a proxy set for the web is not asked for a socket of this machine.
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, timeout=TIMEOUT, trust_env=False) as client:
        yield DaemonLink(client)


@contextmanager
def records(places: Places) -> Iterator[Records]:
    """The records through the daemon where it answers, else straight from the store."""
    with ExitStack() as opened:
        answering: Records | None = None
        try:
            link = opened.enter_context(daemon_link(places))
            link.get("accounts")
            answering = link
        except NotRunning:
            pass
        yield answering or opened.enter_context(_own_store(places))


@contextmanager
def _own_store(places: Places) -> Iterator[Records]:
    # Late: with a daemon running, no command needs the database's libraries.
    from proxyd.cli.own_store import OwnStore, open_store

    with open_store(places) as database:
        yield OwnStore(database, lambda: datetime.now(UTC))
