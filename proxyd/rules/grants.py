"""What does a sign-in server's refusal of a token request mean?

    revoked    the grant is gone: the person has to agree anew
    settings   the client id, its secret or the scopes are not what the server knows: somebody has to edit
    later      the server is unwell or asks for patience: nobody has to do anything

A server that answers with something else than OAuth's JSON (RFC 6749 section 5.2) is not the one that was meant: a
hotel's page, a proxy, a maintenance sign. That passes.
"""

from __future__ import annotations

from enum import StrEnum


class Meaning(StrEnum):
    REVOKED = "revoked"
    SETTINGS = "settings"
    LATER = "later"


_REVOKED = frozenset(
    {
        "invalid_grant",
        "access_denied",
        "interaction_required",
        "login_required",
        "consent_required",
        "account_selection_required",
        "expired_token",
    }
)
_LATER = frozenset({"temporarily_unavailable", "server_error", "slow_down", "authorization_pending"})


def meaning(status: int, error: str | None) -> Meaning:
    """`status` is HTTP's, `error` the code in the answer's JSON, None where there is none."""
    if status >= 500 or status == 429 or error is None or error in _LATER:
        return Meaning.LATER
    if error in _REVOKED:
        return Meaning.REVOKED
    return Meaning.SETTINGS


def fresh_enough(expires_at: float, lifetime: float, now: float) -> bool:
    """Whether an access token will do for a sign-in that begins now: not in its last tenth, of a minute at most."""
    return now < expires_at - min(60.0, lifetime / 10)
