"""The one vocabulary: frozen records that every layer speaks.

Values only. Nothing here reads a clock, a socket or a file. Instants are aware UTC datetimes, sizes are octets,
durations are seconds. Message-IDs are held without their angle brackets (`id-left@id-right`, RFC 5322 section 3.6.4);
`<` and `>` are put back where one is shown or sent. Addresses are held as the person wrote them; `mailbox_key` is
what two spellings of one address have in common.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

import idna

# The recipient that says "log this message": removed from the envelope and from every header field, never sent to.
LOG_ADDRESS = "log@crm.localhost"

OWN_DOMAIN = "proxyd.localhost"  # of the Message-IDs of letters that proxyd itself puts into an INBOX

MARK = "$CRMLog"  # the keyword (RFC 3501 section 2.3.2) that a person gives a message that is to be logged
LOGGED_MARK = "$CRMLogged"  # the one that we give to what is logged


class Direction(StrEnum):
    OUTGOING = "outgoing"
    INCOMING = "incoming"


class Kind(StrEnum):
    MESSAGE = "message"
    BOUNCE = "bounce"
    AUTO_REPLY = "auto_reply"


class State(StrEnum):
    """What became of a message."""

    SUBMITTING = "submitting"
    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    BOUNCED = "bounced"
    RECEIVED = "received"


class Source(StrEnum):
    """How a message came to us."""

    SMTP = "smtp"
    SENT_FOLDER = "sent_folder"
    REPLY = "reply"
    CONTACT = "contact"
    FORWARDED = "forwarded"
    MARKED = "marked"
    BACKFILL = "backfill"
    API = "api"


class CopyState(StrEnum):
    """Of a Sent copy."""

    WAITING = "waiting"
    PRESENT = "present"
    FAILED = "failed"
    NOT_WANTED = "not_wanted"


class FiledBy(StrEnum):
    """Who put the Sent copy there."""

    PROVIDER = "provider"
    CLIENT = "client"
    PROXYD = "proxyd"


class Health(StrEnum):
    """An account's connection to its provider, as `proxyd status` says it."""

    CONNECTED = "connected"
    CONNECTING = "connecting"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    PASSWORD_REFUSED = "password_refused"  # noqa: S105 no password
    ACCESS_REVOKED = "access_revoked"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A name-addr of RFC 5322: `name` is decoded text, may be empty; `address` is an addr-spec."""

    name: str
    address: str


_DOT_ATOM = re.compile(r"[^\s\"\\()<>\[\]:;@,.]++(?:\.[^\s\"\\()<>\[\]:;@,.]++)*+")
_LONGEST_DOMAIN = 1024  # characters that IDNA is tried on; DNS takes 253 octets


def mailbox_key(address: str) -> str:
    """What two spellings of one address have in common: for comparison only, never to send to.

    Trimmed, without angle brackets and without quotes that the local part does not need; local part in lower case;
    domain in lower case, as A-labels (RFC 5891), without the final dot. Never raises.
    """
    trimmed = unicodedata.normalize("NFC", address.strip().removeprefix("<").removesuffix(">").strip())
    local, at, domain = trimmed.rpartition("@")
    if not at:
        return trimmed.lower()
    if len(local) > 1 and local[0] == local[-1] == '"':
        inner = re.sub(r"\\(.)", r"\1", local[1:-1])
        local = inner if _DOT_ATOM.fullmatch(inner) else local
    domain = domain.strip().rstrip(".").lower()
    if not domain.isascii() and len(domain) <= _LONGEST_DOMAIN:
        with contextlib.suppress(UnicodeError):  # no domain of the DNS: compared as it stands
            domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local.strip().lower()}@{domain}"


@dataclass(frozen=True, slots=True)
class Heading:
    """What the header section of one message says, as far as any rule asks (RFC 5322).

    Every field is a best reading of what may be badly formed; a field that is absent or unreadable is empty.
    """

    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    original_ids: tuple[str, ...] = ()  # X-Microsoft-Original-Message-ID, X-Google-Original-Message-ID
    date: datetime | None = None
    from_: tuple[MailAddress, ...] = ()
    sender: tuple[MailAddress, ...] = ()
    to: tuple[MailAddress, ...] = ()
    cc: tuple[MailAddress, ...] = ()
    bcc: tuple[MailAddress, ...] = ()
    subject: str = ""
    crm_log: bool | None = None  # X-CRM-Log: yes / no; None = no such field, or a word we do not know
    content_type: str = ""  # lower case, without parameters
    report_type: str = ""  # of multipart/report (RFC 6522), lower case
    signs: frozenset[str] = frozenset()  # reported.Sign: that a machine wrote it
    filed_by_transport: bool = False  # carries Received or Return-Path: a server handled it


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    type: str  # media type, lower case
    size: int  # octets, decoded
    sha256: str  # hex, of the decoded octets
    inline: bool


@dataclass(frozen=True, slots=True)
class Body:
    """What a person reads of a message."""

    text: str = ""
    new_text: str = ""  # `text` without the quoted history
    has_html: bool = False
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """A server's reply (RFC 5321 section 4.2): code and the text of each line, without code, hyphen or CRLF."""

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def text(self) -> str:
        """On one line, as a person quotes it: `550 5.1.1 No such user`."""
        return f"{self.code} {' '.join(self.lines)}".strip()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path and its RCPT parameters as the client gave them (RFC 3461), e.g. `NOTIFY=NEVER`.

    `optional`: the person did not name it, and its refusal does not keep the message from the others.
    """

    address: str
    parameters: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """RFC 5321's envelope. `parameters` are MAIL's, verbatim, without SIZE and AUTH (they belong to one hop)."""

    sender: str
    recipients: tuple[Recipient, ...]
    parameters: tuple[str, ...] = ()


class Content(Protocol):
    """A message's octets, CRLF line ends, read in chunks of at most 256 KiB, as often as wished."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


