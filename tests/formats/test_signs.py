"""What of a header section tells that a machine wrote it; what it weighs is tested in tests/rules/test_notices.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.message import heading
from proxyd.reported import Sign


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param("Auto-Submitted: auto-replied; owner-email=ada@x\n", {Sign.AUTO_SUBMITTED}, id="with a parameter"),
        pytest.param("Auto-Submitted: NO\n", {Sign.SAYS_NO}, id="no"),
        pytest.param("X-Autoreply: no\n", set(), id="a field that says no"),
        pytest.param("X-AutoReply-From: ada@x\n", {Sign.AUTO_FIELD}, id="one that says who"),
        pytest.param("Delivered-To: Autoresponder\n", {Sign.AUTO_FIELD}, id="delivered to the autoresponder"),
        pytest.param("Precedence: list\n", {Sign.BULK}, id="a list"),
        pytest.param("X-Auto-Response-Suppress: DR, RN, NRN, OOF, AutoReply\n", {Sign.SUPPRESS_SOME}, id="some"),
        pytest.param("Return-Path: <>\n", {Sign.NULL_SENDER}, id="an empty return path"),
        pytest.param("Return-Path: <a@b>\n", set(), id="a return path"),
        pytest.param("Subject: =?utf-8?q?Abwesenheitsnotiz=3A_Urlaub?=\n", {Sign.SUBJECT}, id="an encoded subject"),
        pytest.param("Subject: about the out of office: note\n", set(), id="in the middle of a subject"),
        pytest.param("X-Failed-Recipients: a@b\n", {Sign.FAILED_RECIPIENTS}, id="failed recipients"),
        pytest.param(
            "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\n",
            {Sign.GENERATED},
            id="Exchange's rules agent",
        ),
    ],
)
def test_signs(fields: str, found: set[Sign]) -> None:
    assert heading(fields.encode()).signs == found


@given(st.binary(max_size=300))
def test_any_value(value: bytes) -> None:
    heading(b"Auto-Submitted: " + value + b"\r\nPrecedence: " + value + b"\r\nSubject: " + value)
