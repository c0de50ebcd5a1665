"""What can go wrong, named after who must act.

Anything that is none of these is a fault of ours, and is loud.
"""

from __future__ import annotations


class ProxydError(Exception):
    """The root of every error that we raise on purpose; its text is one sentence for a person."""


class ConfigError(ProxydError):
    """Whoever edits the file must act: a setting, a secret source or a path is wrong."""


class SignInRefused(ProxydError):
    """The mailbox's owner must act: the server refused our credentials.

    `evidence` is the server's own last words, one printable line.
    """

    def __init__(self, why: str, evidence: str = "") -> None:
        super().__init__(why)
        self.evidence = evidence


class TryLater(ProxydError):
    """Nobody must act, time must pass. `after` is in seconds, None = the caller's own schedule.

    `evidence` is the other side's own last words, one printable line.
    """

    def __init__(self, why: str, after: float | None = None, evidence: str = "") -> None:
        super().__init__(why)
        self.after = after
        self.evidence = evidence


class Refused(ProxydError):
    """The other side said no for good; trying again will not help."""

    def __init__(self, why: str, evidence: str = "") -> None:
        super().__init__(why)
        self.evidence = evidence
