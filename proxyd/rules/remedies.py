"""What is somebody to do about a connection that cannot work as things are, going by the words of its failure?

Why by the words: the state says that a person is needed, not whom. A certificate that has ended is the provider's to
renew, one that is "not valid yet" nearly always tells of a clock that went back to its factory's date, and a tenant's
policy is for whoever administers it (`rules.refusals`). The words are ours (`provider.tls`, `provider.token_endpoint`)
or the provider's. The first row that fits speaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxyd.rules import refusals

TRY_AGAIN = "proxyd reload"
SIGN_IN_ANEW = "proxyd reconnect {account}"
SET_THE_CLOCK = "timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class Remedy:
    """`what` is wrong with {protocol}, what to `ask` or do, and the one `command` to type, for {account}. `soon`: it is
    looked at again by itself after so many seconds, where that costs nobody anything."""

    what: str = "The settings for {protocol} do not work"
    ask: str = "Correct what it names."
    command: str = TRY_AGAIN
    lead: str = "Then"
    soon: float | None = None


_MISSING = "What proxyd signs in to {protocol} with is not where it should be"
_UNTRUSTED = "The server's certificate for {protocol} is not to be trusted"
_ROWS: tuple[tuple[re.Pattern[str], Remedy], ...] = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (
            r"certificate is not valid yet",
            Remedy(_UNTRUSTED, "This machine's clock is behind; once it is right, all goes on.", SET_THE_CLOCK, "Run"),
        ),
        (
            r"certificate has expired",
            Remedy(
                _UNTRUSTED,
                "It is the provider's to renew, unless this machine's clock is wrong; it is tried every five minutes.",
            ),
        ),
        (r"certificate", Remedy(_UNTRUSTED)),
        (
            r"sign_in\.password: the file .* is missing|the keyring has no entry",
            Remedy(_MISSING, "", SIGN_IN_ANEW, "Run"),
        ),
        (r"the tokens of .* agree anew", Remedy(_MISSING, "", SIGN_IN_ANEW, "Run")),
        (
            r"the keyring (?:is locked|did not answer|refused)",
            Remedy(
                "What signs in by {protocol} lies in a keyring that does not open",
                "Unlock your keyring: it goes on by itself.",
                TRY_AGAIN,
                "To be asked for it again, run",
                soon=10.0,
            ),
        ),
        (r"the name was not found", Remedy(ask="Correct the server's name in the account's file.")),
        (
            r"does not accept sign_in\.oauth",
            Remedy(ask="Correct sign_in.oauth in the account's file: client_id, client_secret (they end), scopes."),
        ),
    )
)


def remedy(said: str) -> Remedy:
    if ask := refusals.policy(said):
        return Remedy(ask=ask)
    return next((found for pattern, found in _ROWS if pattern.search(said)), Remedy())
