"""May an answer have been read before the message that it answers was on record, and from when on is it looked for?

What a person sends from another device is known only from its copy in Sent, which a provider may file a minute late; a
machine answers within a second. An answer that a folder was slow to show, or that a server withheld for a while, may
have been answered itself meanwhile. A person takes some time for that: what is on record within a minute of being sent
to us has no answer yet.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from proxyd.model import Direction, Seen, Source

PROMPT = timedelta(seconds=60)
AT_ONCE = timedelta(seconds=5)
FRESH = timedelta(days=2)
SKEW = timedelta(hours=1)  # between our clock and those of the person's devices and the provider
LONGEST = timedelta(days=365)  # after which nobody answers


def looked_from(seen: Seen) -> datetime | None:
    """Since when answers to a message that is logged now may have been read; None: there are none.

    What a person asked to be gone through, as earlier mail, is gone through by other rules (`rules.backfill`), but for
    what is so fresh that it may be read as new mail meanwhile.
    """
    arrived = seen.found.internaldate or seen.heading.date or seen.at
    if seen.again is not None or (seen.source is Source.BACKFILL and seen.at - arrived > FRESH):
        return None
    moments = (each for each in (seen.heading.date, seen.found.internaldate, seen.at) if each is not None)
    sent_at = min(moments)
    return sent_at if seen.direction is Direction.OUTGOING or seen.at - sent_at > PROMPT else None


def renamed_late(sent_at: datetime, at: datetime) -> bool:
    """A name that the provider gave a message of ours is known only now: may an answer that names it have been read?"""
    return at - sent_at > AT_ONCE
