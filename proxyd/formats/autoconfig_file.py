"""The settings file that a mail domain publishes for mail programs: Mozilla's config-v1.1.xml, read without trust.

Whoever writes such a file is nobody we know: a file with a document type (entities that grow), too large, or of
another shape is no settings file.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

LIMIT = 128 * 1024  # octets


@dataclass(frozen=True, slots=True)
class Published:
    """One server of the file. `kind`: imap | pop3 | smtp; `tls`: implicit | starttls | none; `user` with the address
    put in, "" where the file says nothing; `oauth`: the file says that OAuth2 is spoken there."""

    kind: str
    host: str
    port: int
    tls: str
    user: str
    oauth: bool


_TLS = {"SSL": "implicit", "STARTTLS": "starttls", "plain": "none"}


def read(octets: bytes, address: str) -> tuple[Published, ...]:
    """The servers in the file's own order, the preferred first; none where it is not such a file."""
    if len(octets) > LIMIT or b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        return ()
    try:
        root = ElementTree.fromstring(octets)
    except (ElementTree.ParseError, ValueError, LookupError):
        return ()
    if root.tag != "clientConfig":
        return ()
    servers = [*root.iterfind("emailProvider/incomingServer"), *root.iterfind("emailProvider/outgoingServer")]
    return tuple(published for server in servers if (published := _server(server, address)) is not None)


def _server(server: ElementTree.Element, address: str) -> Published | None:
    kind = server.get("type", "")
    host, port, socket_type = (
        _put_in(server.findtext(name, ""), address) for name in ("hostname", "port", "socketType")
    )
    if kind not in ("imap", "pop3", "smtp") or not host or not (port.isascii() and port.isdigit()):
        return None
    if not 0 < int(port) < 65536 or socket_type not in _TLS or any(c.isspace() or not c.isprintable() for c in host):
        return None
    ways = {(each.text or "").strip() for each in server.iterfind("authentication")}
    user = _put_in(server.findtext("username", ""), address)
    return Published(kind, host, int(port), _TLS[socket_type], user, "OAuth2" in ways)


def _put_in(text: str, address: str) -> str:
    local, _, domain = address.rpartition("@")
    text = text.strip()
    for name, value in (("%EMAILADDRESS%", address), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)):
        text = text.replace(name, value)
    return text
