"""Is a person to be told of an account's trouble now? Once, then once a day until it is over, and once when it is.

What needs a person is told at once. What only time heals is told when it has lasted an hour: a provider that restarts,
a train in a tunnel, are nobody's business. Another trouble in the place of the first is told anew. What only the
records know (`rules.record_troubles`) is told by the same calendar; that it is over shows in `proxyd status`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from proxyd.model import Health
from proxyd.rules.connection import NEEDS_A_PERSON, Condition
from proxyd.rules.record_troubles import RecordTrouble

PATIENCE = timedelta(hours=1)
REMIND = timedelta(days=1)


class Occasion(StrEnum):
    TROUBLE = "trouble"
    REMINDER = "reminder"
    HEALED = "healed"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last: of which state, or of which trouble of the records, and when."""

    state: str
    at: datetime


def occasion(told: Told | None, condition: Condition, now: datetime) -> Occasion | None:
    """What is to be told now, if anything. `told`: what was told of this trouble last."""
    state = condition.state
    if state is Health.CONNECTED:
        return Occasion.HEALED if told else None
    if state is Health.CONNECTING:
        return None
    if state not in NEEDS_A_PERSON and now - condition.since < PATIENCE:
        return None
    if told is None or (told.state != state and state in NEEDS_A_PERSON):
        return Occasion.TROUBLE
    return Occasion.REMINDER if now - told.at >= REMIND else None


def of_records(told: Told | None, trouble: RecordTrouble | None, now: datetime) -> Occasion | None:
    """The same for one kind of what only the records know."""
    if trouble is None:
        return None
    if told is None or told.state != trouble.mark:
        return Occasion.TROUBLE
    return Occasion.REMINDER if now - told.at >= REMIND else None


def after(what: Occasion, condition: Condition, now: datetime) -> Told | None:
    """What is to be remembered when it was told."""
    return None if what is Occasion.HEALED else Told(condition.state, now)


def kept(told: Told | None) -> str:
    """As it is written down, so that a restart tells nobody anything twice."""
    return json.dumps({"state": told.state, "at": told.at.isoformat()}) if told else ""


def restored(text: str | None) -> Told | None:
    try:
        written = json.loads(text or "")
        return Told(str(written["state"]), datetime.fromisoformat(written["at"]))
    except (ValueError, KeyError, TypeError):
        return None
