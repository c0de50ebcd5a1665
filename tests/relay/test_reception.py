"""What is decided of a message while it arrives, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.message import message_ids
from proxyd.relay.reception import ID_LIMIT, addresses_of, new_message_id
from tests.relay.house import account


@pytest.mark.parametrize(
    ("sender", "right"),
    [
        ("ada@example.com", "example.com"),
        ("ada@Example.COM", "example.com"),
        ("ada@bücher.example", "xn--bcher-kva.example"),
        ("ada@[127.0.0.1]", "localhost"),
        ("ada@a.very.long.name.of.a.department.of.some.organisation.example", "organisation.example"),
        ("ada@" + "x" * 80, "x" * 37),
        ("nobody", "localhost"),
    ],
)
def test_new_message_id(sender: str, right: str) -> None:
    id = new_message_id(sender)
    left, _, domain = id.partition("@")
    assert len(left) == 24
    assert domain == right or domain.endswith(right)
    assert len(f"<{id}>") <= ID_LIMIT


@given(st.text())
def test_any_sender_gives_an_id_that_reads_back(sender: str) -> None:
    id = new_message_id(sender)
    assert id.isascii()
    assert message_ids(f"<{id}>") == (id,)
    assert len(id) + 2 <= ID_LIMIT


def test_addresses_of_an_account() -> None:
    mine = addresses_of(account("ada@example.com", "Sales@BÜCHER.example"))
    assert mine == {"ada@example.com": "ada@example.com", "sales@xn--bcher-kva.example": "sales@bücher.example"}
