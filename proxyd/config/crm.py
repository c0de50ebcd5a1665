"""`crm:` of an account: where logged mail goes. Each built-in adapter's options, and those of adapters from elsewhere.

An entry is a word (`local`, or an adapter whose options may all be left out) or a mapping of one key, the adapter's
name, to its options. A name that is not built in is looked for among the installed packages' entry points of the group
`proxyd.crm`; such an adapter brings its own options as the class attribute `Options`.

Why the built-in options stand here and not beside their adapters: the editor's JSON Schema is made of them, and the
configuration stands below everything that it configures.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, create_model
from pydantic_core import CoreSchema, core_schema

from proxyd.config.fields import FilePath, Word, is_loopback
from proxyd.config.problems import NotAccepted, shown
from proxyd.config.sources import SOURCES, Section, SourceSetting

GROUP = "proxyd.crm"  # of entry points
LOCAL = "local"


def _url(value: object) -> str:
    accepted = "an https:// address such as https://crm.example.com (http:// on this machine only)"
    if not isinstance(value, str):
        raise NotAccepted(accepted)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise NotAccepted(accepted) from None
    if not host or parts.scheme not in ("http", "https") or port == 0 or not value.isprintable() or " " in value:
        raise NotAccepted(accepted)
    if parts.username is not None or parts.password is not None:
        raise NotAccepted(accepted, "a user or a password may not stand in an address")
    if parts.scheme == "http" and not is_loopback(host):
        raise NotAccepted(accepted, "over http:// the mail would cross the network in the clear")
    return value.rstrip("/")


Url = Annotated[str, PlainValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://[^\\s]+$"})]


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", value) or value == LOCAL:
        raise NotAccepted("a short name in small letters, such as webhook-2")
    return value


CrmName = Annotated[
    str, PlainValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$"})
]


def _owners(value: object) -> Mapping[str, str]:
    accepted = 'a mapping of your addresses to the CRM\'s users, such as {ada@example.com: "4711"}'
    if not isinstance(value, Mapping) or not all(isinstance(each, str) and each for each in value.values()):
        raise NotAccepted(accepted)
    if not all(isinstance(each, str) and "@" in each for each in value):
        raise NotAccepted(accepted)
    return {address.lower(): owner for address, owner in value.items()}


Owners = Annotated[
    Mapping[str, str],
    PlainValidator(_owners),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}),
]


def _api(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"v3|20[0-9]{2}-[0-9]{2}", value):
        raise NotAccepted("v3, or a date such as 2026-03 (in quotes)")
    return value


def _release(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{2,3}\.0", value):
        raise NotAccepted('a version such as "60.0", in quotes')
    return value


class CrmOptions(Section):
    """What every adapter takes."""

    name: CrmName | None = Field(
        default=None,
        description="What this CRM is called in `status` and `timeline`, where an account has two of one kind. "
        "Default: the adapter's name.",
    )
    owners: Owners = Field(
        default_factory=dict,
        description="Who owns an entry in the CRM: your address or alias, and the CRM's id of that user.",
    )
    beside_dropbox: bool = Field(
        default=False,
        description="yes = the account's dropbox belongs to another CRM; without it, an account that has a dropbox "
        "may not log to a CRM by an adapter too, for the message would be there twice.",
    )


class OnTheNet(CrmOptions):
    """What every adapter takes that speaks HTTPS."""

    ca: FilePath | None = Field(default=None, description="PEM file of a private CA to trust besides the system's.")
    url: Url = Field(description="The CRM's address.")


class Webhook(OnTheNet):
    """Signed HTTP requests to a program of yours, after the Standard Webhooks specification."""

    url: Url = Field(description="Where the events are posted to.")
    secret: SourceSetting = Field(
        default="keyring", description=f"Where the signing secret lies (whsec_ and base64): {SOURCES}."
    )
    older_secrets: tuple[SourceSetting, ...] = Field(
        default=(), description="While the secret is being changed: those before, with which is signed too."
    )


class Jsonl(CrmOptions):
    """A file with one JSON object a line, and a folder with the attachments beside it."""

    file: FilePath = Field(description="The file that is appended to; FILE.attachments/ lies beside it.")


class Tryton(OnTheNet):
    """Tryton: a party for the contact, a note for the message, attachments."""

    url: Url = Field(description="Tryton's server, e.g. https://tryton.example.com.")
    database: Word = Field(description="The database's name.")
    user: Word = Field(description="The login of Tryton's user for proxyd.")
    password: SourceSetting = Field(default="keyring", description=f"Where its password lies: {SOURCES}.")


class Hubspot(OnTheNet):
    """HubSpot: contacts, e-mails on their timeline, private files."""

    url: Url = Field(default="https://api.hubapi.com", description="HubSpot's API.")
    api: Annotated[
        str, PlainValidator(_api), WithJsonSchema({"type": "string", "pattern": "^(v3|20[0-9]{2}-[0-9]{2})$"})
    ] = Field(default="v3", description="The version of its paths: v3, or a date such as 2026-03.")
    token: SourceSetting = Field(
        default="keyring", description=f"Where the private app's access token lies: {SOURCES}."
    )


class Espocrm(OnTheNet):
    """EspoCRM: its own import of whole messages."""

    url: Url = Field(description="EspoCRM's address, e.g. https://crm.example.com.")
    key: SourceSetting = Field(default="keyring", description=f"Where the API user's key lies: {SOURCES}.")


class Odoo(OnTheNet):
    """Odoo: a partner for the contact, an internal note for the message, attachments."""

    url: Url = Field(description="Odoo's address, e.g. https://company.odoo.com.")
    database: Word = Field(description="The database's name.")
    user: Word = Field(description="The login of Odoo's user for proxyd.")
    key: SourceSetting = Field(default="keyring", description=f"Where that user's API key lies: {SOURCES}.")


class Salesforce(OnTheNet):
    """Salesforce: an EmailMessage with its people and files, or a Task."""

    url: Url = Field(description="Your My Domain address, e.g. https://company.my.salesforce.com.")
    api: Annotated[str, PlainValidator(_release), WithJsonSchema({"type": "string", "pattern": "^[0-9]{2,3}[.]0$"})] = (
        Field(default="60.0", description="The version of its REST API, in quotes.")
    )
    client_id: Word = Field(description="The connected app's consumer key.")
    client_secret: SourceSetting = Field(default="keyring", description=f"Where its consumer secret lies: {SOURCES}.")
    log_as: Literal["email", "task"] = Field(
        default="email", description="email = EmailMessage; task = a Task, where Enhanced Email is switched off."
    )


class Pipedrive(OnTheNet):
    """Pipedrive: a person for the contact, an activity for the message, files."""

    url: Url = Field(default="https://api.pipedrive.com", description="Pipedrive's API, or your company's address.")
    token: SourceSetting = Field(default="keyring", description=f"Where the API token lies: {SOURCES}.")


BUILT_IN: Mapping[str, type[CrmOptions]] = MappingProxyType(
    {
        "webhook": Webhook,
        "hubspot": Hubspot,
        "espocrm": Espocrm,
        "odoo": Odoo,
        "salesforce": Salesforce,
        "pipedrive": Pipedrive,
        "tryton": Tryton,
        "jsonl": Jsonl,
    }
)

# Adapters that copy mail for programs, not into a CRM that may have a dropbox too.
BESIDE_ANY_DROPBOX = ("webhook", "jsonl")


@dataclass(frozen=True, slots=True)
class Crm:
    """One place that logged mail goes to. `kind` is the adapter's name."""

    kind: str
    options: CrmOptions | None = None

    @property
    def name(self) -> str:
        return self.options.name if self.options is not None and self.options.name else self.kind

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_crm)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, handler: Any) -> dict[str, Any]:
        options = {kind: handler(model.__pydantic_core_schema__) for kind, model in BUILT_IN.items()}
        more = {"type": "object", "description": "An adapter of an installed package."}
        mapping = {"minProperties": 1, "maxProperties": 1, "properties": options, "additionalProperties": more}
        words = [LOCAL, *(kind for kind, model in BUILT_IN.items() if not _required(model))]
        return {"anyOf": [{"enum": words}, {"type": "object", **mapping}]}


