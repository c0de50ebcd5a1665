"""How many IMAP connections the account may have at its provider, and who of us gets them: clients first.

The provider's cap counts every device of the person, not only what goes through proxyd, so that two places stay free.
Where the provider has said "too many", what stood then is all that there is, and that is believed for an hour. The
watcher gives way to clients: from two connections to one, from one to none; with none it still has a short look every
few minutes, on one of the places kept free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

KEPT_FREE = 2  # places below the provider's cap, for what does not go through proxyd
WATCHER = 2  # connections that the watcher has where nobody else wants them
BELIEVED = timedelta(hours=1)  # how long "too many" is believed

_TOO_MANY = re.compile(
    r"\[(?:LIMIT|INUSE)\]|^421\b|too many (?:[\w-]+ ){0,4}(?:connections|sessions|logins)\b"
    r"|maximum number of connections|connections? limit|limit of connections",
    re.IGNORECASE,
)


def says_too_many(said: str) -> bool:
    """Whether a server's words, at connecting or signing in, are about how many connections there are."""
    return _TOO_MANY.search(said) is not None


@dataclass(frozen=True, slots=True)
class Learned:
    """The provider would not have one more than `connections` of ours, and said so in the words of `evidence`."""

    connections: int
    until: datetime
    evidence: str = ""

    @property
    def fact(self) -> str:
        """As it is remembered; `learned_of` reads it."""
        return f"{self.connections} {self.until.isoformat()} {self.evidence}"


def learned_of(fact: str | None) -> Learned | None:
    """What was remembered; None where nothing was, or nothing that can be read."""
    count, _, rest = (fact or "").partition(" ")
    until, _, evidence = rest.partition(" ")
    try:
        return Learned(int(count), datetime.fromisoformat(until), evidence)
    except ValueError:
        return None


def learn(standing: int, now: datetime, evidence: str) -> Learned:
    """After "too many", while `standing` others of ours stood. One place is always taken to be there."""
    return Learned(max(standing, 1), now + BELIEVED, evidence)


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds now. `cap` is the provider's; `ours` how many of it proxyd takes; `evidence` why it is less."""

    cap: int
    ours: int
    evidence: str = ""

    def takes_client(self, clients: int) -> bool:
        """May one more client connect, where so many do? The watcher's connections do not count: it gives way."""
        return clients < self.ours

    def watcher(self, clients: int) -> int:
        """How many connections the watcher may have beside so many clients."""
        return max(0, min(WATCHER, self.ours - clients))

    def told(self, clients: int, guests: int = 0) -> str:
        """How the mailbox is watched, for a person. `guests` are connections that go through earlier mail."""
        why = f"{clients} client connection{'' if clients == 1 else 's'}"
        if guests:
            why = f"{why}, and earlier mail is gone through"
        if self.evidence:
            why = f"{why}, the provider allows {self.ours} for now: {self.evidence}"
        match self.watcher(clients + guests):
            case 0:
                return f"paused, but for a look every few minutes: {why}"
            case 1:
                return f"by one connection: {why}"
        return "all the time"


def limit(cap: int, learned: Learned | None, now: datetime) -> Limit:
    """`cap` is the setting `connections`."""
    ours = max(cap - KEPT_FREE, 1)
    if learned is not None and now < learned.until and learned.connections < ours:
        return Limit(learned.connections, learned.connections, learned.evidence)
    return Limit(cap, ours)
