"""Which tracked message does this one answer?

Matched are the union of In-Reply-To and References (either may be missing, and some clients put one into the other)
against every id that a tracked message is known by. The subject is never a condition: people change it, and others
write the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxyd.model import Heading, ThreadMatch


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A tracked message: our record's id and that of its thread; `outgoing` where the person sent it."""

    message: str
    thread: str
    outgoing: bool = True


def id_key(message_id: str) -> str:
    """What two spellings of one Message-ID have in common: for comparison only.

    The case of the domain does not count (some servers rewrite it), that of what stands before it does. Amazon SES
    names in its reply the id without its domain, which differs by region: all of them are one here.
    """
    left, at, right = message_id.rpartition("@")
    if not at:
        return message_id
    right = right.lower()
    return f"{left}@{'amazonses.com' if right.endswith('.amazonses.com') else right}"


def named_ids(heading: Heading) -> tuple[str, ...]:
    """The ids that `heading` answers, the likeliest first: In-Reply-To, then References from the nearest on."""
    return tuple(dict.fromkeys((*heading.in_reply_to, *reversed(heading.references))))


def match(heading: Heading, known: Mapping[str, KnownMessage]) -> ThreadMatch | None:
    """The first named message that is in `known` (by Message-ID, without brackets); None where none is.

    A message that names itself answers nothing by that.
    """
    for id in named_ids(heading):
        if id in known and id_key(id) != id_key(heading.message_id):
            how = "In-Reply-To names" if id in heading.in_reply_to else "References name"
            return ThreadMatch(known[id].message, known[id].thread, f"{how} <{id}>")
    return None
