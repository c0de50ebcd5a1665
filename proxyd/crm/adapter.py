"""The interface between proxyd and a CRM, version 1. docs/adapters.md tells how to write an adapter.

An adapter is a class, named by an entry point of the group `proxyd.crm`, and knows one CRM's words; everything else is
done for it. Its methods are called from the outbox alone, one at a time for each CRM, in this order for each message:

    find_contact, create_contact   for the people of the conversation; create only where nobody was found
    log_message                    → the remote id; from now on the ledger has it
    add_attachment                 one by one, each with its own place in the ledger
    update_state                   when a message that was logged as sent turns out to have bounced

Before each call that writes, its name is durable. Where the outcome of one is unknown (a crash, a timeout, an error of
the server), `find_logged` or `find_attachment` is asked before it is called again, never sooner than `found_after`
seconds. So an adapter needs no memory of its own, and what it writes should carry `Record.id` where it can be found.

What went wrong is said by who must act, with three exceptions and no other:

    TryLater(why, after)   nobody: time must pass; `after` seconds where the CRM said so. Everything is called again
    Refused(why)           the CRM will never take this message: it is shown as failed, and the next one goes on
    SignInRefused(why)     the CRM's administrator: key, rights. Nothing is lost, nothing else is tried until then

Names are never changed in a CRM: a contact that is there is left as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from proxyd.config import CrmOptions as Options
from proxyd.config import FilePath, OnTheNet, SourceSetting, Url
from proxyd.crm.http import Http
from proxyd.crm.streamed import HERE, Streamed, form_body, json_body
from proxyd.errors import Refused, SignInRefused, TryLater
from proxyd.model import Direction, Kind, MailAddress, State
from proxyd.workers import Workers

O = TypeVar("O", bound="OnTheNet")  # noqa: E741 an adapter's options

__all__ = [
    "HERE",
    "VERSION",
    "Adapter",
    "Attachment",
    "Direction",
    "FilePath",
    "HttpAdapter",
    "Kind",
    "Limits",
    "MailAddress",
    "OnTheNet",
    "Options",
    "Person",
    "Record",
    "Refused",
    "SignInRefused",
    "SourceSetting",
    "State",
    "Streamed",
    "Tools",
    "TryLater",
    "Url",
]

VERSION = 1  # goes up when a method or a field changes its meaning; more may be added to either at any time


@dataclass(frozen=True, slots=True)
class Limits:
    """What a CRM takes. Sizes are in octets, texts in characters; None = as much as there is.

    What is longer is cut, and what is larger left out, and the record's text says so.
    """

    per_second: float = 5.0  # requests, of all accounts together that log to the same place
    subject: int | None = None
    text: int | None = None
    html: int | None = None
    attachment: int | None = 25_000_000
    once_per_mail: bool = True  # a mail that is in several accounts' logs is one there; False: one for each account
    attachments: bool = True  # False: `log_message` takes the message whole, add_attachment is never called
    found_after: float = 10.0  # seconds until what was written can be found, be the CRM still busy with it


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the conversation. `remote_id` is the contact in the CRM, None where there is none."""

    name: str
    address: str
    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """`n` is its place in the message, `octets` reads it, decoded: `async for chunk in attachment.octets()`."""

    n: int
    name: str
    type: str  # media type, lower case
    size: int
    sha256: str  # hex
    octets: Callable[[], AsyncIterator[bytes]] = field(repr=False)

    async def read(self) -> bytes:
        """The whole of it, in memory: at most `Limits.attachment` octets. Rather send it as it is read."""
        return b"".join([chunk async for chunk in self.octets()])

    def in_json(self, document: Any) -> Streamed:
        """The body of a request: `document`, in which the text HERE stands for the octets in base64."""
        return json_body(document, self.size, self.octets)

    def in_form(self, name: str, **fields: str) -> Streamed:
        """The body of a request: a form with `fields`, and with this as `file` under a name without quotes."""
        return form_body(fields, name, self.type, self.size, self.octets)


