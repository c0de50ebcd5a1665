"""Every setting: its name, its type, its default and what it means, at the field.

A `Section` is a frozen model. What a file says and what the daemon uses are the same model, except where an account
leaves something to be worked out (a preset, a sign-in name, a keyring entry): there `AccountFile` is the file's side
and `Account` the daemon's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from proxyd.config.alerting import Alert
from proxyd.config.crm import LOCAL, Crm
from proxyd.config.fields import (
    DURATION_SCHEMA,
    KEYS_TAG,
    LIST_TAG,
    WORD_TAG,
    Address,
    Connections,
    Dropbox,
    Endpoint,
    FilePath,
    Host,
    Line,
    Listener,
    Pattern,
    Port,
    Uid,
    Word,
    is_loopback,
    only,
    seconds_between,
    word_or,
)
from proxyd.config.oauth import KnownEndpoints, OAuth, OAuthSetting
from proxyd.config.problems import NotAccepted, shown
from proxyd.config.sources import (
    SOURCES,
    Section,
    Source,
    SourceSetting,
)
from proxyd.model import mailbox_key
from proxyd.rules.plus_tags import PlusTags

NOT_YET = "not available in this version"


# --- proxyd.yaml -------------------------------------------------------------------------------------------


class Listen(Section):
    """Where mail clients and the browser connect: `host:port` (port 0 = any free port), or `off`."""

    smtp: Listener = Field(
        default=Endpoint("127.0.0.1", 1587),
        description="Outgoing mail; STARTTLS is offered, a login without TLS is taken too. Loopback only.",
    )
    smtps: Listener = Field(
        default=Endpoint("127.0.0.1", 1465),
        description="Outgoing mail with TLS from the first byte. May listen beyond loopback.",
    )
    imap: Listener = Field(
        default=Endpoint("127.0.0.1", 1143), description="Reading mail; STARTTLS is offered. Loopback only."
    )
    imaps: Listener = Field(
        default=Endpoint("127.0.0.1", 1993),
        description="Reading mail with TLS from the first byte. May listen beyond loopback.",
    )
    web: Listener = Field(default=Endpoint("127.0.0.1", 1780), description="The page and the HTTP API. Loopback only.")

    @field_validator("smtp", "imap", "web")
    @classmethod
    def _stays_on_this_machine(cls, value: Endpoint | None, info: ValidationInfo) -> Endpoint | None:
        if value is not None and not is_loopback(value.host):
            cure = "use 127.0.0.1" if info.field_name == "web" else f"use {info.field_name}s for other machines"
            raise NotAccepted(
                "a loopback host: 127.0.0.1, [::1] or localhost",
                f"{shown(str(value))} would listen beyond this machine without TLS; {cure}",
            )
        return value


class CertificateFiles(Section):
    """A certificate of one's own for the TLS listeners."""

    chain: FilePath = Field(description="PEM file: the certificate, then those that signed it.")
    key: FilePath = Field(description="PEM file: its private key, readable by nobody else.")


_CERTIFICATE = "auto, or {chain: FILE, key: FILE}"


def _storage(value: object) -> str:
    if value == "sqlite":
        return "sqlite"
    if isinstance(value, str) and value.startswith(("postgresql", "postgres:")):
        raise NotAccepted("sqlite", f"PostgreSQL is {NOT_YET}")
    raise NotAccepted("sqlite", "no such storage" if isinstance(value, str) else "")


class Daemon(Section):
    """proxyd.yaml: the daemon. Every key may be left out, and the file too."""

    listen: Listen = Field(default=Listen(), description="Where mail clients and the browser connect.")
    storage: Annotated[str, PlainValidator(_storage), WithJsonSchema({"const": "sqlite"})] = Field(
        default="sqlite", description="Where the records lie: sqlite = one encrypted file in the data folder."
    )
    certificate: Annotated[
        Annotated[Literal["auto"], only("auto", _CERTIFICATE), WithJsonSchema({"const": "auto"}), Tag(WORD_TAG)]
        | Annotated[CertificateFiles, Tag(KEYS_TAG)],
        word_or(KEYS_TAG, _CERTIFICATE),
    ] = Field(default="auto", description="The TLS listeners' certificate: auto = made by proxyd's own local CA.")
    plus_tags: PlusTags = Field(
        default="apart",
        description="Whether an address with a tag counts as the same without it, for what is logged and whose it is: "
        "apart = jane+news@example.com is another one | folded = it is jane@example.com.",
    )


