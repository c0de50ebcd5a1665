"""Is a Sent copy due, present, or one too many? What happens next, and who put a copy there.

One copy of what was sent, whoever files it. The rules, the first true line wins:

1. A copy of somebody else's and ours: ours goes, by its UID. Nothing else is ever removed.
2. A copy: settled.
3. Not yet `settle` seconds since the provider took the message: its and the client's own copy are waited for.
4. The client's own upload of it is on its way through us: its end is waited for, for some minutes at most.
5. The provider files what it sends: never APPEND (it may even send again what is appended); look again after
   1, 5 and 30 minutes, then say that the copy is missing. Only where the client's upload was answered in the
   provider's stead is it appended then (nobody else has it any more), or where the person asks for it.
6. An APPEND of ours has no known outcome: look first, and not at once: the server may still be at it.
7. APPEND.

What becomes of a client's upload: `upload`. Where the provider files what it sends, an upload of the same message need
not cross the uplink a second time, as long as a copy is certain: it was seen, or we still hold the message. Where its
habit is not known yet, the first few uploads are held back for a moment: its copy may be on its way.

Which folder is Sent: `proxyd.rules.sent_folder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from proxyd.model import CopyState, FiledBy, Heading
from proxyd.rules.sent_folder import sent_folder

__all__ = [
    "Action",
    "AnswerInstead",
    "Append",
    "Copy",
    "Facts",
    "Failed",
    "FilesSent",
    "HoldBack",
    "LetPass",
    "Look",
    "RemoveOurs",
    "Settled",
    "UploadFacts",
    "Wait",
    "habit",
    "learned",
    "next_step",
    "sent_folder",
    "upload",
    "who_filed",
]

FilesSent = Literal["yes", "no", "unknown"]

LOOK_AGAIN = (60.0, 300.0, 1800.0)  # seconds after acceptance, for a provider that files what it sends
APPEND_SETTLES = 10.0  # seconds that a server may still be at an APPEND whose connection was lost
UPLOAD_TAKES = 600.0  # seconds that a client's upload may take before we go on without it
UPLOAD_HELD = 5.0  # seconds that an upload is held back where the provider's habit is not known
ALONE = 3  # uploads held back for nothing, after which none is any more
UPLOAD_WITHIN = 7 * 86400.0  # seconds after acceptance in which an upload may be answered in the provider's stead
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
    uploading_since: datetime | None = None  # when the client's own upload began that is on its way through us
    promised: bool = False  # a client's upload was answered as if it had been taken, or the person asks for the copy


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
    if facts.uploading_since is not None:
        arrived = facts.uploading_since + timedelta(seconds=UPLOAD_TAKES)
        if facts.now < arrived:
            return Wait(arrived, "the client is uploading its own copy")
    if facts.copies is None:
        return Look("nobody's copy was seen yet" if facts.appending_since is None else "an APPEND has no known outcome")
    if facts.files_sent == "yes" and (owed := _provider_owes_it(facts)) is not None:
        return owed
    if facts.appending_since is not None:
        safe = facts.appending_since + timedelta(seconds=APPEND_SETTLES)
        if facts.now < safe:
            return Wait(safe, "the server may still be at an APPEND whose outcome is not known")
    if facts.attempts >= TRIES:
        return Failed(facts.last_error or "the Sent copy could not be made", f"{facts.attempts} tries failed")
    if facts.promised and facts.files_sent == "yes":
        return Append("somebody relies on the provider's copy, and that did not come")
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


def _provider_owes_it(facts: Facts) -> Action | None:
    """None: it has had its time, and a client relies on us."""
    looks = (facts.accepted_at + timedelta(seconds=after) for after in LOOK_AGAIN)
    for look in looks:
        if facts.now < look:
            return Wait(look, "the provider files what it sends; its copy is late")
    if facts.promised:
        return None
    return Failed(MISSING, "the provider files what it sends, and its copy did not come; none is appended")


# --- a client's own upload ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """What is known of the Sent copy that a client begins to upload. `relayed`: the message went through us."""

    relayed: bool
    state: CopyState
    files_sent: FilesSent
    held: bool  # we still have the message
    age: float  # seconds since the provider took it
    by: FiledBy | None = None  # where a copy is there
    appending: bool = False  # an APPEND of ours is under way, or its outcome is not known
    alone: int = ALONE  # uploads so far that were held back for nothing
    waits_here: bool = False  # in our spool: the provider does not have it yet, and nobody but the client files a copy


@dataclass(frozen=True, slots=True)
class LetPass:
    """The upload goes to the server. `settles`: with that the Sent copy is there, or ours is one too many."""

    settles: bool
    because: str


@dataclass(frozen=True, slots=True)
class AnswerInstead:
    """The upload is answered and goes nowhere. `once_seen`: only after another look has found the copy there."""

    once_seen: bool
    because: str


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Wait for the provider's copy for UPLOAD_HELD seconds, then ask again, with this one counted."""

    because: str


