"""What a mail client is to be set to, as a document: for `proxyd client-settings` and for the page. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from proxyd.config import Account
from proxyd.web.client_steps import client_steps

HOST = "localhost"  # a name: several clients refuse a certificate by IP address even where it names one

TLS_WORDS = {"implicit": "SSL/TLS", "starttls": "STARTTLS", "none": "none"}
SECURITY = {"smtps": "SSL/TLS", "smtp": "STARTTLS", "imaps": "SSL/TLS", "imap": "STARTTLS"}
OUTGOING = ("smtps", "smtp")  # what is told first comes first
INCOMING = ("imaps", "imap")


def settings_document(
    account: Account,
    listening: dict[str, str],
    password: str,
    certificate: dict[str, str] | None,
    sent_folder: str = "",
) -> dict[str, Any]:
    """All that a client is to be set to; the first of `outgoing` and of `incoming` is the one to take."""
    chosen = account.sent_copy.folder
    document: dict[str, Any] = {
        "address": account.address,
        "name": account.name,
        "outgoing": _ours(listening, OUTGOING),
        "incoming": [each | {"login": account.address, "through": "proxyd"} for each in _ours(listening, INCOMING)]
        or [_provider(account)],
        "login": account.address,
        "password": password,
        "certificate": certificate,
        "sent_folder": sent_folder or ("" if chosen == "auto" else chosen),
        "autoconfig": _autoconfig(account, listening),
    }
    return document | {"clients": client_steps(document)}


def _ours(listening: dict[str, str], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"host": HOST, "port": int(listening[name].rpartition(":")[2]), "security": SECURITY[name]}
        for name in names
        if name in listening
    ]


def _provider(account: Account) -> dict[str, Any]:
    imap = account.provider.imap
    server = {"host": imap.host, "port": imap.port, "security": TLS_WORDS[imap.tls]}
    return server | {"login": account.sign_in.imap_user, "through": "provider"}


def _autoconfig(account: Account, listening: dict[str, str]) -> str | None:
    """Where Thunderbird's settings file is served (CONTRACT section 4)."""
    if "web" not in listening:
        return None
    port = listening["web"].rpartition(":")[2]
    query = urlencode({"emailaddress": account.address}, safe="@")
    return f"http://{HOST}:{port}/.well-known/autoconfig/mail/config-v1.1.xml?{query}"
