"""Initial responses with an access token, octet for octet, and what a server says when it refuses one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats import sasl


def test_xoauth2() -> None:
    """Google's own example: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol."""
    made = sasl.token_response(
        "XOAUTH2", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "h", 993
    )
    wanted = "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
    assert base64.b64decode(made).decode() == wanted


def test_oauthbearer() -> None:
    """RFC 7628 section 4.1; a comma and an equals sign in a name are written as RFC 5801 has it."""
    made = sasl.token_response(
        "OAUTHBEARER", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "server.example.com", 143
    )
    assert base64.b64decode(made) == (
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
        b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )
    assert b"n,a=a=2Cb=3Dc,\x01" in base64.b64decode(sasl.token_response("OAUTHBEARER", "a,b=c", "t", "h", 1))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("PLAIN", "OAUTHBEARER", "xoauth2"), "XOAUTH2"),
        (("OAUTHBEARER",), "OAUTHBEARER"),
        (("PLAIN", "LOGIN"), None),
        ((), None),
    ],
)
def test_the_mechanism(offered: tuple[str, ...], chosen: str | None) -> None:
    assert sasl.mechanism(offered) == chosen


@pytest.mark.parametrize("value", ["a\x01b", "a\nb", "\0"])
def test_no_field_ends_early(value: str) -> None:
    for user, token in ((value, "t"), ("u", value)):
        with pytest.raises(ValueError):
            sasl.token_response("XOAUTH2", user, token, "h", 1)


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        (base64.b64encode(b'{"status":"400","schemes":"Bearer"}'), "status 400"),
        (base64.b64encode(b'{"status":"invalid_token"}') + b"\r\n", "status invalid_token"),
        (base64.b64encode(b"[]"), ""),
        (b"not base64", ""),
        (b"", ""),
    ],
)
def test_why_it_was_refused(challenge: bytes, why: str) -> None:
    assert sasl.why_refused(challenge) == why


@given(st.binary())
def test_no_challenge_breaks_it(challenge: bytes) -> None:
    sasl.why_refused(challenge)


def test_the_answer_that_a_refusal_waits_for() -> None:
    assert base64.b64decode(sasl.after_refusal("OAUTHBEARER")) == b"\x01"
    assert sasl.after_refusal("XOAUTH2") == b""
