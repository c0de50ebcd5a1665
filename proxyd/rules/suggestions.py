"""Which conversation may a message belong to that names none? Only ever a suggestion: a person says yes or no.

Outlook drops both fields when its user edits the subject, and a forwarded chain loses them. What is left is the author:
somebody in a conversation that is alive. Of several conversations the one whose subject is alike is suggested (here it
may count: it only orders what a person decides), else the newest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from proxyd.model import Heading, mailbox_key

LIVE = timedelta(days=60)  # since the last message of a conversation
MOST_PEOPLE = 50  # of the newest conversations: so many the server is asked for at once
MOST_OPEN = 200  # suggestions of one account; more are not made

_PREFIX = re.compile(r"\s*(?:re|fw|fwd|aw|wg|antw|antwort|tr|rv|rif|res|sv|vs|odp|ynt)\s*(?:\[\d{1,3}\])?\s*:\s*", re.I)
_LONGEST = 500  # characters of a subject


@dataclass(frozen=True, slots=True)
class LiveThread:
    """A conversation: its newest message's record, subject and the mailbox keys of its people."""

    thread: str
    message: str
    subject: str
    people: frozenset[str]


@dataclass(frozen=True, slots=True)
class Suggested:
    thread: str
    message: str
    because: str


def names_nothing(heading: Heading) -> bool:
    """What answers another message, tracked or not, is in a conversation already."""
    return not heading.in_reply_to and not heading.references


def suggest(heading: Heading, live: Sequence[LiveThread]) -> Suggested | None:
    """The conversation that the message is suggested for; `live` is the newest first."""
    authors = {mailbox_key(each.address): each.address for each in heading.from_}
    theirs = [each for each in live if each.people & authors.keys()]
    if not theirs:
        return None
    subject = bare_subject(heading.subject)
    alike = [each for each in theirs if subject and bare_subject(each.subject) == subject]
    chosen = (alike or theirs)[0]
    address = next(written for key, written in authors.items() if key in chosen.people)
    why = "with the same subject" if alike else "the newest with this person"
    return Suggested(chosen.thread, chosen.message, f"{address} is in this conversation, {why}; the message names none")


def bare_subject(subject: str) -> str:
    """Without Re: and its kin, in lower case."""
    text = subject[:_LONGEST]
    while found := _PREFIX.match(text):
        text = text[found.end() :]
    return " ".join(text.casefold().split())
