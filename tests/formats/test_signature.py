"""Where a signature is marked, and where none is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.signature import signature


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dear Grace,\nyes.\n\n-- \nAda Lovelace\nExample Ltd\n", "Ada Lovelace\nExample Ltd"),
        ("Yes.\n--\nAda", "Ada"),
        ("Yes.\n--\u00a0\nAda", "Ada"),
        ("Yes.\n\nSent from my iPhone", "Sent from my iPhone"),
        ("Ja.\n\nVon meinem iPhone gesendet", "Von meinem iPhone gesendet"),
        ("Yes.\n-- \none\n-- \ntwo", "two"),
        ("Yes.\n", ""),
        ("", ""),
        ("Sent from my iPhone", ""),  # that is all there is: it is the message
        ("a\n--- \nb", ""),
        ("a\n-- \n" + "line\n" * 40, ""),
        ("a\n-- ", ""),
    ],
)
def test_the_signature_is_what_stands_below_its_line(text: str, found: str) -> None:
    assert signature(text) == found


@given(st.text(alphabet="a- \n\u00a0", max_size=200))
def test_it_is_always_a_part_of_the_text(text: str) -> None:
    assert signature(text) in text
