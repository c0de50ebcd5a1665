"""What does a sign-in server's refusal of a token request mean?

    revoked    the grant is gone: the person has to agree anew
    settings   the client id, its secret or the scopes are not what the server knows: somebody has to edit
    not now    the server asks for patience: nobody has to do anything
    later      the server is unwell: nobody has to do anything

A server that answers with something else than OAuth's JSON (RFC 6749 section 5.2) is not the one that was meant: a
hotel's page, a proxy, a maintenance sign. That passes.
"""

from __future__ import annotations

from enum import StrEnum

from proxyd.rules import retry


class Meaning(StrEnum):
    REVOKED = "revoked"
    SETTINGS = "settings"
    NOT_NOW = "not now"
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
_NOT_NOW = frozenset({"temporarily_unavailable", "slow_down"})
_LATER = frozenset({"server_error", "authorization_pending"})

PATIENCE = 3600.0  # seconds: who asks for more is asked once an hour all the same
AGAIN = 60.0  # seconds at most between two tries at a server that is down, unless it asks for more
SOONEST = 5.0  # seconds between two renewals, however short the tokens live
CLOCK_IS_SET_BY = 60.0  # seconds at most, by whoever keeps it right
PROBE = 3600.0  # seconds until a grant that is gone is asked about again


def meaning(status: int, error: str | None) -> Meaning:
    """`status` is HTTP's, `error` the code in the answer's JSON, None where there is none."""
    if status in (429, 503) or (status < 500 and error in _NOT_NOW):
        return Meaning.NOT_NOW
    if status >= 500 or error is None or error in _LATER:
        return Meaning.LATER
    if error in _REVOKED:
        return Meaning.REVOKED
    return Meaning.SETTINGS


def fresh_enough(expires_at: float, lifetime: float, now: float) -> bool:
    """Whether an access token will do for a sign-in that begins now: not in its last tenth, of a minute at most."""
    return now < expires_at - min(60.0, lifetime / 10) and not _given_ahead(expires_at, lifetime, now)


def renew_after(expires_at: float, lifetime: float, now: float, jitter: float) -> float:
    """Seconds until an access token is renewed ahead of need: in the last fifth of its life, before the last tenth.

    Why at all: where every connection stands for hours, nobody would ask the sign-in server, and a grant that was
    taken back would show only when a connection breaks. `jitter` in [0, 1) keeps accounts apart.
    """
    return max(SOONEST, min(expires_at - now, lifetime) - lifetime * (0.2 - 0.1 * jitter))


def renewal_due(expires_at: float, lifetime: float, now: float) -> bool:
    """Whether it is in the last fifth of its life: nobody else has renewed it meanwhile."""
    return now >= expires_at - lifetime * 0.2 or _given_ahead(expires_at, lifetime, now)


def _given_ahead(expires_at: float, lifetime: float, now: float) -> bool:
    """It was given while our clock was ahead: when it ends nobody knows any more."""
    return expires_at > now + lifetime + CLOCK_IS_SET_BY


def ask_again(failures: int, jitter: float, after: float | None) -> float:
    """Seconds until a renewal that failed is tried again, the first after `failures` = 0."""
    return max(min(retry.delay(failures, jitter), AGAIN), asked_for(after))


def asked_for(after: float | None) -> float:
    """Seconds that the sign-in server is left alone, which asked for `after` (Retry-After), None = for nothing."""
    return min(max(after or 0.0, 0.0), PATIENCE)