def upload(facts: UploadFacts) -> LetPass | AnswerInstead | HoldBack:
    """What becomes of a client's upload to Sent."""
    if not facts.relayed or facts.state is CopyState.NOT_WANTED:
        return LetPass(False, "the message is none whose Sent copy is ours to see to")
    if facts.waits_here and facts.files_sent == "yes" and facts.state is CopyState.WAITING and facts.held:
        return AnswerInstead(False, "the provider will file it as soon as it can be sent")
    if facts.waits_here:
        return LetPass(facts.state is not CopyState.PRESENT, "nobody else files it before it is sent")
    ours = facts.appending or (facts.state is CopyState.PRESENT and facts.by is FiledBy.PROXYD)
    if ours:
        return LetPass(True, "the client's stays and ours goes")
    if facts.age > UPLOAD_WITHIN:
        return LetPass(facts.state is not CopyState.PRESENT, "it was sent too long ago for a late upload of it")
    if facts.files_sent == "unknown" and facts.state is CopyState.PRESENT and facts.by is FiledBy.PROVIDER:
        return AnswerInstead(True, "the provider's copy is there")
    if facts.files_sent == "unknown" and facts.state is CopyState.WAITING and facts.held and facts.alone < ALONE:
        return HoldBack("nobody knows yet whether the provider files what it sends")
    if facts.files_sent != "yes":
        return LetPass(facts.state is not CopyState.PRESENT, "the provider does not file what it sends")
    if facts.state is CopyState.PRESENT:
        return AnswerInstead(True, "the provider's copy is there")
    if facts.state is CopyState.WAITING and facts.held:
        return AnswerInstead(False, "the provider files what it sends, and the message is kept until it has")
    return LetPass(True, "the provider's copy did not come")


def who_filed(heading: Heading, same_ids: bool) -> FiledBy:
    """Who put a copy there that we did not append ourselves.

    `same_ids`: it carries a Message-ID that the message was sent under. A server leaves traces: Received, Return-Path,
    an id of its own with the original beside it. A client uploads what it composed, some without any id.
    """
    another_id = bool(heading.message_id) and not same_ids
    by_server = heading.filed_by_transport or bool(heading.original_ids) or another_id
    return FiledBy.PROVIDER if by_server else FiledBy.CLIENT


def habit(setting: FilesSent, known: str | None) -> FilesSent:
    """Does the provider file what it sends? The account's setting; where that says nothing, what was `learned`."""
    return "yes" if setting == "unknown" and known == "yes" else setting


def learned(known: str, submission: str, copies: tuple[Copy, ...]) -> str:
    """What is known of the provider's habit after the copies of one more submission were seen.

    `known` is "" at first. One sighting is remembered by its submission ("once ID"), the second one of another counts
    ("yes"): a client that uploads under an id of its own may look like a provider once.
    """
    if known == "yes" or not any(copy.by is FiledBy.PROVIDER for copy in copies):
        return known
    return "yes" if known and known != f"once {submission}" else f"once {submission}"
