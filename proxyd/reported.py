"""What machines say about mail, as records: the model's page on reports and automatic answers.

Apart from `model` because only formats, rules and journal speak of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")  # RFC 3464 section 2.3.3


class Sign(StrEnum):
    """Each as the sentence that a person reads where it decided."""

    SAYS_NO = "Auto-Submitted: no"
    AUTO_SUBMITTED = "Auto-Submitted says so"
    AUTO_FIELD = "a field of answering machines"
    AUTO_PRECEDENCE = "Precedence: auto_reply"
    INBOX_RULE = "X-MS-Exchange-Inbox-Rules-Loop"
    GENERATED = "X-MS-Exchange-Generated-Message-Source"
    SUPPRESS_ALL = "X-Auto-Response-Suppress: All"
    SUPPRESS_SOME = "X-Auto-Response-Suppress"
    NULL_SENDER = "Return-Path: <>"
    BULK = "Precedence: bulk"
    SUBJECT = "a subject as answering machines begin it"
    FAILED_RECIPIENTS = "X-Failed-Recipients"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says of one recipient. `action` is one of ACTIONS, or "read" or "deleted" of a receipt;
    `status` an enhanced status code or a reply code, `detail` the server's own words on one line."""

    address: str
    action: str
    status: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`recipients` is of machine-readable parts; `mentioned` of text, for whoever knows the recipients to choose from.

    `ids` are the Message-IDs of the message that is reported on, `ids_in_text` those that the text shows.
    """

    recipients: tuple[RecipientStatus, ...] = ()
    ids: tuple[str, ...] = ()
    mentioned: tuple[RecipientStatus, ...] = ()
    ids_in_text: tuple[str, ...] = ()
    receipt: bool = False


NO_REPORT = Report()