def _required(model: type[CrmOptions]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _by_a_word(kind: str, info: ValidationInfo) -> Crm:
    """An adapter whose options may all be left out."""
    model = options_of(kind)
    if model is not None and _required(model):
        keys = ", ".join(f"{key}: …" for key, field in model.model_fields.items() if field.is_required())
        raise NotAccepted(f"{{{kind}: {{{keys}}}}}", "this adapter needs options")
    return _crm({kind: {}}, info)


def installed() -> dict[str, Any]:
    """The adapters of installed packages, by name; not loaded yet."""
    return {point.name: point for point in entry_points(group=GROUP)}


def options_of(kind: str) -> type[CrmOptions] | None:
    """The options that an adapter takes; None: there is no such adapter. Raises NotAccepted where it is broken."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    point = installed().get(kind)
    if point is None:
        return None
    try:
        options = point.load().Options
    except Exception as error:  # a package's own code
        raise NotAccepted(
            "an adapter that can be loaded", f"the adapter {shown(kind)} cannot be loaded: {type(error).__name__}"
        ) from None
    if not (isinstance(options, type) and issubclass(options, CrmOptions)):
        raise NotAccepted("an adapter whose Options are proxyd.crm.adapter.Options", f"{shown(kind)} has others")
    return options


@functools.cache
def _entry(kind: str, options: type[CrmOptions]) -> type[Section]:
    """A section of that one key, so that an error's place in the file is complete."""
    made: type[Section] = create_model(kind, __base__=Section, **{kind: (options, ...)})  # type: ignore[call-overload]
    return made


def kinds() -> str:
    return ", ".join([LOCAL, *(f"{{{kind}: {{…}}}}" for kind in sorted({*BUILT_IN, *installed()}))])


def _crm(value: object, info: ValidationInfo) -> Crm:
    if isinstance(value, Crm) and info.context is None:
        return value
    if value == LOCAL:
        return Crm(LOCAL)
    if isinstance(value, str):
        return _by_a_word(value, info)
    if not isinstance(value, dict) or len(value) != 1:
        raise NotAccepted(kinds())
    ((kind, options),) = value.items()
    model = options_of(kind)
    if model is None:
        close = get_close_matches(kind, [LOCAL, *BUILT_IN, *installed()], n=1)
        guess = f" (did you mean {close[0]}?)" if close else ""
        raise NotAccepted(kinds(), f"there is no such adapter{guess}; it may be in a package that is not installed")
    entry = _entry(kind, model).model_validate({kind: options}, context=info.context)
    return Crm(kind, getattr(entry, kind))


def kinds_section() -> type[Section]:
    """A section whose keys are the adapters there are: what the sentences about errors look keys up in."""
    fields: dict[str, Any] = {kind: (model | None, None) for kind, model in BUILT_IN.items()}
    for kind in installed():
        with contextlib.suppress(NotAccepted):
            fields[kind] = (options_of(kind), None)
    made: type[Section] = create_model("Kinds", __base__=Section, **fields)
    return made
