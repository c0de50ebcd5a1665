"""The kinds of value: what each takes, and that none takes anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.fields import (
    Endpoint,
    duration,
    duration_text,
    endpoint,
    is_loopback,
    is_mail_address,
    size,
)
from proxyd.config.problems import NotAccepted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:1587", Endpoint("127.0.0.1", 1587)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("[::1]:65535", Endpoint("::1", 65535)),
        ("mail.example.com:465", Endpoint("mail.example.com", 465)),
    ],
)
def test_an_endpoint(text: str, expected: Endpoint) -> None:
    assert endpoint(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text", ["", ":25", "25", "host", "host:", "host:65536", "::1:25", "[::1]", "[x]:25", "300.0.0.1:25", "a b:25"]
)
def test_no_endpoint(text: str) -> None:
    with pytest.raises(NotAccepted):
        endpoint(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.3", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost.example", False),
        ("192.0.2.1", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(("text", "seconds"), [("20s", 20), ("5m", 300), ("9h", 32400), ("400d", 34560000), ("0s", 0)])
def test_a_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "20", "s", "20 s", "-20s", "1.5h", "20S", "20sec", "1h30m", "٣s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(NotAccepted):
        duration(text)


@given(st.integers(0, 10**6))
def test_a_durations_text_reads_as_the_same(seconds: int) -> None:
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(("text", "octets"), [("25MB", 25_000_000), ("1kB", 1000), ("500KB", 500_000), ("7B", 7)])
def test_a_size(text: str, octets: int) -> None:
    assert size(text) == octets


@pytest.mark.parametrize("text", ["25", "25 MB", "MB", "-1MB", "25mb", "1.5GB"])
def test_no_size(text: str) -> None:
    with pytest.raises(NotAccepted):
        size(text)


@pytest.mark.parametrize(
    "text",
    ["ada@example.com", "ada+x@localhost", "ада@пример.example", "o'hara@x.example", "a.b-c_d@xn--e1afmkfd.example"],
)
def test_an_address(text: str) -> None:
    assert is_mail_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a b@c.example",
        "<a@b.example>",
        "a@b@c",
        "a@b..c",
        "a@-b",
        "a@b,c@d",
        '"a"@b',
    ],
)
def test_no_address(text: str) -> None:
    assert not is_mail_address(text)


@given(st.text(max_size=40))
def test_readers_raise_nothing_else(text: str) -> None:
    for read in (endpoint, duration, size):
        try:
            read(text)
        except NotAccepted:
            continue
    is_mail_address(text)
    is_loopback(text)
