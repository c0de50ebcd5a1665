"""What came of a try to hand a spooled mail over, for the record (`rules.spool.after_try`)."""

from __future__ import annotations

from datetime import datetime, timedelta

from proxyd.model import (
    Accepted,
    Event,
    NotAccepted,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    SendUnknown,
    Sent,
    Spooled,
    Undeliverable,
)
from proxyd.relay import answers
from proxyd.rules import spool


def event(
    id: str, outcome: Outcome, verdict: spool.Waits | spool.GiveUp | spool.Ended, people: int, at: datetime
) -> Event:
    """`people`: whom the person named. What waits because of the connection is due as soon as that is well."""
    match outcome:
        case Accepted():
            return Sent(id, outcome.reply, at, outcome.without)
        case OutcomeUnknown():
            return SendUnknown(id, outcome.why, at)
        case NotAccepted():
            said = answers.not_accepted(outcome, people)
            if isinstance(verdict, spool.Waits):
                return Spooled(id, said.text, at + timedelta(seconds=verdict.seconds), at)
            return Undeliverable(id, said.text, at, outcome.reply)
        case NotHandedOver():
            return Spooled(id, outcome.why, at, at)
