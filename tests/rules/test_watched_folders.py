"""Where is looked: one row per kind of server or person, and what must never be looked at."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd.model import Folder
from proxyd.rules.watched_folders import first_of, watched_folders


def listed(*lines: str, delimiter: str = "/") -> list[Folder]:
    """`name \\attribute …`; attributes begin at the first backslash."""
    folders = []
    for line in lines:
        name, *attributes = line.split(" \\")
        folders.append(Folder(name, delimiter, frozenset("\\" + each.lower() for each in attributes)))
    return folders


DOVECOT = listed(
    "INBOX", "Customers", "Customers/Acme", "Archive \\Archive", "Drafts \\Drafts", "Sent \\Sent", "Trash \\Trash",
    "Trash/Old", "Junk \\Junk", "Public \\Noselect", "Public/Rules", "Outbox", "Templates", "Virtual/All \\All",
    "Virtual/Flagged \\Flagged", "CRM \\NonExistent", "CRM/Log",
)  # fmt: skip
COURIER = listed(
    "INBOX", "INBOX.Sent", "INBOX.Trash", "INBOX.Drafts", "INBOX.Customers", "INBOX.CRM.Log", delimiter="."
)
GMAIL = listed(
    "INBOX", "Customers", "CRM/Log", "[Gmail] \\Noselect", "[Gmail]/All Mail \\All", "[Gmail]/Drafts \\Drafts",
    "[Gmail]/Important \\Important", "[Gmail]/Sent Mail \\Sent", "[Gmail]/Spam \\Junk", "[Gmail]/Starred \\Flagged",
    "[Gmail]/Trash \\Trash",
)  # fmt: skip
GMAIL_HIDDEN = [each for each in GMAIL if "All Mail" not in each.name]

ROWS: list[tuple[str, list[Folder], Any, str, dict[str, Any], dict[str, str]]] = [
    (
        "every folder a rule may file into", DOVECOT, "auto", "Sent", {},
        {"INBOX": "incoming", "Customers": "incoming", "Customers/Acme": "incoming", "Archive": "incoming",
         "Junk": "junk", "Public/Rules": "incoming", "CRM/Log": "incoming", "Sent": "sent"},
    ),
    (
        "CRM/Log marks", DOVECOT, ["INBOX"], "Sent", {"marked": True},
        {"INBOX": "incoming", "CRM/Log": "marked", "Sent": "sent"},
    ),
    (
        "no attributes: by name, below INBOX", COURIER, "auto", "INBOX.Sent", {"marked": True},
        {"INBOX": "incoming", "INBOX.Customers": "incoming", "INBOX.CRM.Log": "marked", "INBOX.Sent": "sent"},
    ),
    (
        "labels: All Mail once", GMAIL, "auto", "[Gmail]/Sent Mail", {"labels": True, "marked": True},
        {"[Gmail]/All Mail": "incoming", "[Gmail]/Spam": "junk", "CRM/Log": "marked", "[Gmail]/Sent Mail": "sent"},
    ),
    (
        "labels, and All Mail is not shown by IMAP", GMAIL_HIDDEN, "auto", "[Gmail]/Sent Mail", {"labels": True},
        {"INBOX": "incoming", "Customers": "incoming", "CRM/Log": "incoming", "[Gmail]/Spam": "junk",
         "[Gmail]/Sent Mail": "sent"},
    ),
    (
        "other people's folders", listed("INBOX", "user/bob/Mail", "shared/Team", "userland"), "auto", "Sent",
        {"others": ("user/", "shared/")}, {"INBOX": "incoming", "userland": "incoming"},
    ),
    (
        "a name in another language, no attribute", listed("INBOX", "Papierkorb", "Entwürfe", "Postausgang", "Kunden"),
        "auto", "Sent", {}, {"INBOX": "incoming", "Kunden": "incoming"},
    ),
    (
        "a customer called Trash, where another is marked so", listed("INBOX", "Bin \\Trash", "Customers/Trash"),
        "auto", "Sent", {}, {"INBOX": "incoming", "Customers/Trash": "incoming"},
    ),
    (
        "a person's list wins", DOVECOT, ["customers/acme", "inbox", "Trash"], "Sent", {},
        {"INBOX": "incoming", "Customers/Acme": "incoming", "Trash": "incoming", "Sent": "sent"},
    ),
    (
        "a list written with another delimiter", COURIER, ["Customers"], "INBOX.Sent", {},
        {"INBOX.Customers": "incoming", "INBOX.Sent": "sent"},
    ),
    (
        "a list of Sent alone, and one of what is not there", DOVECOT, ["Sent"], "Sent", {},
        {"INBOX": "incoming", "Sent": "sent"},
    ),
    (
        "a folder that is not there", DOVECOT, ["INBOX", "Nowhere"], "No Sent", {},
        {"INBOX": "incoming", "Nowhere": "incoming"},
    ),
    ("Junk by its name", listed("INBOX", "Spam"), "auto", "Sent", {}, {"INBOX": "incoming", "Spam": "junk"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("folders", "wanted", "sent", "more", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_where(folders: list[Folder], wanted: Any, sent: str, more: dict[str, Any], expected: dict[str, str]) -> None:
    found = watched_folders(folders, wanted, sent, **more)
    assert {each.name: str(each.role) for each in found} == expected
    assert len(found) == len(expected)
    assert all(each.because for each in found)


def test_the_first_is_where_new_mail_arrives() -> None:
    assert first_of(watched_folders(DOVECOT, "auto", "Sent")) == "INBOX"
    assert first_of(watched_folders(GMAIL, "auto", "x", labels=True)) == "[Gmail]/All Mail"
    assert first_of(watched_folders(DOVECOT, ["Customers", "INBOX"], "Sent")) == "INBOX"
