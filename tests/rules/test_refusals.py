"""A wrong password, or a policy? In the providers' own words."""

from __future__ import annotations

import pytest

from proxyd.rules.refusals import policy


@pytest.mark.parametrize(
    ("said", "ask"),
    [
        pytest.param(
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
            "https://aka.ms/smtp_auth_disabled for more information.",
            "allow authenticated SMTP",
            id="Microsoft 365, SMTP AUTH off",
        ),
        pytest.param(
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "OAuth2", id="basic is off"
        ),
        pytest.param(
            "550 5.7.30 Basic authentication is not supported for Client Submission.", "OAuth2", id="basic is gone"
        ),
        pytest.param(
            "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
            "policy of your organisation",
            id="security defaults",
        ),
        pytest.param(
            "[ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your "
            "account for IMAP access. (Failure)",
            "Allow reading by IMAP",
            id="Gmail, IMAP off",
        ),
        pytest.param("[ALERT] You are yet to enable IMAP for your account.", "Allow reading by IMAP", id="Zoho"),
        pytest.param(
            "534 5.7.9 Application-specific password required.", "made for programs", id="Gmail with two factors"
        ),
        pytest.param(
            "534 5.7.14 Please log in via your web browser and then try again.", "web browser", id="Gmail, suspicious"
        ),
    ],
)
def test_a_policy(said: str, ask: str) -> None:
    assert ask in policy(said)


@pytest.mark.parametrize(
    "said",
    [
        "535 5.7.8 Username and Password not accepted",
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
        "[AUTHENTICATIONFAILED] Invalid credentials (Failure)",
        "[AUTHENTICATIONFAILED] Authentication failed.",
        "535 Error: authentication failed",
        "",
    ],
)
def test_a_password(said: str) -> None:
    assert policy(said) == ""