# --- a provider --------------------------------------------------------------------------------------------

Tls = Literal["implicit", "starttls", "none"]
FilesSent = Literal["yes", "no", "unknown"]


class Server(Section):
    """One of a provider's servers."""

    host: str
    port: int
    tls: Tls


class Provider(Section):
    """An account's real servers, worked out. `name` is the preset's, "" where they are spelled out."""

    imap: Server
    smtp: Server
    ca: Path | None = None
    files_sent: FilesSent = "unknown"
    connections: int = 10
    idle: float = 540.0
    name: str = ""


class ServerSetting(Section):
    """One of a provider's servers, as a file names it."""

    host: Host = Field(description="The server's host name.")
    port: Port | None = Field(
        default=None,
        description="Its port. Default for IMAP: 993 with tls implicit, else 143; "
        "for SMTP: 465 with tls implicit, else 587.",
    )
    tls: Tls = Field(
        default="implicit",
        description="implicit = from the first byte; starttls = after a greeting in the clear, never without; "
        "none = not at all, for loopback hosts only.",
    )

    @field_validator("tls")
    @classmethod
    def _never_in_the_clear(cls, value: Tls, info: ValidationInfo) -> Tls:
        host = info.data.get("host")
        if value == "none" and host is not None and not is_loopback(host):
            raise NotAccepted(
                "implicit or starttls",
                f"without TLS the password would cross the network to {shown(host)} in the clear",
            )
        return value


def _files_sent(value: object) -> object:
    """Here yes and no are meant as YAML reads them."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


class ProviderSetting(Section):
    """A provider spelled out, where there is no preset."""

    imap: ServerSetting = Field(description="Where mail is read.")
    smtp: ServerSetting = Field(description="Where mail is handed in.")
    ca: FilePath | None = Field(default=None, description="PEM file of a private CA to trust besides the system's.")
    files_sent: Annotated[
        FilesSent,
        BeforeValidator(_files_sent),
        WithJsonSchema({"enum": ["yes", "no", "unknown", True, False]}),
    ] = Field(
        default="unknown",
        description="Whether the provider itself files sent mail in the Sent folder: yes | no | "
        "unknown = found out, then remembered.",
    )
    connections: Connections = Field(
        default=10,
        description="How many IMAP connections the provider allows one account, all its devices together. proxyd keeps "
        "2 of them free.",
    )
    idle: Annotated[float, PlainValidator(seconds_between("20s", "29m")), WithJsonSchema(DURATION_SCHEMA)] = Field(
        default=540.0,
        description="How long proxyd waits for mail by one IDLE before it renews it: servers and routers on the way "
        "forget about it, some sooner than others.",
    )


class Preset(ProviderSetting):
    """A known provider: presets/NAME.yaml."""

    also: tuple[Word, ...] = Field(default=(), description="Other names by which the preset is found.")
    domains: tuple[Word, ...] = Field(default=(), description="The domains of its own addresses.")
    mx: tuple[Word, ...] = Field(default=(), description="What the names of its MX hosts end in, for other domains.")
    password_is: Line = Field(
        default="", description="Which password programs sign in with, where it is a special one."
    )
    oauth: KnownEndpoints | None = Field(default=None, description="Where its sign-in by OAuth2 is.")


# --- signing in --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignIn:
    """How we sign in to the provider, worked out."""

    imap_user: str
    smtp_user: str
    password: Source
    oauth: OAuth | None = None  # where it is there, it is the way, and `password` is not asked


class SignInSetting(Section):
    """How proxyd signs in to the provider."""

    user: Word | None = Field(default=None, description="The name to sign in with. Default: the address.")
    imap_user: Word | None = Field(
        default=None, description="Where it differs for IMAP (shared mailboxes). Default: user."
    )
    smtp_user: Word | None = Field(default=None, description="Where it differs for SMTP. Default: user.")
    password: SourceSetting = Field(default="keyring", description=f"Where the provider's password lies: {SOURCES}.")
    oauth: OAuthSetting | None = Field(
        default=None, description="Sign in by OAuth2, in the place of a password. `proxyd connect` asks you to agree."
    )

    @model_validator(mode="after")
    def _one_way(self) -> SignInSetting:
        if self.oauth is not None and "password" in self.model_fields_set:
            raise NotAccepted("password, or oauth, not both")
        return self


@dataclass(frozen=True, slots=True)
class Client:
    """What the person's mail client logs in with, worked out."""

    password: Source


