"""What the records know of trouble that somebody should hear of, in one sentence each, with the command that helps.

Six kinds: mail of which nobody knows whether it was sent; mail in the spool that could not be delivered, and that
waits for more than an hour; Sent copies, and copies to the CRM's address, that were given up; entries that a CRM
refused. Each is told as `rules.alerts` has it: once, and once a day while it stands.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.rules.sent_copy import MISSING

KINDS = ("unknown", "not_delivered", "spool", "sent_copies", "dropbox", "crm")
SETTLING = timedelta(minutes=10)  # in which most unknown outcomes turn out by themselves

PATIENCE = timedelta(hours=1)  # in which most outages end

_GIVEN_UP = {
    "sent_copies": "{count} Sent {copies} could not be filed in the last 7 days",
    "dropbox": "The CRM's address did not take {count} {copies} in the last 7 days",
}
_IN_WORDS = {MISSING: "the provider files what it sends, and its copy did not come"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A mail whose outcome is not known, since `since`."""

    message_id: str
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class RecordTrouble:
    """`mark` tells a new trouble of its `kind` from the one that was told."""

    kind: str
    mark: str
    sentence: str
    cure: str


def unknown(mails: Sequence[Unknown], now: datetime) -> RecordTrouble | None:
    """Each of them is told of, not only the first: only a person can find out, and only while they remember."""
    old = [each for each in mails if now - each.since >= SETTLING]
    if not old:
        return None
    newest = max(old, key=lambda each: each.since)
    more = f" (and of {len(old) - 1} more)" if len(old) > 1 else ""
    return RecordTrouble(
        "unknown", newest.message_id, f"{unknown_sentence(newest.why)}{more}", cure_of(newest.message_id)
    )


def unknown_sentence(why: str) -> str:
    return f"It is unknown whether a mail was sent ({why.rstrip('.')}). Ask its recipient before you send it again."


def cure_of(message_id: str) -> str:
    return f"proxyd settle {shlex.quote(message_id)}"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A mail in the spool, since `since`. Why the provider does not have it is not told: its words may name people."""

    id: str
    since: datetime


def spool(rows: Sequence[Mapping[str, str]], account: str, now: datetime) -> list[RecordTrouble]:
    """Of the account's mail in the spool, as documents have it (`state`, `id`, `since`). That of which nobody
    knows whether it was sent is told of by `unknown`."""
    mails = {
        state: [Spooled(each["id"], datetime.fromisoformat(each["since"])) for each in rows if each["state"] == state]
        for state in ("failed", "waiting")
    }
    found = (not_delivered(mails["failed"], account), waits_long(mails["waiting"], account, now))
    return [each for each in found if each is not None]


def not_delivered(mails: Sequence[Spooled], account: str) -> RecordTrouble | None:
    """Each of them is told of: its sender believes that it arrived."""
    if not mails:
        return None
    newest = max(each.id for each in mails)
    what = "A mail" if len(mails) == 1 else f"{len(mails)} mails"
    it = "it is" if len(mails) == 1 else "they are"
    sentence = f"{what} could not be delivered; {it} kept here until you try again, or drop it: see proxyd spool."
    return RecordTrouble("not_delivered", newest, sentence, f"proxyd spool retry --account {account}")


def waits_long(mails: Sequence[Spooled], account: str, now: datetime) -> RecordTrouble | None:
    """They are tried all the time; that they wait is a person's business after an hour."""
    first = min((each.since for each in mails), default=now)
    if now - first < PATIENCE:
        return None
    hours = round((now - first) / timedelta(hours=1))
    count = "1 mail waits" if len(mails) == 1 else f"{len(mails)} mails wait"
    sentence = f"{count} here for the provider, for {hours} {'hour' if hours == 1 else 'hours'} by now."
    return RecordTrouble("spool", "spool", sentence, f"proxyd spool --account {account}")


def given_up(kind: str, account: str, count: int, error: str) -> RecordTrouble:
    """`kind` is sent_copies or dropbox; `error` is what the newest of them came to."""
    words = _GIVEN_UP[kind].format(count=count, copies="copy" if count == 1 else "copies")
    last = f"; the last time: {_IN_WORDS.get(error, error)}" if error else ""
    return RecordTrouble(kind, kind, f"{words}{last.rstrip('.')}.", f"proxyd copies retry --account {account}")


def crm(sentences: Sequence[tuple[str, str]]) -> RecordTrouble | None:
    """`sentences`: of each CRM that lacks something, with the command that is typed once it is mended, or ""."""
    helped = [(sentence, cure) for sentence, cure in sentences if cure]
    if not helped:
        return None
    said = "; ".join(sentence for sentence, _ in helped)
    return RecordTrouble("crm", "crm", f"{said[0].upper()}{said[1:]}.", helped[0][1])
