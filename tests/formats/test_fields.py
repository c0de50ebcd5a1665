"""The header section as octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.fields import fields, parts


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param(b"A: 1\r\nB: 2\r\n", [b"a", b"b"], id="two fields"),
        pytest.param(b"A: 1\r\n more\r\n\tand more\r\nB: 2\r\n", [b"a", b"b"], id="folded"),
        pytest.param(b"A: 1\n 2\nB: 3\n", [b"a", b"b"], id="LF"),
        pytest.param(b"A \t: 1\r\n", [b"a"], id="space before the colon"),
        pytest.param(b"From ada@x Mon 10:00\r\nA: 1\r\n", [b"", b"a"], id="an mbox line is no field"),
        pytest.param(b" stray\r\nA: 1\r\n", [b"", b"a"], id="a stray continuation"),
        pytest.param(b"no colon\r\nA: 1\r\n", [b"", b"a"], id="no colon"),
        pytest.param(b": 1\r\nA: 1", [b"", b"a"], id="no name; no line end"),
        pytest.param(b"\xc3\xa9: 1\r\n", [b""], id="a name that is not ASCII"),
        pytest.param(b"A:1\rB: 2\r\n", [b"a"], id="a lone CR ends no line"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_names(lines: bytes, names: list[bytes]) -> None:
    assert [each.name for each in fields(lines)] == names


def test_a_body_is_unfolded() -> None:
    (field,) = fields(b"A:  1\r\n 2\r\n\t3 \r\n")
    assert field.body == b"1 2\t3"


@given(st.one_of(st.binary(), st.lists(st.sampled_from([b"\r", b"\n", b" ", b"a", b":"])).map(b"".join)))
def test_no_octet_is_lost(octets: bytes) -> None:
    lines, rest = parts(octets)
    assert lines + rest == octets
    assert b"".join(each.raw for each in fields(lines)) == lines