class ClientSetting(Section):
    """What the person's mail client logs in to proxyd with."""

    password: SourceSetting = Field(
        default="keyring",
        description="Where the password lies that Outlook or Thunderbird is given; "
        f"proxyd makes it where it is missing (keyring and file): {SOURCES}.",
    )


# --- what an account chooses -------------------------------------------------------------------------------


class SentCopy(Section):
    """The copy in the Sent folder."""

    of: Literal["everything", "tracked", "nothing"] = Field(
        default="everything", description="Whose Sent copy proxyd looks after: everything | tracked | nothing."
    )
    folder: Word = Field(default="auto", description="auto = the server's own Sent folder, or a folder's name.")
    settle: Annotated[float, PlainValidator(seconds_between("0s", "1h")), WithJsonSchema(DURATION_SCHEMA)] = Field(
        default=20.0,
        description="How long the client's or the provider's own copy is waited for before proxyd files one.",
    )


_FOLDERS = "auto, or a list of folders such as [INBOX, Sent]"


class Watch(Section):
    """What is looked at in the mailbox."""

    folders: Annotated[
        Annotated[Literal["auto"], only("auto", _FOLDERS), WithJsonSchema({"const": "auto"}), Tag(WORD_TAG)]
        | Annotated[Annotated[tuple[Word, ...], Field(min_length=1)], Tag(LIST_TAG)],
        word_or(LIST_TAG, _FOLDERS),
    ] = Field(
        default="auto",
        description="auto = every folder that a rule at the server may file into, INBOX, Sent and Junk among them, not "
        "Trash and Drafts; or a list of folders.",
    )


class Marking(Section):
    """Logging one message by hand, from any mail client, and showing what is logged."""

    keyword: bool = Field(default=True, description="A message given the keyword $CRMLog is logged: true | false.")
    folder: bool = Field(default=True, description="A message put into the folder CRM/Log is logged: true | false.")
    flag_logged: bool = Field(
        default=True,
        description="What is logged gets the keyword $CRMLogged where it lies, so that mail clients can show it, once "
        "no mail client takes the message for newly arrived any more: true | false. No other flag is ever touched.",
    )


class Sending(Section):
    """Handing mail in at the provider."""

    answer_within: Annotated[float, PlainValidator(seconds_between("1s", "10m")), WithJsonSchema(DURATION_SCHEMA)] = (
        Field(
            default=75.0,
            description="When the mail client is answered at the latest. Thunderbird gives up after 100s.",
        )
    )
    on_outage: Literal["tempfail", "spool"] = Field(
        default="tempfail",
        description="When the provider cannot be given a mail: tempfail = the client is told to try again | spool = "
        "the client hears that all is well, and proxyd keeps the mail until the provider takes it.",
    )
    spool_for: Annotated[float, PlainValidator(seconds_between("5m", "30d")), WithJsonSchema(DURATION_SCHEMA)] = Field(
        default=345600.0,
        description="How long a mail that waits at proxyd (on_outage: spool) is tried before it comes back to you.",
    )


_LIMIT = seconds_between("1d", "36500d")
_KEPT = "forever, or a duration of at least a day such as 400d"


def _kept(value: object, info: ValidationInfo) -> float | str:
    if value == "forever":
        return "forever"
    try:
        return _LIMIT(value, info)
    except NotAccepted as error:
        raise NotAccepted(_KEPT, error.problem) from None


Kept = Annotated[
    float | str,
    PlainValidator(_kept),
    WithJsonSchema({"anyOf": [{"const": "forever"}, DURATION_SCHEMA]}),
]


class Keep(Section):
    """How long what was logged is kept; once a day what is older goes. Its entry in the log stays."""

    bodies: Kept = Field(
        default="forever", description="Texts, and with them the whole message: forever, or a duration such as 400d."
    )
    attachments: Kept = Field(
        default="forever",
        description="Attachments, and with them the HTML and the octets of the message that has one: forever, or a "
        "duration such as 90d. The text stays as long as `bodies` says.",
    )