@dataclass(frozen=True, slots=True)
class Record:
    """One logged message, as a CRM gets it. Message-IDs are without their angle brackets."""

    id: str  # ours, for ever
    account: str
    direction: Direction
    kind: Kind
    state: State
    message_id: str
    other_ids: tuple[str, ...]
    in_reply_to: str | None
    thread: str  # the id of the thread's first record
    parent: str | None  # the remote id of what it answers, where the CRM has that
    date: datetime
    from_: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    bcc: tuple[MailAddress, ...]
    subject: str
    text: str
    new_text: str  # without the quoted history
    owner: str | None  # the CRM's id of the user whose mail it is, where `owners` says so
    people: tuple[Person, ...]  # those of the conversation who are contacts in the CRM
    attachments: tuple[Attachment, ...]
    size: int  # octets of the whole message
    octets: Callable[[], AsyncIterator[bytes]] = field(repr=False)  # the whole message as it was filed
    read_html: Callable[[], Awaitable[str]] = field(repr=False)

    async def whole(self) -> bytes:
        """In memory; rather write or send `octets()` as they come."""
        return b"".join([chunk async for chunk in self.octets()])

    def in_json(self, document: Any) -> Streamed:
        """The body of a request: `document`, in which the text HERE stands for the whole message in base64."""
        return json_body(document, self.size, self.octets)

    async def html(self) -> str:
        """The message's HTML, safe to show: no script, no form, and no picture, which would tell its sender that it is
        read. "" where it has none, or one that is longer than `Limits.html`."""
        return await self.read_html()


@dataclass(frozen=True, slots=True)
class Tools:
    """What an adapter is given to work with. `name` is what the CRM is called in this account."""

    account: str
    name: str
    workers: Workers  # for what blocks: `await tools.workers.run(function, …)`
    secret: Callable[[SourceSetting, str], Any]  # await secret(source, "what it is"): SignInRefused where it is missing
    http: Callable[..., Http]  # http(url, ca=…, per_second=…, headers=…)
    now: Callable[[], datetime]


class Adapter(ABC):
    """One CRM, for one account. Made anew after `SignInRefused` and for a new configuration."""

    Options: ClassVar[type[Options]]  # what stands under the adapter's name in the account's file
    limits: Limits = Limits()

    @abstractmethod
    def __init__(self, options: Any, tools: Tools) -> None:
        """`options` is one of its `Options`. Nothing is connected to yet."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where this CRM is, such as its host: what is down for one account is down for all that share the place."""

    @abstractmethod
    async def find_contact(self, address: str) -> str | None:
        """The remote id of the contact that has this address, in whatever case."""

    @abstractmethod
    async def create_contact(self, person: Person) -> str:
        """Make one that was not found. One that is there after all is returned as it is."""

    async def find_theirs(self, record: Record) -> str | None:
        """The remote id of the message where the CRM has it without us: its own mailer sent it, or it fetched it.

        Asked before the first try. What is found is left as it is, and counts as logged, with its attachments.
        """
        return None

    @abstractmethod
    async def log_message(self, record: Record) -> str:
        """The remote id under which the message is there now."""

    @abstractmethod
    async def find_logged(self, record: Record) -> str | None:
        """The remote id of the message, where it was logged already."""

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        """Put one attachment to the message `remote_id`; its own remote id."""
        raise NotImplementedError

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        """The remote id of an attachment that is there already."""
        return None

    async def update_state(self, record: Record, remote_id: str) -> None:  # noqa: B027 a CRM need not have states
        """`record.state` is another one than when it was logged. Telling it twice changes nothing."""

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        """Erase the contact and the messages `remote_ids`, for good; what is not there is erased already.

        Returns a sentence that says what was done, without the person's data. Refused where this CRM cannot.
        """
        raise Refused("this adapter cannot erase; do it in the CRM")

    async def close(self) -> None:  # noqa: B027 there may be nothing to close
        """Nothing is called after this."""


class HttpAdapter(Adapter, Generic[O]):
    """One that is spoken to by HTTP, at the `url` of its options."""

    def __init__(self, options: O, tools: Tools) -> None:
        self._options = options
        self._tools = tools
        self._http: Http = tools.http(options.url, ca=options.ca, per_second=self.limits.per_second)

    @property
    def place(self) -> str:
        return self._options.url

    async def close(self) -> None:
        await self._http.close()
