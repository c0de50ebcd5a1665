"""What an address is without its tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.rules.plus_tags import same_mailbox, untagged

ROWS = [
    ("jane+news@example.com", "jane@example.com"),
    ("jane+a+b@example.com", "jane@example.com"),
    ("jane+@example.com", "jane@example.com"),
    ("jane@example.com", "jane@example.com"),
    ("+jane@example.com", "+jane@example.com"),  # nothing would be left
    ('"a+b"@example.com', '"a+b"@example.com'),
    ("jane@plus+tag.example", "jane@plus+tag.example"),
    ("jane+news", "jane+news"),  # no address
    ("", ""),
]


@pytest.mark.parametrize(("key", "bare"), ROWS)
def test_the_tag_and_no_more_is_left_out(key: str, bare: str) -> None:
    assert untagged(key) == bare


@given(st.text())
def test_once_is_enough(key: str) -> None:
    assert untagged(untagged(key)) == untagged(key)


@pytest.mark.parametrize(
    ("plus_tags", "found"), [("apart", {"b@x.test"}), ("folded", {"a+1@x.test", "b@x.test", "c@x.test"})]
)
def test_who_is_among_the_others(plus_tags: str, found: set[str]) -> None:
    asked, there = ["a+1@x.test", "b@x.test", "c@x.test", "d@x.test"], ["a@x.test", "b@x.test", "c+9@x.test"]
    assert same_mailbox(asked, there, plus_tags) == found  # type: ignore[arg-type]
