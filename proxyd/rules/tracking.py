"""Is this message tracked? The first line that speaks decides; every answer says why.

1. `X-CRM-Log: no` wins over everything.
2. `X-CRM-Log: yes` wins over everything else, `never_log` and `track: nothing` too.
3. An address on `never_log` among sender or recipients: not logged.
4. `track: nothing`: not logged.
5. log@crm.localhost, or the dropbox typed by the person: logged.
6. An answer in a tracked thread: logged.
7. `track` itself: everything but internal mail, or mail to contacts, or nothing more.

A reason for not logging outlives its message, so it never holds an address or a word of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from proxyd.model import LOG_ADDRESS, Heading, NotTracked, ThreadMatch, Tracked, Verdict, mailbox_key
from proxyd.rules.plus_tags import PlusTags, untagged

__all__ = ["LOG_ADDRESS", "NO_CONTACT", "TrackingSettings", "Verdict", "decide", "incoming", "only_for_log"]

NO_CONTACT = "no recipient is a known contact"

Track = Literal["everything", "contacts", "marked", "nothing"]
Incoming = Literal["replies", "contacts", "nothing"]


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """What an account says about logging (CONTRACT section 1)."""

    address: str
    aliases: tuple[str, ...] = ()
    track: Track = "contacts"
    never_log: tuple[str, ...] = ()  # addresses; `*` stands for any characters
    dropbox: str | None = None
    incoming: Incoming = "replies"
    plus_tags: PlusTags = "apart"


def decide(
    account: TrackingSettings,
    heading: Heading,
    recipients: Sequence[str],
    *,
    contacts: frozenset[str],
    answers: str | None,
) -> Verdict:
    """Of a message that the person sends.

    `recipients` are all of the envelope (blind ones too); `contacts` are the mailbox keys of the known contacts among
    them; `answers` is our record's id of the tracked message that this one answers.
    """
    if heading.crm_log is False:
        return NotTracked("X-CRM-Log: no")
    if heading.crm_log is True:
        return Tracked("X-CRM-Log: yes")
    if _never(account, (*recipients, *_people(heading))):
        return NotTracked("an address on never_log")
    if account.track == "nothing":
        return NotTracked("track: nothing")
    keys = [mailbox_key(each) for each in recipients]
    if mailbox_key(LOG_ADDRESS) in keys:
        return Tracked(f"recipient {LOG_ADDRESS} marks it")
    if account.dropbox and mailbox_key(account.dropbox) in keys:
        return Tracked("the dropbox among the recipients marks it")
    if answers is not None:
        return Tracked(f"answers {answers}")
    if account.track == "marked":
        return NotTracked("track: marked, and nothing marks it")
    if account.track == "everything":
        if keys and all(_internal(account, key) for key in keys):
            return NotTracked("internal mail")
        return Tracked("track: everything")
    for address, key in zip(recipients, keys, strict=True):
        if key in contacts:
            return Tracked(f"recipient {address.strip()} is a contact")
    return NotTracked(NO_CONTACT)


def incoming(
    account: TrackingSettings,
    heading: Heading,
    *,
    contacts: frozenset[str] = frozenset(),
    match: ThreadMatch | None = None,
    report: bool = False,
) -> Verdict:
    """Of a message that came in; `contacts` are the mailbox keys of the known contacts among its authors.

    A `report` on a tracked message comes from a mail system, which may well bear the domain that keeps colleagues out.

    X-CRM-Log is the person's own word: in other people's mail it says nothing.
    """
    if account.incoming == "nothing":
        return NotTracked("incoming: nothing")
    if not report and _never(account, _people(heading)):
        return NotTracked("an address on never_log")
    if match is not None:
        return Tracked(match.because)
    if account.incoming == "replies":
        return NotTracked("answers no tracked message")
    for author in heading.from_:
        if mailbox_key(author.address) in contacts:
            return Tracked(f"sender {author.address} is a contact")
    return NotTracked("answers no tracked message, and no author is a known contact")


def only_for_log(recipients: Sequence[str]) -> bool:
    """Is this mail for the log alone, and to be sent to nobody?"""
    return bool(recipients) and all(mailbox_key(each) == mailbox_key(LOG_ADDRESS) for each in recipients)


def _people(heading: Heading) -> Iterable[str]:
    named = (*heading.from_, *heading.sender, *heading.to, *heading.cc, *heading.bcc)
    return (each.address for each in named)


def _own(account: TrackingSettings) -> frozenset[str]:
    return frozenset(mailbox_key(each) for each in (account.address, *account.aliases))


def _internal(account: TrackingSettings, key: str) -> bool:
    return key in _own(account) or key.rpartition("@")[2] == mailbox_key(account.address).rpartition("@")[2]


def _never(account: TrackingSettings, addresses: Iterable[str]) -> bool:
    """Is one of `addresses` on `never_log`?

    The person's own addresses are in every one of their messages. A pattern with `*` is not about them: else the
    `*@example.com` that keeps colleagues out would keep out all mail. Written out in full, an own address counts.
    """
    own = _own(account)
    keys = {mailbox_key(each) for each in addresses}
    if account.plus_tags == "folded":
        own |= {key for key in keys if untagged(key) in own}
        keys |= {untagged(key) for key in keys}
    patterns = [_pattern(each) for each in account.never_log]
    return any(_matches(pattern, key) for pattern in patterns for key in (keys - own if "*" in pattern else keys))


def _pattern(written: str) -> str:
    """A bare domain means everybody in it."""
    pattern = written.strip()
    if "@" not in pattern and "*" not in pattern:
        pattern = "@" + pattern
    return mailbox_key("*" + pattern if pattern.startswith("@") else pattern)


def _matches(pattern: str, key: str) -> bool:
    """`*` stands for any characters; no other character is special. Linear, whatever stands in the pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return key == pattern
    if not key.startswith(first):
        return False
    *middle, last = rest
    position = len(first)
    for piece in middle:
        found = key.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return key.endswith(last) and len(key) - len(last) >= position
