"""What a sign-in server's refusal means, and how long an access token will do."""

from __future__ import annotations

import pytest

from proxyd.rules.grants import Meaning, ask_again, asked_for, fresh_enough, meaning, renew_after, renewal_due


@pytest.mark.parametrize(
    ("status", "error", "means"),
    [
        (400, "invalid_grant", Meaning.REVOKED),  # Google and Microsoft: revoked, expired, password changed
        (400, "interaction_required", Meaning.REVOKED),  # Microsoft: the organisation now asks for a second factor
        (400, "consent_required", Meaning.REVOKED),
        (403, "access_denied", Meaning.REVOKED),
        (401, "invalid_client", Meaning.SETTINGS),
        (400, "unauthorized_client", Meaning.SETTINGS),
        (400, "invalid_scope", Meaning.SETTINGS),
        (400, "something new", Meaning.SETTINGS),
        (500, "invalid_grant", Meaning.LATER),  # a server that is unwell is not believed
        (503, None, Meaning.NOT_NOW),
        (429, "invalid_grant", Meaning.NOT_NOW),
        (400, "temporarily_unavailable", Meaning.NOT_NOW),
        (400, "slow_down", Meaning.NOT_NOW),
        (404, None, Meaning.LATER),  # no OAuth server: a proxy, a hotel's page
        (200, None, Meaning.LATER),
    ],
)
def test_a_refusal(status: int, error: str | None, means: Meaning) -> None:
    assert meaning(status, error) is means


@pytest.mark.parametrize(
    ("left", "lifetime", "enough"),
    [
        (3600, 3600, True),
        (61, 3600, True),
        (60, 3600, False),
        (2, 10, True),
        (1, 10, False),
        (0, 0, False),
        (-5, 3600, False),
        (7200, 3600, False),  # given while our clock was ahead
    ],
)
def test_an_access_token_in_its_last_moments_is_replaced(left: float, lifetime: float, enough: bool) -> None:
    assert fresh_enough(1000.0 + left, lifetime, 1000.0) is enough


@pytest.mark.parametrize(
    ("left", "lifetime", "jitter", "wait"),
    [
        pytest.param(3600, 3600, 0.0, 2880, id="an hour's, from twelve minutes before its end"),
        pytest.param(3600, 3600, 0.999, 3239.64, id="to six minutes before it"),
        pytest.param(600, 3600, 0.0, 5, id="due"),
        pytest.param(-9, 3600, 0.5, 5, id="ended"),
        pytest.param(1, 1, 0.5, 5, id="nobody is asked every second"),
        pytest.param(1e8, 3600, 0.0, 2880, id="given while our clock was ahead"),
    ],
)
def test_an_access_token_is_renewed_ahead_of_need(left: float, lifetime: float, jitter: float, wait: float) -> None:
    assert renew_after(1000.0 + left, lifetime, 1000.0, jitter) == pytest.approx(wait)
    then = 1000.0 + renew_after(1000.0 + left, lifetime, 1000.0, jitter)
    assert renewal_due(1000.0 + left, lifetime, then), "when that time has come it is due"
    if lifetime >= left > lifetime / 5 and wait > 5:
        assert fresh_enough(1000.0 + left, lifetime, then), "and it is still good for a sign-in"


@pytest.mark.parametrize(("after", "seconds"), [(None, 0), (120, 120), (-5, 0), (86400, 3600)])
def test_who_asks_for_patience(after: float | None, seconds: float) -> None:
    assert asked_for(after) == seconds


@pytest.mark.parametrize(
    ("failures", "after", "seconds"), [(0, None, 1.5), (3, None, 12), (9, None, 60), (0, 90, 90), (9, 1, 60)]
)
def test_a_renewal_that_failed_is_tried_again(failures: int, after: float | None, seconds: float) -> None:
    assert ask_again(failures, 0.5, after) == seconds
