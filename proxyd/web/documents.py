"""The documents of the HTTP API as models: what is taken is checked by them, what is answered is described by them.

An answer may hold more keys than its model names; what is named keeps its meaning.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_LISTED = 10_000  # of anything in one answer
USUAL_LIMIT = 50


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", defer_build=True)


class Asked(BaseModel):
    """What a request says: nothing beyond what is known, and nothing that is no text."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", examples=["2026-11-23T10:02:11Z"])]
Next = Annotated[
    str | None, Field(description="Where the next page begins: hand it back as `cursor`. None: this is the last one.")
]
Limit = Annotated[int, Field(ge=0, le=MOST_LISTED)]
Copies = Annotated[
    Literal["sent_copies", "dropbox"], Field(description="Copies in the Sent folder, or to the CRM's address.")
]
Cursor = Annotated[str, Field(max_length=1000, description="`next` of the page before.")]


# --- what is logged ------------------------------------------------------------------------------------------


class Person(Answer):
    name: str
    address: str


class AttachmentListed(Answer):
    name: str
    type: str
    size: int
    sha256: str
    inline: bool = Field(description="It is shown within the HTML: a logo, a picture.")


class CopyListed(Answer):
    state: Literal["waiting", "present", "failed", "not_wanted"]
    by: Literal["provider", "client", "proxyd"] | None
    folder: str | None
    copies: int


class DropboxListed(Answer):
    address: str
    state: str


class CrmListed(Answer):
    name: str
    state: str
    remote_id: str | None


class DeliveryListed(Answer):
    address: str
    state: str = Field(description="failed, delayed, delivered, relayed, expanded, read or deleted.")
    status: str = Field(
        description="An enhanced status code such as 5.1.1, or a reply code; empty where none was said."
    )
    detail: str = Field(description="The server's own words.")
    at: Instant
    report: str = Field(description="The id of the message that said so.")


class Message(Answer):
    id: str
    account: str
    accounts: list[str] = Field(description="Every account, of those that the asker sees, that has this message.")
    direction: Literal["outgoing", "incoming"]
    kind: str
    message_id: str
    other_ids: list[str]
    thread: str
    mail: str = Field(description="The same for every account's record of one mail.")
    in_reply_to: str | None
    date: Instant
    from_: Person = Field(alias="from")
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    subject: str
    text: str
    new_text: str = Field(description="`text` without its quoted history.")
    signature: str = Field(description="What stands below the signature's line in `new_text`; empty where none does.")
    has_html: bool
    attachments: list[AttachmentListed]
    expired: Literal["attachments", "bodies"] | None = Field(description="What the account keeps no longer of it.")
    contacts: list[str]
    because: str
    state: str
    source: str
    notice: str | None = Field(
        description="What a machine's message says: delivery_failed, delivery_delayed, delivered, read, "
        "deleted_unread, automatic_answer; null of a person's."
    )
    participant: str | None = Field(
        description="Of an answer: known or unknown, whether its author was in the conversation before."
    )
    delivery: list[DeliveryListed] = Field(description="What reports said of a sent message, for each recipient.")
    sent_copy: CopyListed | None
    dropbox: DropboxListed | None
    crm: list[CrmListed]


class SuggestionListed(Answer):
    id: str
    account: str
    state: Literal["open", "accepted", "refused"]
    message_id: str | None
    folder: str
    from_: Person = Field(alias="from")
    subject: str
    date: Instant
    thread: str = Field(description="The conversation that it is suggested for.")
    message: str = Field(description="The id of that conversation's newest message.")
    because: str


class Suggestions(Answer):
    suggestions: list[SuggestionListed]


class ListSuggestions(Asked):
    account: str | None = Field(default=None, description="Only of this account, an address.")


class InvitationListed(Answer):
    method: str
    summary: str
    start: str
    end: str
    where: str
    organizer: str
    attendees: list[str]
    repeats: bool
    status: str


class OneMessage(Message):
    invitations: list[InvitationListed] = Field(description="What the calendars attached to it say.")


class ShowMessage(Asked):
    images: bool = Field(default=False, description="With pictures from elsewhere: who sent it learns that it is read.")


class Messages(Answer):
    messages: list[Message]
    next: Next


