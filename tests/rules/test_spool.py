"""What becomes of a mail that the provider cannot be given: every row of the three tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxyd.model import (
    Accepted,
    Health,
    HealthCause,
    HealthEvent,
    NotAccepted,
    NotHandedOver,
    OutcomeUnknown,
    SmtpReply,
)
from proxyd.rules.spool import (
    AskThePerson,
    Ended,
    GiveUp,
    Keep,
    LookAgain,
    PassOn,
    TryAgain,
    Waits,
    after_look,
    after_try,
    at_hand_over,
    is_over,
    overdue,
)

TAKEN = Accepted(SmtpReply(250, ("OK",)))
NEVER = NotAccepted(SmtpReply(550, ("5.1.1 no such user",)))
LATER = NotAccepted(SmtpReply(451, ("4.3.2 not now",)))
AWAY = NotHandedOver("no route", HealthEvent(HealthCause.UNREACHABLE, "SMTP"))
UNCLEAR = OutcomeUnknown("cut")
AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outcome", "health", "kept"),
    [
        pytest.param(TAKEN, Health.CONNECTED, False, id="taken"),
        pytest.param(NEVER, Health.CONNECTED, False, id="refused for good"),
        pytest.param(LATER, Health.CONNECTED, True, id="refused for now"),
        pytest.param(AWAY, Health.UNREACHABLE, True, id="out of reach"),
        pytest.param(AWAY, Health.THROTTLED, True, id="throttled"),
        pytest.param(AWAY, Health.CONNECTING, True, id="refused a sign-in that is still judged"),
        pytest.param(AWAY, Health.PASSWORD_REFUSED, False, id="the password counts as wrong"),
        pytest.param(AWAY, Health.ACCESS_REVOKED, False, id="access withdrawn"),
        pytest.param(AWAY, Health.MISCONFIGURED, False, id="a wrong setting"),
        pytest.param(UNCLEAR, Health.UNREACHABLE, False, id="lost behind the final dot"),
    ],
)
def test_while_the_client_waits(outcome: Any, health: Health, kept: bool) -> None:
    assert isinstance(at_hand_over(outcome, health), Keep if kept else PassOn)


def test_when_the_client_must_be_answered() -> None:
    assert isinstance(overdue(ended=False), Keep)
    assert isinstance(overdue(ended=True), PassOn), "it may be sent at any moment"


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (TAKEN, Ended()),
        (UNCLEAR, Ended()),
        (NEVER, GiveUp("the provider refused it for good")),
        (LATER, Waits(12.0, False, "the provider refused it for now")),  # the fourth wait: 8 s, and half of that
        (AWAY, Waits(60.0, True, "it was not handed over")),
    ],
)
def test_tried_from_here(outcome: Any, then: Any) -> None:
    assert after_try(outcome, 3, 0.5, 60.0) == then


def test_nobody_expects_it_any_more() -> None:
    assert not is_over(AT, AT + timedelta(hours=95), 4 * 86400.0)
    assert is_over(AT, AT + timedelta(hours=96), 4 * 86400.0)


@pytest.mark.parametrize(
    ("seconds", "files_sent", "alike", "then"),
    [
        (0, "yes", False, LookAgain(AT + timedelta(seconds=60))),
        (61, "yes", False, LookAgain(AT + timedelta(seconds=300))),
        (1799, "yes", False, LookAgain(AT + timedelta(seconds=1800))),
        (1800, "yes", False, TryAgain),
        (1800, "yes", True, AskThePerson),
        (0, "unknown", False, LookAgain(AT + timedelta(seconds=20))),
        (20, "unknown", False, AskThePerson),
        (86400, "unknown", False, AskThePerson),
        (0, "no", False, AskThePerson),
        (86400, "no", True, AskThePerson),
    ],
)
def test_looked_for_and_not_found(seconds: int, files_sent: Any, alike: bool, then: Any) -> None:
    step = after_look(AT, AT + timedelta(seconds=seconds), files_sent, alike=alike, settle=20.0)
    assert step == then if isinstance(then, LookAgain) else isinstance(step, then)
