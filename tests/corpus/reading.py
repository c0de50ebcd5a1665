"""The corpus of answers as real clients and servers write them: `answers/*.txt`, one file a family.

Each entry is readable as it stands:

    == what wrote it
    why: what is special about it
    must: what is to become of it (below)
    --
    the message, as a server delivers it

Built from the documented formats (RFCs, vendors' pages, public sources of clients and servers); no private mail is in
it. All of them answer a mail of their own: `Offer`, from ada@example.test to `to:` (default: grace@customer.test), with
the Message-ID `id:` (default: offer-{n}@example.test), for which the provider answered 250 `reply:` and filed a copy in
Sent with the id `sent-copy:`. `{n}` is the entry's number, `{n:012}` with twelve digits, `{base64:…}` encodes.

`hidden-by:` names servers that do not show what an entry is known by.

`must:` is one of nothing | answer | automatic | bounce | delay | delivered | read | deleted; behind semicolons what
became of it for whom (`grace@customer.test failed 5.1.1`), `participant unknown`, `attachment TYPE`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ANSWERS = Path(__file__).parent / "answers"

KINDS = {  # of `must`: kind and notice in the record
    "answer": ("message", None),
    "automatic": ("auto_reply", "automatic_answer"),
    "bounce": ("bounce", "delivery_failed"),
    "delay": ("auto_reply", "delivery_delayed"),
    "delivered": ("auto_reply", "delivered"),
    "read": ("auto_reply", "read"),
    "deleted": ("auto_reply", "deleted_unread"),
}


@dataclass(frozen=True)
class Answer:
    """`octets` is the message without its Return-Path, `return_path` that; `delivery` is (address, state, status)."""

    name: str
    why: str
    must: str
    delivery: tuple[tuple[str, str, str], ...]
    attachments: tuple[str, ...]
    stranger: bool
    id: str
    to: tuple[str, ...]
    reply: str
    sent_copy: str
    hidden_by: str
    return_path: str
    octets: bytes


@cache
def answers() -> tuple[Answer, ...]:
    entries = []
    for path in sorted(ANSWERS.glob("*.txt")):
        for entry in re.split(r"(?m)^== ", path.read_text())[1:]:
            entries.append((path.stem, entry))
    return tuple(_answer(n, family, entry) for n, (family, entry) in enumerate(entries, start=1))


def _answer(n: int, family: str, entry: str) -> Answer:
    entry = entry.replace("{n:012}", f"{n:012}").replace("{n}", str(n))
    entry = re.sub(r"\{base64:(.*?)\}", lambda found: b64encode(found[1].encode()).decode(), entry)
    about, _, text = entry.partition("\n--\n")
    name, *lines = about.split("\n")
    said = dict(line.split(": ", 1) for line in lines)
    must, *more = said["must"].split("; ")
    delivery = []
    for each in more:
        if "@" in each:
            address, state, status = (*each.split(" "), "")[:3]
            delivery.append((address, state, status))
    return_path, _, message = text.partition("\n")
    octets = (message.rstrip("\n") + "\n").replace("\n", "\r\n")
    encoding = "latin-1" if "8-bit octets" in name else "utf-8"
    return Answer(
        name=f"{family}: {name}",
        why=said["why"],
        must=must,
        delivery=tuple(delivery),
        attachments=tuple(each.split(" ")[1] for each in more if each.startswith("attachment ")),
        stranger="participant unknown" in more,
        id=said.get("id", f"offer-{n}@example.test"),
        to=tuple(said.get("to", "grace@customer.test").split(", ")),
        reply=said.get("reply", "2.0.0 OK queued as 4711"),
        sent_copy=said.get("sent-copy", ""),
        hidden_by=said.get("hidden-by", ""),
        return_path=return_path.removeprefix("Return-Path: "),
        octets=octets.encode(encoding),
    )