class Found(Message):
    excerpt: str


class FoundMessages(Answer):
    messages: list[Found]
    next: Next


class Search(Asked):
    q: str = Field(
        min_length=1,
        max_length=1000,
        description='Words, "phrases", -words, from: to: subject: file: has:attachment before: after: account:',
    )
    limit: Limit = USUAL_LIMIT
    cursor: Cursor | None = None


class Explanation(Answer):
    message_id: str
    logged: bool
    because: str
    at: Instant | None
    steps: list[Step]


class Step(Answer):
    at: Instant
    what: str
    detail: str


class ListMessages(Asked):
    account: str | None = Field(default=None, description="Only of this account, an address.")
    limit: Limit = USUAL_LIMIT
    cursor: Cursor | None = None


class ExplainMessage(Asked):
    message_id: str = Field(min_length=1, max_length=1000, description="With or without < and >.")


# --- sending -------------------------------------------------------------------------------------------------


class FileGiven(Asked):
    name: str = Field(max_length=1000)
    type: str = Field(default="application/octet-stream", max_length=200)
    content: str = Field(description="The octets in base64.", json_schema_extra={"contentEncoding": "base64"})
    content_id: str | None = Field(
        default=None, max_length=1000, description="The HTML shows it as `cid:…`; none for an attachment."
    )


People = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=500)]


