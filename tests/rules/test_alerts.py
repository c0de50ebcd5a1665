"""Once, a reminder a day, and once when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from proxyd.model import Health
from proxyd.rules.alerts import Occasion, Told, after, kept, occasion, of_records, restored
from proxyd.rules.connection import Condition, Side
from proxyd.rules.record_troubles import RecordTrouble

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def condition(state: Health, since: datetime = START) -> Condition:
    return Condition(since, (Side("IMAP", state, since, since, "words"),))


@pytest.mark.parametrize(
    ("told", "state", "later", "what"),
    [
        pytest.param(None, Health.CONNECTED, 0, None, id="all is well"),
        pytest.param(None, Health.CONNECTING, 99, None, id="connecting is no trouble"),
        pytest.param(None, Health.PASSWORD_REFUSED, 0, Occasion.TROUBLE, id="what needs a person at once"),
        pytest.param(None, Health.MISCONFIGURED, 0, Occasion.TROUBLE, id="misconfigured"),
        pytest.param(None, Health.ACCESS_REVOKED, 0, Occasion.TROUBLE, id="revoked"),
        pytest.param(None, Health.UNREACHABLE, 0.9, None, id="a tunnel"),
        pytest.param(None, Health.UNREACHABLE, 1, Occasion.TROUBLE, id="an hour"),
        pytest.param(None, Health.THROTTLED, 1, Occasion.TROUBLE, id="not now, for an hour"),
        pytest.param((Health.UNREACHABLE, 1), Health.UNREACHABLE, 24.9, None, id="told already"),
        pytest.param((Health.UNREACHABLE, 1), Health.UNREACHABLE, 25, Occasion.REMINDER, id="a day later"),
        pytest.param((Health.UNREACHABLE, 1), Health.PASSWORD_REFUSED, 2, Occasion.TROUBLE, id="another trouble"),
        pytest.param((Health.PASSWORD_REFUSED, 0), Health.UNREACHABLE, 2, None, id="what is less is no news"),
        pytest.param((Health.PASSWORD_REFUSED, 0), Health.CONNECTING, 2, None, id="it is not over yet"),
        pytest.param((Health.PASSWORD_REFUSED, 0), Health.CONNECTED, 2, Occasion.HEALED, id="it is over"),
    ],
)
def test_what_is_told(told: tuple[Health, float] | None, state: Health, later: float, what: Occasion | None) -> None:
    before = Told(told[0], START + told[1] * HOUR) if told else None
    assert occasion(before, condition(state), START + later * HOUR) is what


@pytest.mark.parametrize(
    ("told", "mark", "later", "what"),
    [
        pytest.param(None, None, 0, None, id="nothing"),
        pytest.param(None, "a", 0, Occasion.TROUBLE, id="at once"),
        pytest.param("a", "a", 23.9, None, id="told already"),
        pytest.param("a", "a", 24, Occasion.REMINDER, id="a day later"),
        pytest.param("a", "b", 1, Occasion.TROUBLE, id="another one"),
        pytest.param("a", None, 1, None, id="over"),
    ],
)
def test_what_the_records_know(told: str | None, mark: str | None, later: float, what: Occasion | None) -> None:
    trouble = None if mark is None else RecordTrouble("unknown", mark, "It is so.", "proxyd explain x")
    assert of_records(Told(told, START) if told else None, trouble, START + later * HOUR) is what


def test_what_was_told_outlives_a_restart() -> None:
    ill, now = condition(Health.PASSWORD_REFUSED), START + HOUR
    told = after(Occasion.TROUBLE, ill, now)
    assert restored(kept(told)) == told == Told(Health.PASSWORD_REFUSED, now)
    assert after(Occasion.HEALED, condition(Health.CONNECTED), now) is None
    assert kept(None) == ""
    for unreadable in (None, "", "[]", "{}", '{"state": "x", "at": ""}'):
        assert restored(unreadable) is None
