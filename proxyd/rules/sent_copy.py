"""Is a Sent copy due, present, or one too many? What happens next, and who put a copy there.

One copy of what was sent, whoever files it. The rules, the first true line wins:

1. A copy of somebody else's and ours: ours goes, by its UID. Nothing else is ever removed.
2. A copy: settled.
3. Not yet `settle` seconds since the provider took the message: its and the client's own copy are waited for.
4. The provider files what it sends: never APPEND (it may even send again what is appended); look again after
   1, 5 and 30 minutes, then say that the copy is missing.
5. An APPEND of ours has no known outcome: look first, and not at once: the server may still be at it.
6. APPEND.

Which folder is Sent: `proxyd.rules.sent_folder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from proxyd.model import FiledBy, Heading
from proxyd.rules.sent_folder import sent_folder

__all__ = [
    "Action",
    "Append",
    "Copy",
    "Facts",
    "Failed",
    "FilesSent",
    "Look",
    "RemoveOurs",
    "Settled",
    "Wait",
    "learned",
    "next_step",
    "sent_folder",
    "who_filed",
]

FilesSent = Literal["yes", "no", "unknown"]

LOOK_AGAIN = (60.0, 300.0, 1800.0)  # seconds after acceptance, for a provider that files what it sends
APPEND_SETTLES = 10.0  # seconds that a server may still be at an APPEND whose connection was lost
TRIES = 100  # failed tries, about a day of them, after which a person must look
MISSING = "sent_copy_missing"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy seen in the Sent folder. `by` is PROXYD only where `uid` is what the server gave us for our own APPEND."""

    uid: int
    by: FiledBy


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one submission's Sent copy."""

    accepted_at: datetime
    now: datetime
    settle: float  # seconds
    files_sent: FilesSent = "unknown"
    copies: tuple[Copy, ...] | None = None  # what a look just now found; None = not looked
    due: datetime | None = None  # a later moment that an earlier step named
    appending_since: datetime | None = None  # when an APPEND of unknown outcome was begun
    attempts: int = 0  # tries that failed
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Look:
    """Look for copies, then ask again with what was found."""

    because: str


@dataclass(frozen=True, slots=True)
class Append:
    because: str


@dataclass(frozen=True, slots=True)
class Settled:
    by: FiledBy
    copies: int
    uid: int  # of the copy that counts
    because: str


@dataclass(frozen=True, slots=True)
class RemoveOurs:
    """Remove exactly these UIDs, all of our own APPENDs; then it is as `then` says."""

    uids: tuple[int, ...]
    then: Settled
    because: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Given up; `error` is for a person."""

    error: str
    because: str


Action = Wait | Look | Append | Settled | RemoveOurs | Failed


def next_step(facts: Facts) -> Action:
    """What to do now about this Sent copy. A function of its facts alone."""
    if facts.copies:
        return _present(facts.copies)
    settled_at = facts.accepted_at + timedelta(seconds=facts.settle)
    due = max(settled_at, facts.due) if facts.due else settled_at
    if facts.now < due:
        return Wait(due, "the provider's or the client's own copy may still come")
    if facts.copies is None:
        return Look("nobody's copy was seen yet" if facts.appending_since is None else "an APPEND has no known outcome")
    if facts.files_sent == "yes":
        return _provider_owes_it(facts)
    if facts.appending_since is not None:
        safe = facts.appending_since + timedelta(seconds=APPEND_SETTLES)
        if facts.now < safe:
            return Wait(safe, "the server may still be at an APPEND whose outcome is not known")
    if facts.attempts >= TRIES:
        return Failed(facts.last_error or "the Sent copy could not be made", f"{facts.attempts} tries failed")
    return Append("neither the provider nor the client filed a copy")


def _present(copies: tuple[Copy, ...]) -> Action:
    ours = [copy for copy in copies if copy.by is FiledBy.PROXYD]
    others = [copy for copy in copies if copy.by is not FiledBy.PROXYD]
    if not others:
        first = Settled(FiledBy.PROXYD, 1, ours[0].uid, "our copy is there")
        extra = tuple(copy.uid for copy in ours[1:])
        return RemoveOurs(extra, first, "we appended more than one") if extra else first
    counts = next((copy for copy in others if copy.by is FiledBy.PROVIDER), others[0])
    settled = Settled(counts.by, len(others), counts.uid, f"the {counts.by}'s copy is there")
    if ours:
        return RemoveOurs(tuple(copy.uid for copy in ours), settled, f"the {counts.by}'s own copy came too")
    return settled


def _provider_owes_it(facts: Facts) -> Action:
    looks = (facts.accepted_at + timedelta(seconds=after) for after in LOOK_AGAIN)
    for look in looks:
        if facts.now < look:
            return Wait(look, "the provider files what it sends; its copy is late")
    return Failed(MISSING, "the provider files what it sends, and its copy did not come; none is appended")


def who_filed(heading: Heading, same_ids: bool) -> FiledBy:
    """Who put a copy there that we did not append ourselves.

    `same_ids`: it carries a Message-ID that the message was sent under. A server leaves traces: Received, Return-Path,
    an id of its own with the original beside it. A client uploads what it composed.
    """
    by_server = heading.filed_by_transport or bool(heading.original_ids) or not same_ids
    return FiledBy.PROVIDER if by_server else FiledBy.CLIENT


def learned(known: str, submission: str, copies: tuple[Copy, ...]) -> str:
    """What is known of the provider's habit after the copies of one more submission were seen.

    `known` is "" at first. One sighting is remembered by its submission ("once ID"), the second one of another counts
    ("yes"): a client that uploads under an id of its own may look like a provider once.
    """
    if known == "yes" or not any(copy.by is FiledBy.PROVIDER for copy in copies):
        return known
    return "yes" if known and known != f"once {submission}" else f"once {submission}"
