"""What a mail client is told the server can do (RFC 3501 section 7.2.1): before it signed in ours, after it the
provider's, token by token.

Why this way: most extensions are between client and provider and pass through us unharmed. Three kinds of token do
not: ways of signing in, which are ours; compression, which is between two ends of one connection; and ways of putting a
message into a folder that we could not read as it goes by. A token nobody knows yet passes: a new feature of a
provider must work on the day it comes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_ALWAYS = ("ID", "LITERAL+")  # ours, whatever the provider has
_STRIPPED = frozenset(
    {
        "LOGINDISABLED",
        "STARTTLS",
        "SASL-IR",
        "LITERAL-",  # less than the LITERAL+ that we have
        "CATENATE",
        "BINARY",
        "MULTIAPPEND",
        "NOTIFY",
        "UNAUTHENTICATE",  # whoever signs in behind it would be somebody of the provider's, not of ours
    }
)
_STRIPPED_KINDS = ("AUTH=", "COMPRESS=", "URLAUTH", "UTF8=")

_LINE = re.compile(rb"\* CAPABILITY(?: |(?=\r?\n))([^\r\n]*)", re.IGNORECASE)
_CODE = re.compile(
    rb"(?P<before>(?:\*|[^\s(){%*\"\\+]+) (?:OK|NO|BAD|PREAUTH) \[CAPABILITY )(?P<tokens>[^\]\r\n]*)\]",
    re.IGNORECASE,
)


def before_login(*, starttls: bool, secure: bool, may_sign_in: bool) -> tuple[str, ...]:
    """`starttls`: it is offered here; `secure`: this connection has TLS; `may_sign_in`: as it stands now."""
    words = ["IMAP4rev1", *_ALWAYS, "SASL-IR"]
    if starttls and not secure:
        words.append("STARTTLS")
    if not may_sign_in:
        return (*words, "LOGINDISABLED")
    words.append("AUTH=PLAIN")
    if secure:
        words.append("AUTH=LOGIN")
    return tuple(words)


def after_login(providers: Iterable[str]) -> tuple[str, ...]:
    """The provider's own tokens in its own order and spelling, without those that end here, and with ours."""
    words = [word for word in providers if not _is_stripped(word.upper())]
    there = {word.upper() for word in words}
    return (*words, *(word for word in _ALWAYS if word not in there))


def _is_stripped(word: str) -> bool:
    return word in _STRIPPED or word.startswith(_STRIPPED_KINDS)


# IANA's registry "IMAP Capabilities", and what large providers and the usual servers add of their own.
_KNOWN_WORDS = """
ACL ANNOTATE-EXPERIMENT-1 APPENDLIMIT BINARY CATENATE CHILDREN CONDSTORE CONVERT CREATE-SPECIAL-USE ENABLE ESEARCH ESORT
FILTERS ID IDLE IMAP4 IMAP4REV1 IMAP4REV2 INPROGRESS JMAPACCESS LANGUAGE LIST-EXTENDED LIST-METADATA LIST-MYRIGHTS
LIST-STATUS LOGIN-REFERRALS LOGINDISABLED MAILBOX-REFERRALS MESSAGELIMIT METADATA METADATA-SERVER MOVE MULTIAPPEND
MULTISEARCH NAMESPACE NOTIFY OBJECTID PARTIAL PREVIEW QRESYNC QUOTA QUOTASET REPLACE SASL-IR SAVEDATE SEARCHRES SORT
SPECIAL-USE STARTTLS THREAD UIDBATCHES UIDONLY UIDPLUS UNAUTHENTICATE UNSELECT URL-PARTIAL WITHIN
ANNOTATEMORE NO_ATOMIC_RENAME SCAN SNIPPET=FUZZY STATUS=SIZE DIGEST=SHA1 DIGEST=SHA256
X-GM-EXT-1 XLIST XYMHIGHESTMODSEQ XAPPLELITERAL XAPPLEPUSHSERVICE XMOVE XCONVFETCH X-CREATEDMODSEQ X-REPLICATION
X-NETSCAPE XCLIENTID XMAGICTRASH XCOURIEROUTBOX X-UIDONLY XSTOP XBACKUP
"""
_KNOWN = frozenset(_KNOWN_WORDS.split())
_KINDS = "ACL2 APPENDLIMIT AUTH COMPRESS CONTEXT I18NLEVEL IMAPSIEVE MESSAGELIMIT PREVIEW QUOTA RIGHTS SAVELIMIT SEARCH"
_MORE_KINDS = "SORT THREAD UTF8 X-QUOTA URLFETCH"
_KNOWN_KINDS = (*(f"{kind}=" for kind in f"{_KINDS} {_MORE_KINDS}".split()), "URLAUTH", "LITERAL")


def unknown(words: Iterable[str]) -> tuple[str, ...]:
    """Those that nobody here has heard of, in upper case: they pass, and `proxyd doctor` lists them."""
    upper = {word.upper() for word in words}
    return tuple(sorted(word for word in upper - _KNOWN if not word.startswith(_KNOWN_KINDS)))


def found_in(line: bytes) -> tuple[str, ...] | None:
    """The tokens that a line of the server's tells: `* CAPABILITY …`, or the code of a status response; else None.

    A line that only talks of CAPABILITY tells none.
    """
    said = _LINE.match(line)
    if said is not None:
        return _words(said[1])
    code = _CODE.match(line)
    return None if code is None else _words(code["tokens"])


def rewritten(line: bytes) -> bytes:
    """A whole line of the server's as the client may hear it; the same line where it tells no capabilities."""
    said = _LINE.match(line)
    if said is not None:
        return b"* CAPABILITY " + octets(after_login(_words(said[1]))) + line[said.end() :]
    code = _CODE.match(line)
    if code is None:
        return line
    return code["before"] + octets(after_login(_words(code["tokens"]))) + line[code.end() - 1 :]


@functools.lru_cache(maxsize=64)
def folded(words: tuple[str, ...]) -> frozenset[str]:
    """In upper case, for comparison."""
    return frozenset(word.upper() for word in words)


def octets(words: Iterable[str]) -> bytes:
    return " ".join(words).encode("latin-1")


@functools.lru_cache(maxsize=64)  # the same few for thousands of connections that keep them
def _words(octets: bytes) -> tuple[str, ...]:
    return tuple(octets.decode("latin-1").split())
