"""Which refusals of a sign-in are a policy's, whatever the password is? And who is to be asked for what?

Why it matters: the same code means both. 535 5.7.139 is a wrong password at Microsoft, and a tenant in which SMTP AUTH
is switched off. To try again does not help, nor does a new password; somebody else must allow it. Known by the words
that the providers use (Microsoft 365, Google, Yahoo, iCloud, Zoho).
"""

from __future__ import annotations

import re

_POLICIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), ask)
    for pattern, ask in (
        (
            r"SmtpClientAuthentication is disabled|smtp_auth_disabled|5\.7\.57\b.*not authenticated"
            r"|SMTP AUTH(?:entication)? is (?:disabled|not (?:enabled|allowed))",
            "Ask whoever administers your mail: please allow authenticated SMTP (SMTP AUTH) for this mailbox.",
        ),
        (
            r"5\.7\.30\b|basic authentication is (?:disabled|not supported|blocked)|LOGINDISABLED.*basic",
            "This provider takes no passwords any more: sign in by OAuth2 (setting sign_in.oauth).",
        ),
        (
            r"5\.7\.139\b.*(?:security defaults|conditional access|did not meet the criteria)"
            r"|AADSTS(?:53003|530002|50105)\b",
            "Ask whoever administers your mail: a policy of your organisation blocks this sign-in.",
        ),
        (
            r"not enabled for IMAP|IMAP (?:access )?(?:is )?(?:disabled|not (?:enabled|allowed))|enable IMAP",
            "Allow reading by IMAP in the settings of your mailbox at the provider.",
        ),
        (
            r"not enabled for POP|SMTP access (?:is )?disabled",
            "Allow sending by SMTP in the settings of your mailbox at the provider.",
        ),
        (
            r"application-specific password|app[- ]password|5\.7\.9\b",
            "This provider wants a password made for programs (an app password), from its page on security.",
        ),
        (
            r"log ?in (?:with|via) your web browser|5\.7\.14\b|WEBALERT|unusual (?:activity|sign-?in)",
            "Sign in once with a web browser at the provider and confirm that it was you.",
        ),
    )
)


def policy(said: str) -> str:
    """What to ask for, and whom, where the server's words tell of a policy; else "": it is about the password."""
    return next((ask for pattern, ask in _POLICIES if pattern.search(said)), "")
