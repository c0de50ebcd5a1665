"""What goes wrong on an IMAP connection, in our words: imaplib's, imapclient's, TLS's and the system's errors.

`translated` stands around every command; what leaves it is named after who must act (`proxyd.errors`), and `health_of`
says what that means for the account's health. The server's own words are kept as evidence, as one line.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from imapclient.exceptions import ProtocolError

from proxyd.errors import ConfigError, ProxydError, Refused, SignInRefused, TryLater
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider import tls
from proxyd.provider.imap_lines import UnsafeValue
from proxyd.provider.token_endpoint import AccessRevoked, NotNow
from proxyd.rules.refusals import policy

EVIDENCE = 400  # characters of a server's words that are kept

_NOT_NOW = re.compile(
    r"\[(UNAVAILABLE|LIMIT|INUSE|THROTTLED|SERVERBUG)\b|too many|try again|try later|temporar|rate limit|overloaded"
    r"|maximum number of connections|connection limit",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\[(AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|EXPIRED)\b", re.IGNORECASE)


class Unreachable(TryLater):
    """No connection, or the one that stood is gone: name, route, timeout, reset, or a server that breaks protocol."""


class NoSuchName(Unreachable):
    """The DNS says that there is no such host."""


class Throttled(TryLater):
    """The server answers, and says: not now."""


class Misconfigured(ConfigError):
    """Certificate, TLS or the ways of signing in do not fit: somebody must edit the account."""

    def __init__(self, why: str, evidence: str = "") -> None:
        super().__init__(why)
        self.evidence = evidence


def health_of(error: ProxydError) -> HealthEvent:
    """What an error of this module says about the account's health."""
    cause = HealthCause.UNREACHABLE
    if isinstance(error, AccessRevoked):
        cause = HealthCause.ACCESS_REVOKED
    elif isinstance(error, SignInRefused):
        cause = HealthCause.SIGN_IN_REFUSED
    elif isinstance(error, NoSuchName):
        cause = HealthCause.NO_SUCH_NAME
    elif isinstance(error, Throttled | NotNow | Refused):
        cause = HealthCause.THROTTLED
    elif isinstance(error, ConfigError):
        cause = HealthCause.MISCONFIGURED
    evidence = getattr(error, "evidence", "") or str(error)
    return HealthEvent(cause, "IMAP", evidence)


@contextlib.contextmanager
def translated(what: str, *, login: bool = False, at: tuple[str, int] | None = None) -> Iterator[None]:
    """imaplib's, imapclient's, TLS's and the system's errors in our words.

    `login`: a NO is about the credentials. `at`: host and port, while the connection is being made.
    """
    try:
        yield
    except (ProxydError, UnsafeValue):
        raise
    except (imaplib.IMAP4.abort, ProtocolError, imaplib.IMAP4.readonly) as error:
        said = said_by(error)
        if _NOT_NOW.search(said):
            raise Throttled(f"the server ended the connection: {said}", evidence=said) from error
        raise Unreachable(f"the connection was lost ({what}): {said}", evidence=said) from error
    except imaplib.IMAP4.error as error:
        raise refusal(what, said_by(error), login=login, at=at is not None) from error
    except OSError as error:
        if at is None:
            said = one_line(error.strerror or str(error)) if not isinstance(error, TimeoutError) else "timed out"
            raise Unreachable(f"the connection was lost ({what}): {said}", evidence=said) from error
        cause, said = tls.failure(error, *at)
        if cause is HealthCause.MISCONFIGURED:
            raise Misconfigured(said, said) from error
        kind = NoSuchName if cause is HealthCause.NO_SUCH_NAME else Unreachable
        raise kind(said, evidence=said) from error
    except (ValueError, LookupError, TypeError) as error:
        # out of the parsers of imapclient and imaplib, over an answer that breaks the protocol
        raise Unreachable(f"the server's answer cannot be read ({what})", evidence=one_line(str(error))) from error


def refusal(what: str, said: str, *, login: bool, at: bool) -> ProxydError:
    """What a NO, a BAD or a greeting of BYE means."""
    if login and policy(said):
        return Misconfigured(f"the provider does not allow it: {said}", said)
    if login and _CREDENTIALS.search(said):
        return SignInRefused("the provider refused the user name or password", said)
    if _NOT_NOW.search(said):
        return Throttled(f"the server says: not now ({what}): {said}", evidence=said)
    if at:
        return Unreachable(f"no IMAP server answered ({what}): {said}", evidence=said)
    if login:
        return SignInRefused("the provider refused the user name or password", said)
    return Refused(f"the server refused {what}: {said}", said)


def said_by(error: Exception) -> str:
    """The server's own words, without what imaplib puts around them."""
    value = error.args[0] if error.args else ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = re.sub(r"^command: [A-Z]+ => ", "", text)
    text = re.sub(r"^[A-Za-z]+ (?:command error|failed): ", "", text)
    text = re.sub(r"^(BAD) \[b'(.*)'\]$", r"\1 \2", text)
    text = re.sub(r"^b'(.*)'$", r"\1", text)
    return one_line(text)


def one_line(text: str) -> str:
    """One printable line, not endless."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:EVIDENCE]


def text_of(data: Sequence[Any]) -> str:
    last = data[-1] if data else b""
    return last.decode("utf-8", "replace") if isinstance(last, bytes) else str(last or "")