class SendMessage(Asked):
    """A message to be composed. Each of `to`, `cc`, `bcc` is `grace@customer.example` or `Grace <grace@…>`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, defer_build=True)

    account: str | None = Field(default=None, max_length=1000, description="Through which it is sent.")
    from_: str | None = Field(
        default=None, alias="from", max_length=1000, description="One of the account's addresses; default: its own."
    )
    to: People = []
    cc: People = []
    bcc: People = []
    subject: str | None = Field(default=None, max_length=2000)
    text: str = Field(default="", max_length=2_000_000)
    html: str = Field(default="", max_length=2_000_000)
    reply_to_message: str | None = Field(
        default=None, max_length=64, description="A logged message's id: whom to answer, the subject and the thread."
    )
    attachments: list[FileGiven] = Field(default=[], max_length=100)
    log: bool | None = Field(default=None, description="Log it or not; default: the account's rules decide.")


class SettleOutcome(Asked):
    message_id: str = Field(min_length=1, max_length=1000, description="Or the end of the id that `status` tells.")
    sent: bool


class SendAs(Asked):
    account: str | None = Field(default=None, max_length=1000, description="Through which it is sent.")


class Sent(Answer):
    id: str
    account: str | None
    message_id: str | None
    state: str
    logged: bool
    because: str
    message: str | None = Field(description="The logged message's id.")
    reply: str | None = Field(description="What the provider said.")
    spooled: bool = Field(description="It waits here, and goes out as soon as the provider takes it.")


# --- contacts ------------------------------------------------------------------------------------------------


class Contact(Answer):
    email: str = Field(description="The first of their addresses, which names the contact.")
    name: str
    company: str = Field(description="The company's name; empty without one, or where it is known by its domain alone.")
    addresses: list[str] = Field(description="All of them, `email` first: under each of them it is this person.")
    company_id: str | None
    company_by: Literal["hand", "domain"] | None = Field(description="How it is known that they belong there.")


class ContactListed(Contact):
    messages: int = Field(description="How many messages are logged with them, as far as the asker sees them.")
    last: Instant | None


class Contacts(Answer):
    contacts: list[ContactListed]
    next: Next
    total: int = Field(description="How many there are on all pages.")


class CompanyListed(Answer):
    id: str
    name: str = Field(description="Empty where it is known by its domains alone.")
    label: str = Field(description="Its name, else its first domain.")
    domains: list[str] = Field(description="Whose addresses make a contact one of its people.")
    contacts: int = Field(description="How many contacts belong to it.")
    last: Instant | None = Field(description="When the newest message with one of them was, as far as the asker sees.")


class Companies(Answer):
    companies: list[CompanyListed]
    next: Next
    total: int


class ListCompanies(Asked):
    q: str = Field(default="", max_length=200, description="Looked for in name and domains.")
    limit: Annotated[int, Field(ge=0, le=100_000)] = 100_000
    cursor: Cursor | None = None


Domains = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=1000)]


class MakeCompany(Asked):
    name: str = Field(min_length=1, max_length=1000)
    domains: Domains = []


class ChangeCompany(Asked):
    name: str | None = Field(default=None, max_length=1000)
    domains: Domains | None = Field(default=None, description="All that it is to have; left out: as they are.")


class ExportContact(Asked):
    format: Literal["mbox", "json"]


class Erasure(Answer):
    id: int
    at: Instant
    was_contact: bool
    messages: int
    shared: int = Field(description="How many of the messages other contacts had part in too.")
    accounts: list[str]
    crm: list[dict[str, Any]] = Field(description="The CRMs that are told to erase what was logged there.")
    to_be_sent: int = Field(default=0, description="Mails to the contact that wait in the spool, and will be sent.")


class Erasures(Answer):
    erasures: list[Erasure]


class ListErasures(Asked):
    contact: str | None = Field(default=None, max_length=1000)


class ContactMade(Contact):
    new: bool


class ListContacts(Asked):
    q: str = Field(default="", max_length=200, description="Looked for in addresses, name and company.")
    limit: Annotated[int, Field(ge=0, le=100_000)] = 100_000
    cursor: Cursor | None = None
    order: Literal["address", "newest"] = Field(
        default="address", description="newest: those with the newest messages first."
    )
    company: str | None = Field(default=None, max_length=1000, description="Who belongs to it: its id, name or domain.")


class MakeContact(Asked):
    email: str = Field(max_length=1000)
    name: str = Field(default="", max_length=1000)
    company: str = Field(default="", max_length=1000)
    aliases: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=100)] = Field(
        default=[], description="Further addresses of theirs."
    )


class MergeContact(Asked):
    other: str = Field(max_length=1000, description="An address of the contact who is the same person.")


class Imported(Answer):
    new: int
    updated: int
    unchanged: int
    problems: list[dict[str, Any]]
    remarks: list[dict[str, Any]] = Field(description="Addresses that are somebody else's already, and stay theirs.")


class ImportContacts(Asked):
    kind: Literal["", "csv", "vcard"] = Field(default="", description="Empty = told by its content.")


# --- the CRMs ------------------------------------------------------------------------------------------------


class Undelivered(Answer):
    """A message that a CRM lacks."""

    id: str = Field(description="The logged message's.")
    message_id: str
    account: str
    crm: str
    state: Literal["waiting", "failed"] = Field(description="failed = the CRM refused it.")
    error: str | None = Field(description="Why, in the CRM's own words.")
    due: Instant | None = Field(description="When it is tried next.")
    attempts: int
    direction: Literal["outgoing", "incoming"]
    date: Instant
    subject: str
    contacts: list[str]


class CrmEntries(Answer):
    entries: list[Undelivered]
    erasures: list[dict[str, Any]] = Field(description="Contacts that a CRM is still to erase; for the owner alone.")
    crm: list[dict[str, Any]] = Field(description="How many of each CRM's, and the command that cures it.")


class ListCrmEntries(Asked):
    account: str | None = Field(default=None, max_length=1000, description="Only of this account, an address.")
    crm: str | None = Field(default=None, max_length=100, description="Only of the CRM of this name.")
    limit: Limit = USUAL_LIMIT


class ChooseCrmEntries(Asked):
    """Which are meant; what is left out chooses nothing away."""

    messages: list[Annotated[str, Field(min_length=1, max_length=1000)]] | None = Field(
        default=None, max_length=1000, description="Logged messages: the end of an id each, or a Message-ID."
    )
    crm: str | None = Field(default=None, max_length=100)
    account: str | None = Field(default=None, max_length=1000)


class SkipCrmEntries(ChooseCrmEntries):
    waiting: bool = Field(default=False, description="Those that only wait, too.")


class CrmEntriesChanged(Answer):
    entries: int
    erasures: int


class GivenUpListed(Answer):
    """A copy that was given up."""

    id: str
    what: Copies
    account: str
    message_id: str | None
    at: Instant | None = Field(description="When the message was sent.")
    error: str
    subject: str | None = Field(description="None: the message is not logged.")


class CopiesGivenUp(Answer):
    copies: list[GivenUpListed]


class ListCopies(Asked):
    account: str | None = Field(default=None, max_length=1000, description="Only of this account, an address.")
    what: Copies | None = None
    limit: Limit = USUAL_LIMIT


class ChooseCopies(Asked):
    """Which are meant; what is left out chooses nothing away."""

    copies: list[Annotated[str, Field(min_length=1, max_length=1000)]] | None = Field(
        default=None, max_length=1000, description="The end of an id each, or a Message-ID."
    )
    account: str | None = Field(default=None, max_length=1000)
    what: Copies | None = None


class CopiesTried(Answer):
    sent_copies: int
    dropbox: int
    gone: int = Field(description="Left out: their messages are not kept any more.")


class CopiesSkipped(Answer):
    sent_copies: int
    dropbox: int


# --- the spool -----------------------------------------------------------------------------------------------


class SpooledMail(Answer):
    """A mail whose client was told that it is sent, and that the provider does not have, as far as is known."""

    id: str
    message_id: str | None
    account: str
    state: Literal["waiting", "unknown", "failed"] = Field(
        description="waiting = it is tried; unknown = it may have been sent; failed = given up."
    )
    since: Instant
    due: Instant | None = Field(description="When it is tried next, unless the provider is back before.")
    attempts: int
    error: str = Field(description="Why, in the provider's own words or the system's.")
    recipients: list[str]
    subject: str
    size: int


class SpooledMails(Answer):
    mails: list[SpooledMail]


class ListSpool(Asked):
    account: str | None = Field(default=None, max_length=1000, description="Only of this account, an address.")


class RetrySpooled(ListSpool):
    mails: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None,
        max_length=1000,
        description="Ids of the list, or their ends; none = all but those that may have been sent.",
    )


class DropSpooled(Asked):
    mails: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        min_length=1, max_length=1000, description="Ids of the list, or their ends."
    )


class SpoolChanged(Answer):
    mails: int


# --- the daemon ----------------------------------------------------------------------------------------------


class AccountListed(Answer):
    address: str
    state: str
    since: Instant
    because: str
    evidence: str
    last_seen: Instant | None


class Accounts(Answer):
    accounts: list[AccountListed]


class Status(Answer):
    daemon: dict[str, Any]
    accounts: list[AccountListed]


class TraceFor(Asked):
    seconds: int = Field(default=60, ge=1, le=3600)


class Troubles(Answer):
    failed: list[dict[str, Any]]
    crm: list[dict[str, Any]]
    unknown: list[dict[str, Any]]
    spool: list[dict[str, Any]]
    capabilities: list[dict[str, Any]]


class Problems(Answer):
    problems: list[str]


class TokenListed(Answer):
    name: str
    person: str | None = Field(description="The account whose owner it belongs to; None = it sees everything.")
    may: Literal["read", "send"]
    made: Instant


class TokenMade(TokenListed):
    token: str = Field(description="Told this once: only its hash is kept.")


class Tokens(Answer):
    tokens: list[TokenListed]


class Backfill(Answer):
    """How going through an account's earlier mail is."""

    account: str
    state: Literal["asked", "running", "done", "stopped"]
    dry_run: bool
    since: str
    until: str
    total: int = Field(description="Messages of that time.")
    read: int = Field(description="Of them looked at so far.")
    logged: int = Field(description="New in the log.")
    waits_for: str | None


class AskBackfill(Asked):
    account: str = Field(max_length=1000)
    since: date
    dry_run: bool = False


class LookAtBackfill(Asked):
    dry_run: bool = False
    wait: bool = Field(default=False, description="Answer when there is something new to show, or after a second.")


class StopBackfill(Asked):
    dry_run: bool = False


class MakeToken(Asked):
    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .@-]+$")
    person: str | None = Field(default=None, max_length=1000)
    may: Literal["read", "send"] = "send"


class MakeLoginLink(Asked):
    account: str | None = Field(default=None, max_length=1000, description="Whose; None = the owner's.")


class LoginLink(Answer):
    url: str = Field(description="Opens the page once, within ten minutes.")


class WatchEvents(Asked):
    account: str | None = Field(default=None, description="Only what happens in this account, an address.")


class ProblemDocument(Answer):
    """RFC 9457."""

    title: str
    status: int
    detail: str
