"""What may be shown of what crosses a wire: which command, which kind of answer, and numbers.

Why this way: only words of the closed lists below, codes and numbers ever leave here. Whatever else a line holds (an
address, a folder's name, a secret, a message's text that happens to look like a command) is told by its length, so that
nothing has to be recognised as private.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SMTP_COMMANDS = re.compile(
    rb"(?i)(EHLO|HELO|STARTTLS|AUTH (?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)|MAIL FROM|RCPT TO|DATA|BDAT(?: \d+)?(?: LAST)?"
    rb"|RSET|NOOP|QUIT)(?=[ :\r\n]|$)"
)
_SMTP_REPLY = re.compile(rb"(\d{3})([ -])(\d\.\d{1,3}\.\d{1,3}(?= |$))?")
_SMTP_OFFERS = re.compile(
    rb"(?i)(PIPELINING|SIZE(?: \d+)?|8BITMIME|SMTPUTF8|CHUNKING|DSN|ENHANCEDSTATUSCODES|STARTTLS|AUTH(?: (?:PLAIN|LOGIN"
    rb"|XOAUTH2|OAUTHBEARER))*)\s*$"
)

_IMAP_COMMANDS = frozenset(
    b"AUTHENTICATE LOGIN CAPABILITY ID ENABLE NOOP LOGOUT STARTTLS LIST XLIST LSUB STATUS SELECT EXAMINE CREATE APPEND"
    b" FETCH STORE SEARCH COPY MOVE EXPUNGE CLOSE UNSELECT IDLE DONE NOTIFY NAMESPACE".split()
)
_IMAP_WORDS = frozenset(
    b"UID FLAGS INTERNALDATE ENVELOPE RFC822.SIZE BODYSTRUCTURE BODY.PEEK BODY HEADER HEADER.FIELDS TEXT MIME"
    b" MESSAGE-ID IN-REPLY-TO REFERENCES MODSEQ X-GM-MSGID X-GM-THRID PLAIN XOAUTH2 OAUTHBEARER".split()
)
_IMAP_ANSWERS = frozenset(
    b"EXISTS RECENT EXPUNGE VANISHED FETCH LIST LSUB XLIST STATUS SEARCH ESEARCH FLAGS CAPABILITY ENABLED ID BYE OK NO"
    b" BAD PREAUTH NAMESPACE".split()
)
_CODES = (
    rb"ALERT|PERMANENTFLAGS|READ-ONLY|READ-WRITE|TRYCREATE|UIDNEXT \d+|UIDVALIDITY \d+|UNSEEN \d+|CAPABILITY|CLOSED"
    rb"|APPENDUID \d+ \d+|HIGHESTMODSEQ \d+|NOMODSEQ|UNAVAILABLE|AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|EXPIRED"
    rb"|LIMIT|INUSE|THROTTLED|OVERQUOTA|NONEXISTENT|ALREADYEXISTS|SERVERBUG|CLIENTBUG|CANNOT|NOPERM"
)
_IMAP_CODE = re.compile(rb"\[(" + _CODES + rb")\b", re.IGNORECASE)
_SET = re.compile(rb"[\d:*,]{1,80}$")
_TOKEN = re.compile(rb"[A-Za-z0-9.*:,-]+")


def smtp_sent(octets: bytes) -> Iterator[str]:
    """What we write to an SMTP server, line by line; what is no command is told by its length."""
    rest = 0
    for line in octets[:4096].splitlines(keepends=True):
        known = _SMTP_COMMANDS.match(line) if not rest else None
        if known is None:
            rest += len(line)
        else:
            yield known[1].decode("ascii").upper() + _more(len(line.rstrip(b"\r\n")) - len(known[1]))
    rest += max(0, len(octets) - 4096)
    if rest:
        yield _octets(rest)


def smtp_got(line: bytes) -> str:
    """A line of a reply: code, enhanced code, what EHLO offers."""
    said = _SMTP_REPLY.match(line)
    if said is None:
        return _octets(len(line))
    begun = said[0].decode("ascii")
    text = line[said.end() :].strip()
    if said[3] is None and (offer := _SMTP_OFFERS.match(text)) is not None:
        return begun + offer[1].decode("ascii").upper()
    return begun.rstrip() + _more(len(text))


def imap_sent(octets: bytes) -> Iterator[str]:
    """What we write to an IMAP server."""
    line = octets[:4096].rstrip(b"\r\n")
    words = line.split(b" ")
    if line.upper() == b"DONE":
        yield "DONE"
        return
    at = 2 if len(words) > 2 and words[1].upper() == b"UID" else 1
    verb = words[at].upper() if len(words) > at else b""
    if verb not in _IMAP_COMMANDS or b"\n" in line:
        yield _octets(len(octets))
        return
    told = ("UID " if at == 2 else "") + verb.decode("ascii")
    rest = b" ".join(words[at + 1 :])
    if verb in (b"FETCH", b"STORE", b"COPY", b"MOVE") and _SET.match(words[at + 1] if len(words) > at + 1 else b""):
        told += " " + words[at + 1].decode("ascii")
        rest = b" ".join(words[at + 2 :])
    if verb in (b"FETCH", b"AUTHENTICATE"):
        yield told + _known_words(rest)
    else:
        yield told + _more(len(rest))


def imap_got(line: bytes) -> str:
    """A line that an IMAP server sends."""
    bare = line.rstrip(b"\r\n")
    if bare.startswith(b"+"):
        return "+" + _more(len(bare) - 1)
    words = bare.split(b" ", 3)
    at = 2 if len(words) > 2 and words[0] == b"*" and words[1].isdigit() else 1
    kind = words[at].upper() if len(words) > at else b""
    if kind not in _IMAP_ANSWERS or (words[0] != b"*" and not re.fullmatch(rb"[A-Z]{1,6}\d{1,9}", words[0])):
        return _octets(len(line))
    told = b" ".join([b"*" if words[0] == b"*" else b"tag", *words[1:at], kind]).decode("ascii")
    rest = bare.partition(words[at])[2].strip()
    code = _IMAP_CODE.match(rest)
    return f"{told} [{code[1].decode('ascii').upper()}]" if code else told + _more(len(rest))


def _known_words(octets: bytes) -> str:
    """Those that are in our list; the others are dropped, and their number told."""
    words = _TOKEN.findall(octets[:500].upper())
    known = [word.decode("ascii") for word in words if word in _IMAP_WORDS]
    other = len(words) - len(known)
    return "".join(f" {word}" for word in known) + (f" (and {other} more)" if other else "")


def _more(count: int) -> str:
    return f" … ({count})" if count > 0 else ""


def _octets(count: int) -> str:
    return f"({count} octets)"
