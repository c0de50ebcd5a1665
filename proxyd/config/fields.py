"""The kinds of value that a setting takes, each read in one place: endpoints, durations, sizes, addresses, files.

Each reads what the YAML tree gives (str, int, bool, tuple, dict, `UNREADABLE`) and raises `NotAccepted`. The settings
can also be made by code: then a value of the final type passes as it is. `info.context` tells the two apart: it is the
`Origin` of a file's values, None for code.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, PlainValidator, ValidationInfo, WithJsonSchema

from proxyd.config.problems import NotAccepted, shown


@dataclass(frozen=True, slots=True)
class Origin:
    """Where values come from: relative paths in a file are meant from its configuration's folder."""

    folder: Path


# --- endpoints ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: a literal address (IPv6 without brackets) or a host name, and a port; 0 = any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


ENDPOINT = 'host:port such as 127.0.0.1:1587 or "[::1]:1587" (port 0 = any free port), or off'


def endpoint(text: str) -> Endpoint:
    """Read `host:port`; raises NotAccepted."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise NotAccepted(ENDPOINT, f"{shown(text)} has no port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_address(host, 6):
            raise NotAccepted(ENDPOINT, f"{shown(host)} is not an IPv6 address")
    elif ":" in host:
        raise NotAccepted(ENDPOINT, f"the IPv6 address in {shown(text)} needs brackets")
    elif not _is_host(host):
        raise NotAccepted(ENDPOINT, f"{shown(host)} is not a host name or an address")
    return Endpoint(host, int(port))


def _listener(value: object, info: ValidationInfo) -> Endpoint | None:
    if value is False or value == "off" or (value is None and info.context is None):
        return None
    if isinstance(value, Endpoint) and info.context is None:
        return value
    if isinstance(value, str):
        return endpoint(value)
    raise NotAccepted(ENDPOINT)


Listener = Annotated[
    Endpoint | None,
    PlainValidator(_listener),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^.+:[0-9]{1,5}$"}, {"enum": ["off", False]}]}),
]


def is_loopback(host: str) -> bool:
    """Whether a connection to `host` stays on this machine: localhost, 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    if re.fullmatch(r"[0-9.]+", text):
        return _is_address(text, 4)
    label = r"[^\W_]([\w-]{0,61}[^\W_])?"
    return len(text) <= 253 and re.fullmatch(rf"{label}(\.{label})*\.?", text) is not None


def _host(value: object) -> str:
    accepted = "a host name such as imap.example.com, or an address"
    if not isinstance(value, str):
        raise NotAccepted(accepted)
    if not _is_host(value) and not _is_address(value, 6):
        problem = ""
        if re.fullmatch(r".+:[0-9]+", value):
            problem = f"{shown(value)} holds a port, which has a key of its own"
        raise NotAccepted(accepted, problem)
    return value


Host = Annotated[str, PlainValidator(_host), WithJsonSchema({"type": "string", "minLength": 1})]


def _port(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    raise NotAccepted("a port from 1 to 65535", "" if not isinstance(value, int) else f"{value} is no port")


Port = Annotated[int, PlainValidator(_port), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})]


