"""Who wrote the message that somebody forwards inline, read from the block of lines that clients put above it.

    ---------- Forwarded message ---------
    From: Grace Hopper <grace@customer.example>
    Date: Mon, 23 Nov 2026 at 10:02
    Subject: Offer
    To: Ada Lovelace <ada@example.com>

Only lines with a known label count, in the languages that clients write them in; the block is the first run of them
that names an author. A message that is forwarded as an attachment needs none of this: it has its own header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from proxyd.formats.addresses import read_addresses
from proxyd.model import Heading, MailAddress

_LABELS = {
    "from": ("from", "von", "de", "van", "da", "od", "från", "fra", "lähettäjä", "от", "发件人", "差出人", "보낸사람"),
    "to": (
        "to",
        "an",
        "à",
        "aan",
        "a",
        "para",
        "do",
        "till",
        "til",
        "vastaanottaja",
        "кому",
        "收件人",
        "宛先",
        "받는사람",
    ),
    "cc": ("cc", "kopie", "copie", "копия", "抄送"),
    "date": ("date", "sent", "datum", "gesendet", "envoyé", "verzonden", "data", "inviato", "fecha", "enviado", "дата"),
    "subject": (
        "subject",
        "betreff",
        "objet",
        "onderwerp",
        "oggetto",
        "asunto",
        "assunto",
        "ämne",
        "emne",
        "тема",
        "主题",
    ),
}
_MEANS = {label: field for field, labels in _LABELS.items() for label in labels}
_LINE = re.compile(r"^[>\s*]*([^\W\d_][\w ]{0,15}?)\*?\s*[:：]\*?\s*(.+)$")
_MOST_LINES = 400  # looked at: the block stands at the top of what is forwarded


def inline_heading(text: str) -> Heading | None:
    """What the first forwarded block of `text` says; None where there is none that names an author."""
    said: dict[str, str] = {}
    for field, value in _block(text.splitlines()[:_MOST_LINES]):
        said.setdefault(field, value)
    authors = _people(said.get("from", ""))
    if not authors:
        return None
    return Heading(
        from_=authors,
        to=_people(said.get("to", "")),
        cc=_people(said.get("cc", "")),
        subject=said.get("subject", ""),
        date=_instant(said.get("date", "")),
    )


def _block(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The labelled lines of the first run of at least two that has an author among them."""
    run: list[tuple[str, str]] = []
    for line in [*lines, ""]:
        labelled = _LINE.match(line)
        field = _MEANS.get(labelled[1].strip().casefold()) if labelled else None
        if labelled and field:
            run.append((field, labelled[2].strip()))
        elif run and not line.strip(" >"):
            if len(run) > 1 and any(name == "from" for name, _ in run):
                yield from run
                return
            run = []


def _people(value: str) -> tuple[MailAddress, ...]:
    found = read_addresses(value.replace("[mailto:", "<").replace("]", ">").encode())
    return tuple(each for each in found if "@" in each.address)


def _instant(value: str) -> datetime | None:
    """Clients write this line for people; where it is no RFC 5322 date-time with a zone, it says nothing to us."""
    try:
        read = parsedate_to_datetime(value)
    except ValueError:
        return None
    return read if read.tzinfo else None
