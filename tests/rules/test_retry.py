"""The waits between tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.rules.retry import LONGEST, delay


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [
        pytest.param(0, 1, 2, id="the first wait is a second or two"),
        pytest.param(1, 2, 4, id="then it doubles"),
        pytest.param(5, 32, 64, id="and doubles"),
        pytest.param(9, 450, 900, id="up to a quarter of an hour"),
        pytest.param(10**9, 450, 900, id="and never more, however long it fails"),
        pytest.param(-1, 1, 2, id="an attempt below the first counts as the first"),
    ],
)
def test_waits(attempt: int, least: float, most: float) -> None:
    assert delay(attempt, 0.0) == least
    assert least < delay(attempt, 0.5) < most
    assert delay(attempt, 0.999) < most


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_is_always_between_a_second_and_a_quarter_of_an_hour(attempt: int, jitter: float) -> None:
    assert 1 <= delay(attempt, jitter) <= LONGEST
