"""What becomes of a mail that the provider cannot be given now, where the account says `on_outage: spool`?

While the client waits for its answer (`at_hand_over`, `overdue`):

    what happened                                   the client hears         because
    the provider took it                            250, the provider's own  it has it
    refused for good (5xx)                          that 5xx                 the person is there, and can mend it now
    refused for now (4xx)                           250, it waits here       nothing was sent; another try may work
    no connection, or lost before the final dot     250, it waits here       nothing was sent; another try may work
    the same, and only a person can heal it         454 or 451, as without   no try would work: see below
    no answer in time, the final dot not sent yet   250, it waits here       nothing was sent; the try goes on as ours
    no answer in time, the final dot is sent        451, as without          only the provider knows; it may be joined
    connection lost after the final dot             250 if found, else 451   as without: see below

Only a person can heal it: the sign-in counts as refused (`rules.connection`: three times over two minutes), access was
withdrawn, or a setting is wrong. Whoever sends is at the screen at that moment, is the one who can mend it, and still
has the mail in front of them; a 250 would hide for days what they want to know at once. One refused sign-in is not that
yet: large providers refuse for minutes at a time, so until it is judged the mail is taken, and goes when that is over.
A mail that waits already is kept through all of it.

The connection is lost after the final dot: 250 would mean that we own a mail of which nobody may know whether it was
sent. Where looking does not find it, we could neither send it again (twice) nor leave it (lost). The person, who is
there, can ask. So the answer is that of `tempfail`.

Later, when it is tried from here (`after_try`):

    what happened                          then                              because
    the provider took it                   it is sent
    refused for good (5xx)                 given up, the person is told      no other try would change it
    refused for now (4xx)                  it waits, longer each time        it may be about this mail: the others go on
    not handed over                        the account's mails wait, all     it is about the connection
    connection lost after the final dot    it is looked for                  it may have been sent
    it has waited for `spool_for`          given up, the person is told      nobody expects it to arrive any more

An outcome that is not known, of a mail whose client heard 250 (`after_look`):

    found where only the provider puts it             it is sent
    not found for half an hour, and the provider      it is tried again      it always files what it took, and has not:
    is known to file what it sends                                           so it does not have it
    anything else                                     a person is told       absence proves nothing, and a mail client
                                                      and decides            may have filed its own copy at our 250

Nothing else is ever sent a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.model import Accepted, Health, NotAccepted, NotHandedOver, Outcome, OutcomeUnknown
from proxyd.rules import retry
from proxyd.rules.connection import NEEDS_A_PERSON
from proxyd.rules.sent_copy import LOOK_AGAIN, FilesSent

LONGEST_WAIT = retry.LONGEST  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Keep:
    """It waits here, and its client hears 250."""

    because: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """The client hears what it would hear without a spool."""

    because: str


def at_hand_over(outcome: Outcome, health: Health) -> Keep | PassOn:
    """`health`: of the account's SMTP side after this outcome."""
    match outcome:
        case NotHandedOver() if health in NEEDS_A_PERSON:
            return PassOn("only a person can heal it, and is there")
        case NotHandedOver():
            return Keep("it was not handed over")
        case NotAccepted(reply=reply) if not reply.permanent:
            return Keep("the provider refused it for now")
        case NotAccepted():
            return PassOn("the provider refused it for good")
        case Accepted():
            return PassOn("the provider has it")
        case OutcomeUnknown():
            return PassOn("it may have been sent")


def overdue(*, ended: bool) -> Keep | PassOn:
    """The client must be answered, and the provider has not; `ended`: the message's last octets were written."""
    if ended:
        return PassOn("it may be sent at any moment")
    return Keep("it is not handed over yet, and will be")


# --- tried from here -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waits:
    """`seconds` until it is tried again. `all_wait`: none of the account's mails is tried before."""

    seconds: float
    all_wait: bool
    because: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    because: str


@dataclass(frozen=True, slots=True)
class Ended:
    """It is sent, or it is to be looked for."""


def after_try(outcome: Outcome, attempts: int, jitter: float, rest: float) -> Waits | GiveUp | Ended:
    """`attempts`: tries of this mail that failed before. `rest`: seconds that the account is left alone for where the
    connection is the trouble (`rules.connection.retry_after`)."""
    match outcome:
        case NotAccepted(reply=reply) if reply.permanent:
            return GiveUp("the provider refused it for good")
        case NotAccepted():
            return Waits(retry.delay(attempts, jitter), False, "the provider refused it for now")
        case NotHandedOver():
            return Waits(rest, True, "it was not handed over")
        case Accepted() | OutcomeUnknown():
            return Ended()


def is_over(since: datetime, now: datetime, spool_for: float) -> bool:
    """Has it waited for too long? `spool_for` is in seconds."""
    return now - since >= timedelta(seconds=spool_for)


# --- looked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TryAgain:
    because: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    at: datetime


@dataclass(frozen=True, slots=True)
class AskThePerson:
    because: str


def after_look(
    tried_at: datetime, now: datetime, files_sent: FilesSent, *, alike: bool, settle: float
) -> TryAgain | LookAgain | AskThePerson:
    """Nothing was found that only the provider can have put there. `alike`: something that the client may have."""
    looks = LOOK_AGAIN if files_sent == "yes" else (settle,) if files_sent == "unknown" else ()
    for look in (tried_at + timedelta(seconds=after) for after in looks):
        if now < look:
            return LookAgain(look)
    if files_sent != "yes":
        return AskThePerson("the provider is not known to file what it sends")
    if alike:
        return AskThePerson("there is a copy, which the mail client may have put there")
    return TryAgain("the provider files what it sends, and has filed nothing: it does not have it")