def _uid(value: object) -> int:
    """A user of this machine. 2**32 - 1 is none: to the kernel it means "leave as it is"."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    accepted = "a user's number such as 1000 (`id -u` shows it)"
    raise NotAccepted(accepted, f"{value} is no user" if type(value) is int else "")


Uid = Annotated[int, PlainValidator(_uid), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 2})]


def _connections(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000:
        return value
    raise NotAccepted("a number from 1 to 1000", f"{value} is out of range" if type(value) is int else "")


Connections = Annotated[
    int, PlainValidator(_connections), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1000})
]


# --- durations and sizes -----------------------------------------------------------------------------------

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OCTETS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
DURATION = "a duration such as 20s, 5m, 9h or 400d"
SIZE = "a size such as 500KB, 25MB or 2GB"


def duration(text: str) -> float:
    """Seconds of `20s 5m 9h 400d`; raises NotAccepted."""
    if not (match := re.fullmatch(r"([0-9]{1,9})([smhd])", text)):
        problem = f"{shown(text)} has no unit" if text.isdigit() else ""
        raise NotAccepted(DURATION, problem)
    return float(int(match[1]) * _UNITS[match[2]])


def duration_text(seconds: float) -> str:
    """The shortest spelling of whole seconds: 75 → 75s, 300 → 5m."""
    whole = int(seconds)
    for unit in "dhm":
        if whole and whole % _UNITS[unit] == 0:
            return f"{whole // _UNITS[unit]}{unit}"
    return f"{whole}s"


def size(text: str) -> int:
    """Octets of `25MB` (decimal units, as providers state their limits); raises NotAccepted."""
    if not (match := re.fullmatch(r"([0-9]{1,9})(B|kB|KB|MB|GB)", text)):
        raise NotAccepted(SIZE)
    return int(match[1]) * _OCTETS[match[2]]


def seconds_between(least: str, most: str) -> Callable[[Any, ValidationInfo], float]:
    """A validator for durations from `least` to `most`."""

    def read(value: Any, info: ValidationInfo) -> float:
        accepted = f"{DURATION}, from {least} to {most}"
        if info.context is None and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, int) and not isinstance(value, bool):
            raise NotAccepted(accepted, f"{value} has no unit")
        if not isinstance(value, str):
            raise NotAccepted(accepted)
        try:
            seconds = duration(value)
        except NotAccepted as error:
            raise NotAccepted(accepted, error.problem) from None
        if not duration(least) <= seconds <= duration(most):
            raise NotAccepted(accepted)
        return seconds

    return read


DURATION_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"}


# --- text --------------------------------------------------------------------------------------------------


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise NotAccepted("text")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise NotAccepted("text that is not empty", "the text is empty" if isinstance(value, str) else "")
    return value


Line = Annotated[str, PlainValidator(_line), WithJsonSchema({"type": "string"})]
Word = Annotated[str, PlainValidator(_word), WithJsonSchema({"type": "string", "minLength": 1})]


def _credential(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^/:]{1,255}", value) or value in (".", ".."):
        raise NotAccepted("a credential's name, a plain word")
    return value


CredentialName = Annotated[str, PlainValidator(_credential), WithJsonSchema({"type": "string", "pattern": "^[^/:]+$"})]

_ATOM = r"[^\s@<>()\[\],:;\"\\]+"


def is_mail_address(text: str) -> bool:
    """An addr-spec (RFC 5322 section 3.4.1; RFC 6531) without quoted local parts and address literals."""
    local, at, domain = text.rpartition("@")
    return bool(at) and len(text) <= 254 and re.fullmatch(_ATOM, local) is not None and _is_host(domain)


def _mail_address(value: object) -> str:
    if not isinstance(value, str) or not is_mail_address(value):
        raise NotAccepted("an address such as ada@example.com")
    return value.lower()


def _dropbox(value: object, info: ValidationInfo) -> str | None:
    if value == "none" or (value is None and info.context is None):
        return None
    if not isinstance(value, str) or not is_mail_address(value):
        raise NotAccepted("an address such as 4711@bcc.crm.example, or none")
    return value


def _pattern(value: object) -> str:
    accepted = 'an address, or a pattern in quotes such as "*@example.com"'
    if not isinstance(value, str) or not is_mail_address(re.sub(r"[*?]+", "x", value)):
        raise NotAccepted(accepted)
    return value.lower()


Address = Annotated[
    str, PlainValidator(_mail_address), WithJsonSchema({"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"})
]
Dropbox = Annotated[
    str | None,
    PlainValidator(_dropbox),
    WithJsonSchema({"type": "string", "pattern": "^([^@\\s]+@[^@\\s]+|none)$"}),
]
Pattern = Annotated[str, PlainValidator(_pattern), WithJsonSchema({"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"})]


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path) and info.context is None:
        return value
    if not isinstance(value, str) or not value.strip():
        raise NotAccepted("a file's path; a relative one is meant from the configuration's folder")
    path = Path(value)
    if value.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise NotAccepted("a file's path", f"the home folder in {shown(value)} is not known") from None
    return info.context.folder / path if isinstance(info.context, Origin) else path


FilePath = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]


# --- one word, or something spelled out -------------------------------------------------------------------

# A tag stands in pydantic's error locations; it begins with NUL, which no key of a file can hold.
WORD_TAG = "\0word"
LIST_TAG = "\0list"
KEYS_TAG = "\0keys"


def _shape(value: Any) -> str | None:
    if isinstance(value, str):
        return WORD_TAG
    if isinstance(value, tuple | list):
        return LIST_TAG
    return None if value is None or isinstance(value, bool | int | float) else KEYS_TAG


def only(word: str, accepted: str) -> PlainValidator:
    """Takes one word; `accepted` also names what else the setting takes."""

    def read(value: object) -> str:
        if value != word:
            raise NotAccepted(accepted)
        return word

    return PlainValidator(read)


def word_or(tag: str, accepted: str) -> Discriminator:
    """Tells `a word` from what `tag` says, so that an error speaks only of what the person wrote."""

    def told(value: Any) -> str | None:
        shape = _shape(value)
        if shape == KEYS_TAG and not isinstance(value, dict) and not hasattr(value, "model_fields_set"):
            return None
        return shape if shape in (WORD_TAG, tag) else None

    return Discriminator(
        told, custom_error_type="shape", custom_error_message="{accepted}", custom_error_context={"accepted": accepted}
    )