# --- what submitting a message can come to -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message for every recipient; `reply` is its answer to the final dot.

    `without`: the optional recipients that it refused, each with its reply.
    """

    reply: SmtpReply
    without: tuple[tuple[str, SmtpReply], ...] = ()


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The provider said no; nothing was sent to anybody. `about` names each refused recipient and its reply."""

    reply: SmtpReply
    about: tuple[tuple[str, SmtpReply], ...] = ()


@dataclass(frozen=True, slots=True)
class NotHandedOver:
    """The message certainly did not reach the provider: no connection, no sign-in, or lost before the final dot.

    `event` is what it means for the account's health. `reply` is the server's own, where it gave one.
    """

    why: str
    event: HealthEvent
    reply: SmtpReply | None = None


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The final dot was sent and no answer came: the provider may or may not have taken the message."""

    why: str


Outcome = Accepted | NotAccepted | NotHandedOver | OutcomeUnknown


class Progress(Protocol):
    """What whoever submits a message wants to hear on its way.

    `begins`: a connection is there; awaited before the first octet of the transaction. What it raises ends it, and
    nothing was sent. `ends`: the last octets are about to be written; from here on only the server knows.
    """

    async def begins(self) -> None: ...

    def ends(self) -> None: ...


# --- an account's health ----------------------------------------------------------------------------------


class HealthCause(StrEnum):
    """What happened on a connection to the provider."""

    SIGNED_IN = "signed_in"
    UNREACHABLE = "unreachable"  # route, refused port, timeout, connection lost, no answer from the DNS
    NO_SUCH_NAME = "no_such_name"  # the DNS says that there is no such host
    THROTTLED = "throttled"  # "not now": 421, 4xx, [LIMIT], too many connections
    SIGN_IN_REFUSED = "sign_in_refused"  # the credentials were refused in so many words
    ACCESS_REVOKED = "access_revoked"  # the grant of OAuth2 is gone: the person has to agree anew
    MISCONFIGURED = "misconfigured"  # certificate, TLS, no such AUTH, a missing secret: a person must edit


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """One event; `protocol` is "IMAP" or "SMTP"; `evidence` is the server's own words or the system's, one line."""

    cause: HealthCause
    protocol: str
    evidence: str = ""


# --- decisions, each with its because ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tracked:
    because: str


@dataclass(frozen=True, slots=True)
class NotTracked:
    because: str  # names no address of the message: it outlives the message


Verdict = Tracked | NotTracked


@dataclass(frozen=True, slots=True)
class ThreadMatch:
    """Which tracked message an incoming one answers: `message` is our record's id."""

    message: str
    thread: str
    because: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A line of LIST: `attributes` in lower case, with their backslash; `name` decoded from modified UTF-7."""

    name: str
    delimiter: str = "/"
    attributes: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class SentFolder:
    name: str
    because: str
    exists: bool = True


# --- what happened in a mailbox ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailboxPosition:
    """Where catching up stands in a folder: every UID below `uidnext` of this `uidvalidity` was looked at."""

    uidvalidity: int
    uidnext: int
    seen_at: datetime | None = None  # the last look that saw everything: where the UIDs say nothing, time does
    anchors: tuple[tuple[int, str], ...] = ()  # UID and keyed hash of the Message-ID of the newest that were read
    read_at: datetime | None = None  # when anything was last read; None: nobody knows


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a mailbox: where it lies, when the server received it (INTERNALDATE)."""

    folder: str
    uidvalidity: int
    uid: int
    internaldate: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """Going through an account's earlier mail, from the day `since` to the day before `until`; before `next_day` all of
    it was gone through. `state`: asked | running | done | stopped. `dry_run`: it only counts.

    Of `total` messages in that span `read` were looked at, of `headers` of these the fields were fetched; `found` are
    with contacts, of which `logged` are new in the log. `seconds` is the time it took so far; `waits_for` why it does
    not go on now, for a person.
    """

    account: str
    dry_run: bool
    since: date
    until: date
    next_day: date
    asked_at: datetime
    state: str = "asked"
    total: int = 0
    read: int = 0
    headers: int = 0
    incoming: int = 0
    outgoing: int = 0
    logged: int = 0
    seconds: float = 0.0
    waits_for: str = ""
    ended_at: datetime | None = None

    @property
    def found(self) -> int:
        return self.incoming + self.outgoing


