"""The settings of one account as Thunderbird and others read them: Mozilla's autoconfig format, config-v1.1.xml.

Why the provider's own server where no IMAP listener is open: the format wants an incoming server, and reading the mail
straight from the provider is what the person is left with.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from proxyd.config import Account
from proxyd.model import mailbox_key

HOST = "localhost"  # the name that the certificate and every client agree on
CONTENT_TYPE = "text/xml; charset=utf-8"

# The first that a client can do is the one it takes.
INCOMING = {"imaps": "SSL", "imap": "STARTTLS"}
OUTGOING = {"smtps": "SSL", "smtp": "STARTTLS"}
SOCKET_TYPES = {"implicit": "SSL", "starttls": "STARTTLS", "none": "plain"}


def document(account: Account, listening: Mapping[str, str]) -> bytes | None:
    """The document for `account`; `listening` maps each open listener's name to host:port.

    None where no SMTP listener is open: there is nothing to send through.
    """
    root = ElementTree.Element("clientConfig", version="1.1")
    domain = mailbox_key(account.address).rpartition("@")[2]
    provider = ElementTree.SubElement(root, "emailProvider", id=domain)
    _text(provider, "domain", domain)
    _text(provider, "displayName", f"{account.address} through proxyd")
    _text(provider, "displayShortName", "proxyd")
    for name, socket_type in INCOMING.items():
        if name in listening:
            _server(provider, "incoming", HOST, _port(listening[name]), socket_type, "%EMAILADDRESS%")
    if not any(name in listening for name in INCOMING):
        imap = account.provider.imap
        _server(provider, "incoming", imap.host, imap.port, SOCKET_TYPES[imap.tls], account.sign_in.imap_user)
    for name, socket_type in OUTGOING.items():
        if name in listening:
            _server(provider, "outgoing", HOST, _port(listening[name]), socket_type, "%EMAILADDRESS%")
    if not any(name in listening for name in OUTGOING):
        return None
    ElementTree.indent(root)
    octets: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return octets + b"\n"


def _server(parent: ElementTree.Element, way: str, host: str, port: int, socket_type: str, user: str) -> None:
    server = ElementTree.SubElement(parent, f"{way}Server", type="imap" if way == "incoming" else "smtp")
    _text(server, "hostname", host)
    _text(server, "port", str(port))
    _text(server, "socketType", socket_type)
    _text(server, "username", user)
    _text(server, "authentication", "password-cleartext")  # within TLS


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
