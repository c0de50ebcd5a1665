"""A contact's messages as a person reads them: thread by thread, each in the order in which it was said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxyd.formats.search_query import read_query

Document = Mapping[str, Any]

PREVIEWED = ("image/png", "image/jpeg", "image/gif", "image/webp")
EXCERPT = 160  # characters
READABLE = ("text/plain", "text/csv", "text/markdown", "text/calendar", "message/rfc822", "application/json")


@dataclass(frozen=True, slots=True)
class Thread:
    """`subject` is the first message's; `messages` oldest first; `last` the newest one's date."""

    id: str
    subject: str
    messages: tuple[Document, ...]
    last: str


def threads(messages: Iterable[Document]) -> list[Thread]:
    """That with the newest message first."""
    found: dict[str, list[Document]] = {}
    for each in messages:
        found.setdefault(each["thread"], []).append(each)
    made = []
    for id, members in found.items():
        ordered = tuple(sorted(members, key=lambda each: (each["date"], each["id"])))
        made.append(Thread(id, ordered[0]["subject"] or "(no subject)", ordered, ordered[-1]["date"]))
    return sorted(made, key=lambda each: (each.last, each.id), reverse=True)


def answerable(thread: Thread) -> Document:
    """The message that an answer answers: the newest that a person wrote to us, else the newest of all."""
    received = (
        each for each in reversed(thread.messages) if each["direction"] == "incoming" and each["kind"] == "message"
    )
    return next(received, thread.messages[-1])


def folded(message: Document) -> tuple[str, str]:
    """What is new in a message, and what is folded away: the rest of it, or all of it where the two are mixed."""
    whole, new = message["text"].strip("\n"), message["new_text"].strip("\n")
    if not new.strip() or new == whole:
        return whole, ""
    rest = whole[len(new) :] if whole.startswith(new) else whole
    return new, rest.strip("\n")


def signed(message: Document) -> tuple[str, str, str]:
    """(what is new and said, the signature below it, what is folded away)"""
    new, rest = folded(message)
    below = message["signature"].strip("\n")
    if not below or not new.endswith(below) or new == below:
        return new, "", rest
    return new[: -len(below)].rstrip().removesuffix("--").rstrip(), below, rest


def excerpt(message: Document) -> str:
    """The beginning of what is new in a message, on one line."""
    words = " ".join(signed(message)[0].split())
    return words if len(words) <= EXCERPT else words[:EXCERPT].rstrip() + "…"


def marked(excerpt: str, q: str) -> list[tuple[str, bool]]:
    """The pieces of an excerpt, each with whether it is one of the words that `q` asks for."""
    terms = {each.text for each in read_query(q).terms if each.text and not each.excluded}
    wanted = sorted(terms, key=len, reverse=True)
    if not wanted:
        return [(excerpt, False)]
    pieces = re.split(f"({'|'.join(map(re.escape, wanted))})", excerpt, flags=re.IGNORECASE)
    return [(piece, n % 2 == 1) for n, piece in enumerate(pieces) if piece]


def preview(attachment: Document) -> str:
    """How the browser may show an attachment in place: image, text, pdf; "" = only to be saved.

    An SVG image can carry a script and an HTML text is one: they are saved, never shown.
    """
    kind = attachment["type"]
    if kind in PREVIEWED:
        return "image"
    if kind == "application/pdf":
        return "pdf"
    return "text" if kind in READABLE else ""


def others(message: Document) -> list[Document]:
    """The people on the other side of a message."""
    if message["direction"] == "incoming":
        return [message["from"]]
    return [*message["to"], *message["cc"], *message["bcc"]]


def everybody(message: Document) -> list[Document]:
    """All whom its header names."""
    return [message["from"], *message["to"], *message["cc"], *message["bcc"]]
