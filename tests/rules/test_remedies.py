"""What a person is told to do, by the words of the failure."""

from __future__ import annotations

import pytest

from proxyd.provider.tls import CERTIFICATE
from proxyd.rules.remedies import SET_THE_CLOCK, SIGN_IN_ANEW, TRY_AGAIN, remedy


@pytest.mark.parametrize(
    ("said", "asks", "command"),
    [
        ("x:993: its certificate is not valid yet", "clock is behind", SET_THE_CLOCK),
        ("x:993: its certificate has expired", "provider's to renew", TRY_AGAIN),
        ("x:993: its certificate is for another name", "Correct what it names", TRY_AGAIN),
        ("x:993: the name was not found: Name or service not known", "the server's name", TRY_AGAIN),
        ("the sign-in server y does not accept sign_in.oauth: invalid_client", "client_secret (they end)", TRY_AGAIN),
        ("535 5.7.139 SmtpClientAuthentication is disabled", "allow authenticated SMTP", TRY_AGAIN),
        ('ada@x: sign_in.password: the file "/p" is missing', "", SIGN_IN_ANEW),
        ("ada@x: sign_in.password: the keyring has no entry", "", SIGN_IN_ANEW),
        ("the tokens of ada@x cannot be read; agree anew: proxyd reconnect", "", SIGN_IN_ANEW),
        ("anything else", "Correct what it names", TRY_AGAIN),
    ],
)
def test_a_remedy(said: str, asks: str, command: str) -> None:
    found = remedy(said)
    assert asks in found.ask
    assert found.command == command


def test_every_trouble_with_a_certificate_is_told_as_one() -> None:
    for words in CERTIFICATE.values():
        assert "certificate" in remedy(f"x:993: {words}").what
