"""What a sign-in server's refusal means, and how long an access token will do."""

from __future__ import annotations

import pytest

from proxyd.rules.grants import Meaning, fresh_enough, meaning


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
        (503, None, Meaning.LATER),
        (429, "invalid_grant", Meaning.LATER),
        (400, "temporarily_unavailable", Meaning.LATER),
        (400, "slow_down", Meaning.LATER),
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
    ],
)
def test_an_access_token_in_its_last_moments_is_replaced(left: float, lifetime: float, enough: bool) -> None:
    assert fresh_enough(1000.0 + left, lifetime, 1000.0) is enough
