"""Who sees which account's conversations."""

from __future__ import annotations

import pytest

from proxyd.rules.visibility import accounts_seen_by

TEAM = {"ada@x.test": "team", "bob@x.test": "owner", "lin@x.test": "team"}


@pytest.mark.parametrize(
    ("person", "seen"),
    [
        ("ada@x.test", {"ada@x.test", "lin@x.test"}),
        ("Bob@X.test", {"ada@x.test", "bob@x.test", "lin@x.test"}),
        ("gone@x.test", {"ada@x.test", "lin@x.test"}),
    ],
)
def test_ones_own_and_what_the_team_may_see(person: str, seen: set[str]) -> None:
    assert accounts_seen_by(person, TEAM) == seen


def test_an_account_that_is_configured_no_longer_is_shown_to_nobody() -> None:
    assert "gone@x.test" not in accounts_seen_by("ada@x.test", TEAM)