class Choices(Section):
    """What `AccountFile` and `Account` have in common."""

    address: Address = Field(description="The mailbox's address.")
    name: Line = Field(default="", description="The person's name, as shown beside the address.")
    aliases: tuple[Address, ...] = Field(default=(), description="Other addresses the person sends from.")
    track: Literal["everything", "contacts", "marked", "nothing"] = Field(
        default="contacts",
        description="Which sent mail is logged: everything (but internal mail) | contacts = mail to a known contact "
        "or into a logged thread | marked = only what is marked by hand | nothing.",
    )
    incoming: Literal["replies", "contacts", "nothing"] = Field(
        default="replies",
        description="Which received mail is logged: replies to logged mail | contacts = also new mail from a known "
        "contact | nothing.",
    )
    suggestions: bool = Field(
        default=True,
        description="Whether mail that names no other, from people in a logged conversation, is listed for you to "
        "accept or refuse: of such mail From, Subject and Date are read. true | false.",
    )
    never_log: tuple[Pattern, ...] = Field(
        default=(),
        description='Addresses and patterns ("*@example.com") whose mail is never logged unless marked by hand.',
    )
    dropbox: Dropbox = Field(
        default=None,
        description="The CRM's BCC address, which gets a copy of each logged sent message; none = no copies.",
    )
    sent_copy: SentCopy = Field(default=SentCopy(), description="The copy in the Sent folder.")
    watch: Watch = Field(default=Watch(), description="What is looked at in the mailbox.")
    marking: Marking = Field(default=Marking(), description="Logging one message by hand, from any mail client.")
    sending: Sending = Field(default=Sending(), description="Handing mail in at the provider.")
    allow_uids: Annotated[tuple[Uid, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Users of this machine (their numbers) whose programs may log in to this account. Default: the "
        "daemon's own user; for a system service, everyone on the machine.",
    )
    alerts: tuple[Alert, ...] = Field(
        default=("desktop",),
        description="Where trouble with the account is told, once, then once a day until it is over, and when it is: "
        "desktop = a notification | inbox = a mail into the person's own INBOX | a program | a webhook. [] = nowhere "
        "but in `proxyd status`.",
    )
    keep: Keep = Field(default=Keep(), description="How long what was logged is kept.")
    visible_to: Literal["team", "owner"] = Field(
        default="team",
        description="Who sees these conversations on the contacts that colleagues share: team | owner = the person "
        "whose account this is, and whoever runs the daemon.",
    )
    crm: tuple[Crm, ...] = Field(
        default=(Crm(LOCAL),),
        description="Where logged mail goes: local = proxyd's own records; or an adapter with its options.",
    )

    @field_validator("allow_uids", mode="before")
    @classmethod
    def _is_a_list(cls, value: object, info: ValidationInfo) -> object:
        """A key that somebody wrote and left empty is not the default: it was meant to keep others out."""
        if info.context is not None and (not isinstance(value, tuple) or not value):
            raise NotAccepted("a list of users' numbers such as [1000]")
        return value


class AccountFile(Choices):
    """accounts.d/NAME.yaml: one person's mailbox."""

    provider: Annotated[
        Annotated[Word, Tag(WORD_TAG)] | Annotated[ProviderSetting, Tag(KEYS_TAG)],
        word_or(KEYS_TAG, "a preset's name, or {imap: {host: …}, smtp: {host: …}}"),
    ] = Field(description="The provider: a preset's name, or its servers spelled out.")
    sign_in: SignInSetting = Field(default=SignInSetting(), description="How proxyd signs in to the provider.")
    client: ClientSetting = Field(default=ClientSetting(), description="What the mail client logs in to proxyd with.")


class Account(Choices):
    """One account, everything worked out. `address` is lower case whole: the account's key everywhere."""

    provider: Provider
    sign_in: SignIn
    client: Client
    plus_tags: PlusTags = "apart"  # as proxyd.yaml says

    @property
    def own(self) -> frozenset[str]:
        """The mailbox keys of the addresses that the person sends from."""
        return frozenset(map(mailbox_key, (self.address, *self.aliases)))


@dataclass(frozen=True)
class Settings:
    """A whole configuration. Two that say the same are equal."""

    daemon: Daemon = field(default_factory=lambda: Daemon())
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[Path, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)  # → its account
