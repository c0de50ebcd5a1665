"""The Message-ID in a provider's reply to the final dot, in the forms that providers use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.reply_ids import ids_in_reply

SES = "0102018b9f1c2d3e-a1b2c3d4-1111-2222-3333-444455556666-000000"
OUTLOOK = "VI1PR0401MB2559A1B2C3D4E5F60718293A4B5CA@VI1PR0401MB2559.eurprd04.prod.outlook.com"


@pytest.mark.parametrize(
    ("line", "host", "ids"),
    [
        pytest.param(
            f"2.0.0 OK <{OUTLOOK}> [Hostname=VI1PR0401MB2559.eurprd04.prod.outlook.com]",
            "smtp.office365.com",
            [OUTLOOK],
            id="Microsoft 365",
        ),
        pytest.param(
            f"Ok {SES}", "email-smtp.eu-west-1.amazonaws.com", [f"{SES}@eu-west-1.amazonses.com"], id="SES, a region"
        ),
        pytest.param(
            f"Ok {SES}",
            "email-smtp.us-east-1.amazonaws.com",
            [f"{SES}@email.amazonses.com"],
            id="SES, the first region",
        ),
        pytest.param(f"Ok {SES}", "relay.example.com", [f"{SES}@email.amazonses.com"], id="SES behind another name"),
        pytest.param(
            "2.0.0 OK: queued as <202611231000.1234567890@smtp-relay.mailin.fr>",
            "smtp-relay.brevo.com",
            ["202611231000.1234567890@smtp-relay.mailin.fr"],
            id="Brevo",
        ),
        pytest.param("2.0.0 OK  1700000000 a1b2c3-d4e5f6 - gsmtp", "smtp.gmail.com", [], id="Gmail names none"),
        pytest.param("2.0.0 Ok: queued as 4F1B2C0F5D", "mx.example.com", [], id="Postfix names none"),
        pytest.param("2.1.5 <Grace@customer.example> ok", "mx.example.com", [], id="a recipient is no id"),
        pytest.param("OK id=1r2s3t-0000Ab-1C", "mx.example.com", [], id="Exim names none"),
    ],
)
def test_ids_in_reply(line: str, host: str, ids: list[str]) -> None:
    assert list(ids_in_reply([line], host, ["grace@customer.example"])) == ids


@given(st.lists(st.text(max_size=200), max_size=5), st.text(max_size=50))
def test_it_never_raises(lines: list[str], host: str) -> None:
    for id in ids_in_reply(lines, host, ["a@b"]):
        assert "@" in id
