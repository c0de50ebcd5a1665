"""What a person does in each mail client, from the document of `proxyd client-settings`: pure text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from proxyd.web.certificate_lines import macos_install, windows_install

Document = dict[str, Any]

TITLES = {
    "thunderbird": "Thunderbird",
    "outlook": "Outlook (classic)",
    "apple-mail": "Apple Mail",
    "neomutt": "neomutt",
}


def client_steps(document: Document) -> dict[str, Document]:
    """`{client: {"title", "steps": […], "note"}}`; for neomutt also "muttrc". Nothing where nothing can be sent.

    A step is one sentence or more; what follows a line break in it is to be typed as it stands.
    """
    if not document["outgoing"]:
        return {}
    made: dict[str, Callable[[Document], Document]] = {
        "thunderbird": _thunderbird,
        "outlook": _outlook,
        "apple-mail": _apple_mail,
        "neomutt": _neomutt,
    }
    return {client: {"title": TITLES[client]} | steps(document) for client, steps in made.items()}


def _thunderbird(document: Document) -> Document:
    address, steps = document["address"], []
    if (certificate := document["certificate"]) is not None:
        steps.append(
            "Close Thunderbird and type `proxyd trust install`. Or, by hand: Settings > Privacy & Security > "
            f"Certificates > Manage Certificates > Authorities > Import: choose {certificate['file']} "
            'and tick "Trust this CA to identify websites".'
        )
    outgoing = f'{_server(document, "outgoing")}, authentication "Normal password", user name {address}'
    if _reads_through_proxyd(document):
        incoming = f'{_server(document, "incoming")}, authentication "Normal password", user name {address}'
        steps += [
            f"A new account: Account Settings > Account Actions > Add Mail Account: your name, {address}, the password "
            f"above; then Configure manually. Incoming: IMAP, {incoming}. Outgoing: {outgoing}.",
            f"An account that is there already: Account Settings > {address} > Server Settings, the incoming server as "
            "above; Outgoing Server (SMTP) > Edit, the outgoing server as above. Restart Thunderbird.",
        ]
    else:
        steps += [
            f"Account Settings > Outgoing Server (SMTP) > Add: {outgoing}.",
            f"Account Settings > {address} > Outgoing Server (SMTP): choose the new one. "
            "The incoming server stays as it is.",
        ]
    steps.append('Leave "Place a copy in Sent" as it is: there will be one copy either way.')
    return {"steps": steps, "note": None}


def _outlook(document: Document) -> Document:
    address, steps = document["address"], []
    if (certificate := document["certificate"]) is not None:
        steps.append(f"In a command prompt (answer Yes):\n{windows_install(certificate['file'])}")
    outgoing = _server(document, "outgoing", "encryption method {}")
    sign_in = 'tick "My outgoing server (SMTP) requires authentication"'
    if _reads_through_proxyd(document):
        incoming = _server(document, "incoming", "encryption method {}")
        steps += [
            f'A new account: File > Add Account: {address}, Advanced options, "Let me set up my account manually", '
            f"Connect, IMAP. Incoming mail: {incoming}. Outgoing mail: {outgoing}. Then the password above.",
            "An account that is there already: File > Account Settings > Server Settings, both servers as above, user "
            f'name {address} and the password above; {sign_in} and "Use same settings as my incoming mail server".',
        ]
    else:
        steps.append(
            f"File > Account Settings > Server Settings > Outgoing mail: {outgoing}; {sign_in} and log on using user "
            f"name {address} and the password above. The incoming server stays as it is."
        )
    return {
        "steps": steps,
        "note": "The new Outlook cannot be used: it reads and sends from Microsoft's servers, "
        "for which localhost is not this computer.",
    }


def _apple_mail(document: Document) -> Document:
    address, steps = document["address"], []
    if (certificate := document["certificate"]) is not None:
        steps.append(f"In Terminal (without this, Mail refuses to connect):\n{macos_install(certificate['file'])}")
    ticked = "Use TLS/SSL ticked"  # that it means STARTTLS on the one port and TLS on the other, Mail finds out
    outgoing = _server(document, "outgoing", ticked)
    if _reads_through_proxyd(document):
        incoming = _server(document, "incoming", ticked)
        steps += [
            f"Mail > Add Account > Other Mail Account: your name, {address}, the password above. Mail cannot verify it "
            f"by itself and asks: user name {address}, account type IMAP, incoming and outgoing mail server localhost.",
            'Mail > Settings > Accounts > Server Settings: untick "Automatically manage connection settings" twice. '
            f"Incoming: {incoming}. Outgoing: {outgoing}. Authentication: Password, user name {address}, both times.",
        ]
    else:
        steps.append(
            "Mail > Settings > Accounts > Server Settings > Outgoing Mail Account > Edit SMTP Server List > +: untick "
            f'"Automatically manage connection settings"; {outgoing}, authentication Password, user name {address}, '
            "the password above. The incoming server stays as it is."
        )
    return {"steps": steps, "note": None}


def _neomutt(document: Document) -> Document:
    return {
        "steps": ["Put these lines into ~/.config/neomutt/neomuttrc (mutt: ~/.muttrc), and chmod 600 it."],
        "note": None,
        "muttrc": _muttrc(document),
    }


def _muttrc(document: Document) -> str:
    """Only settings that mutt and every neomutt know. Where two spellings exist it is the older one."""
    incoming, outgoing = document["incoming"][0], document["outgoing"][0]
    imap = "imaps" if incoming["security"] == "SSL/TLS" else "imap"
    smtp = "smtps" if outgoing["security"] == "SSL/TLS" else "smtp"
    user = quote(document["login"], safe="")
    in_the_clear = incoming["security"] == "none"  # a provider on this machine; proxyd always has TLS
    lines = [
        ("from", document["address"]),
        ("realname", document["name"]),
        ("folder", f"{imap}://{_host(incoming['host'])}:{incoming['port']}/"),
        ("imap_user", incoming["login"]),
        ("imap_pass", document["password"] if _reads_through_proxyd(document) else None),  # else it asks
        ("spoolfile", "+INBOX"),
        ("record", f"+{document['sent_folder'] or 'Sent'}"),
        ("smtp_url", f"{smtp}://{user}@{_host(outgoing['host'])}:{outgoing['port']}/"),
        ("smtp_pass", document["password"]),
        ("certificate_file", document["certificate"]["file"] if document["certificate"] else None),
    ]
    switches = [
        ("use_from", True),
        ("ssl_starttls", not in_the_clear),
        ("ssl_force_tls", not in_the_clear),
        ("ssl_verify_host", True),
        ("ssl_verify_dates", True),
    ]
    return "".join(
        [f"set {name} = {mutt_quoted(value)}\n" for name, value in lines if value]
        + [f"set {name} = {'yes' if on else 'no'}\n" for name, on in switches]
    )


def mutt_quoted(text: str) -> str:
    """A value as muttrc reads it back: nothing in it is expanded, no line of it ends early."""
    text = re.sub(r"[\r\n\0]+", " ", text)
    if "'" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reads_through_proxyd(document: Document) -> bool:
    return bool(document["incoming"][0]["through"] == "proxyd")


def _server(document: Document, way: str, security: str = "connection security {}") -> str:
    first = document[way][0]
    return f"server {first['host']}, port {first['port']}, {security.format(first['security'])}"