# --- events that the journal records -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took submission `id`, or the message was found where only a taken message can be.

    `without`: as of `Accepted`.
    """

    id: str
    reply: SmtpReply
    at: datetime
    without: tuple[tuple[str, SmtpReply], ...] = ()


@dataclass(frozen=True, slots=True)
class NotSent:
    """The provider certainly does not have submission `id`; `reply` is what the client hears."""

    id: str
    reply: SmtpReply
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class SendUnknown:
    """Nobody knows yet whether the provider took submission `id`."""

    id: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LookedFor:
    """Submission `id` of unknown outcome was looked for in the mailbox and not found."""

    id: str
    where: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Spooled:
    """Submission `id` is not with the provider, which could not be given it; proxyd answers for it from here on, and
    its client hears 250. `due`: the next try. `trying`: a transaction is under way, it may be sent at any moment.
    `absent`: its outcome was unknown, and looking has shown that the provider does not have it."""

    id: str
    why: str
    due: datetime
    at: datetime
    trying: bool = False
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """Submission `id`, which waited here, is given up; `reply` is the provider's last word, None where time ran out."""

    id: str
    why: str
    at: datetime
    reply: SmtpReply | None = None


@dataclass(frozen=True, slots=True)
class SpoolReported:
    """The person was told in their INBOX what became of submission `id`."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """A message found in a mailbox that belongs to the log: a reply, or mail sent from elsewhere.

    `content` is the whole message; `match` what it answers, None where another rule (`verdict`) logged it. `again`:
    our record's id, where it is logged already and may be completed.
    """

    account: str
    direction: Direction
    source: Source
    heading: Heading
    content: Content
    found: Found
    at: datetime
    verdict: Tracked
    match: ThreadMatch | None = None
    again: str | None = None


@dataclass(frozen=True, slots=True)
class CopyPresent:
    """The Sent copy of submission `id` was seen in `found.folder`; `copies` that are there now.

    `ids` are the Message-IDs seen on it (the provider may have replaced ours). `flags`: those of an upload that was
    answered for it, which it carries by now; None where none was looked for.
    """

    id: str
    found: Found
    by: FiledBy
    copies: int
    at: datetime
    ids: tuple[str, ...] = ()
    flags: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class CopyAppending:
    """We are about to APPEND the Sent copy of submission `id`: durable before the first octet, so that a crash in
    between is followed by a search and not by a second APPEND."""

    id: str
    folder: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CopyPromised:
    """The client's own upload of the Sent copy of `id` is answered as if it had been taken, and goes no further: the
    provider files the copy. From here on we owe one, and these flags on it."""

    id: str
    flags: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class CopyPostponed:
    """The Sent copy of `id` could not be settled now; `error` is for a person, `due` the next try."""

    id: str
    error: str
    due: datetime
    at: datetime
    failed: bool = False


@dataclass(frozen=True, slots=True)
class DropboxTrying:
    """The CRM's copy of `id` is about to be handed over: durable before it is, so that a crash is not followed by a
    second one."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DropboxSent:
    id: str
    reply: SmtpReply
    at: datetime


@dataclass(frozen=True, slots=True)
class DropboxPostponed:
    """The CRM's copy of `id` was not taken; `due` is the next try, None = given up."""

    id: str
    error: str
    due: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """The client of submission `id` was given this reply on a connection that still stood."""

    id: str
    reply: SmtpReply
    at: datetime


Event = (
    Sent
    | NotSent
    | SendUnknown
    | LookedFor
    | Spooled
    | Undeliverable
    | SpoolReported
    | Seen
    | CopyPresent
    | CopyAppending
    | CopyPromised
    | CopyPostponed
    | DropboxTrying
    | DropboxSent
    | DropboxPostponed
    | Told
)
