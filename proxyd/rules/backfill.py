"""How earlier mail is gone through: which folders, in which spans of time, by which way, and which of it is logged.

Span by span, the oldest first, every folder of a span before the next span begins: a question is in the log before its
answer, whatever folders they lie in. How far it got is then one date, which no server can renumber.

Where few contacts are looked for among many messages, the server is asked who wrote to whom (SEARCH FROM, TO, CC),
twenty contacts at a time; else the few fields of every message are read, two hundred at a time. Whichever takes fewer
commands is taken. Asking also reads fewer people's headers, but it is the server that reads: only of what it names are
the fields fetched. What the server finds is looked at all the same, for a search finds parts of addresses too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from proxyd.model import Direction, Heading, Tracked, mailbox_key
from proxyd.rules import tracking
from proxyd.rules.plus_tags import PlusTags, untagged
from proxyd.rules.watched_folders import Role, WatchedFolder

BATCH = 200  # messages whose fields are read by one command
ASKED = 20  # contacts that one search asks for: three keys each, a line of a few KB
SPANS = 52  # at most, where a span would else be shorter than a week
WEEK = timedelta(days=7)

_SEARCHABLE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.!#$&'*+-/=?^_`{|}~@")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message that is to be logged."""

    verdict: Tracked
    direction: Direction


def spans(since: date, until: date) -> Iterator[tuple[date, date]]:
    """From the day `since` to the day before `until`, each as (first day, day after the last)."""
    length = max(WEEK, timedelta(days=-(-(until - since).days // SPANS)))
    while since < until:
        end = min(since + length, until)
        yield since, end
        since = end


def folders(watched: Iterable[WatchedFolder]) -> list[WatchedFolder]:
    """Of what is looked at for answers, what is gone through: Junk is not, for nobody keeps mail there. Sent last:
    where it is another view of what lies elsewhere, the one there counts."""
    kept = [each for each in watched if each.role is not Role.JUNK]
    return sorted(kept, key=lambda each: each.role is Role.SENT)


def looked_for(contacts: Sequence[str], plus_tags: PlusTags) -> list[str]:
    """What a server is asked for, which looks for parts of addresses: the contacts' own, and where tags are folded how
    one with a tag begins."""
    if plus_tags == "apart":
        return list(contacts)
    bare = dict.fromkeys(untagged(each) for each in contacts)
    return [form for each in bare for form in (each, f"{each.rpartition('@')[0]}+")]


def asks_server(messages: int, addresses: Sequence[str]) -> bool:
    """Is asking the server for these addresses fewer commands than reading the fields of so many messages?"""
    if not all(_SEARCHABLE.issuperset(each) for each in addresses):
        return False
    return -(-len(addresses) // ASKED) < -(-messages // BATCH)


def settings(account: tracking.TrackingSettings) -> tracking.TrackingSettings:
    """What the account says of logging, as it counts here: the person has asked for mail with contacts, no more, no
    less. `never_log` stays."""
    return replace(account, track="contacts", incoming="contacts", dropbox=None)


def wanted(
    account: tracking.TrackingSettings, heading: Heading, contacts: frozenset[str], *, sent: bool
) -> Wanted | None:
    """Is this message logged? `account` is by `settings`; `contacts` are the mailbox keys of those contacts that it
    names; `sent`: it lies in the Sent folder."""
    own = {mailbox_key(each) for each in (account.address, *account.aliases)}
    if sent or own & {mailbox_key(each.address) for each in heading.from_}:
        recipients = [each.address for each in (*heading.to, *heading.cc)]
        verdict = tracking.decide(account, heading, recipients, contacts=contacts, answers=None)
        return Wanted(verdict, Direction.OUTGOING) if isinstance(verdict, Tracked) else None
    verdict = tracking.incoming(account, heading, contacts=contacts)
    return Wanted(verdict, Direction.INCOMING) if isinstance(verdict, Tracked) else None


def people(headings: Iterable[Heading]) -> set[str]:
    """The mailbox keys that may make a message wanted."""
    return {mailbox_key(one.address) for each in headings for one in (*each.from_, *each.to, *each.cc)}
