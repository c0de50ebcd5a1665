"""The server's side of an SMTP dialogue, sans I/O (RFC 5321): commands, paths and parameters read, replies formed.

Why this way: aiosmtpd reads addresses with the email package, upper-cases parameters and knows none of DSN's
(RFC 3461). What a client may say, and what we answer when it is wrong, are functions of values here; `relay` alone
knows the socket. A function that can refuse returns the refusal as the `SmtpReply` that the client hears.

How the content of DATA is read stands in `smtp_data`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxyd.formats.smtp_client import Offer, printable
from proxyd.model import SmtpReply

TEXT_LIMIT = 400  # characters of a reply's one line; RFC 5321 section 4.5.3.1.5 allows 512 octets
OWN_SIZE_LIMIT = 150 * 1024 * 1024  # octets of one message that we take from a client
SIZE_ALLOWANCE = 4096  # octets kept free below the provider's limit, for the fields that are added on the way
_ADDRESS_LIMIT = 512  # octets; RFC 5321 section 4.5.3.1.3 asks a server to take 256
_ENVID_LIMIT = 100  # characters, RFC 3461 section 4.4
_ORCPT_LIMIT = 500  # characters, RFC 3461 section 4.2

# Verbs of HTTP: a browser or a misled web client speaks to this port. `PRI` begins HTTP/2.
HTTP_VERBS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI"})


# --- commands --------------------------------------------------------------------------------------------------

_VERB = re.compile(rb"[A-Za-z]{1,16}")


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case, empty where the line begins with no word; `argument` is trimmed."""

    verb: str
    argument: str


def command(line: bytes) -> Command:
    """One command line, with or without its line end. Octets that are not UTF-8 make it no command at all."""
    verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
    if not _VERB.fullmatch(verb):
        return Command("", "")
    try:
        text = argument.decode("utf-8").strip(" \t")
    except UnicodeDecodeError:
        return Command("", "")
    if any(sign in text for sign in "\0\r\n"):
        return Command("", "")
    return Command(verb.decode("ascii").upper(), text)


# --- replies ---------------------------------------------------------------------------------------------------


def reply(code: int, *lines: str) -> SmtpReply:
    return SmtpReply(code, lines)


def one_line(text: str, limit: int = TEXT_LIMIT) -> str:
    """What anybody wrote, fit for a reply: one line of printable ASCII; other characters become `?`."""
    if text.isascii() and text.isprintable():  # as nearly every text is: eight of them in each message's dialogue
        return " ".join(text.split())[:limit]
    return printable(text.encode("ascii", "replace").decode("ascii"), limit)


def octets(answer: SmtpReply) -> bytes:
    """A reply on the wire: every line with its code, a hyphen behind all but the last one's (RFC 5321 section 4.2)."""
    lines = answer.lines or ("",)
    last = len(lines) - 1
    return b"".join(
        f"{answer.code}{'-' if i < last else ' '}{one_line(line, 1000)}\r\n".encode("ascii")
        for i, line in enumerate(lines)
    )


# --- paths -----------------------------------------------------------------------------------------------------

# The local part as sent: atoms with dots where they like (some mobile carriers gave out `a..b@`), or a quoted string.
_LOCAL = re.compile(r"[^\s\"\\()<>\[\]:;@,\x00-\x1f\x7f-\x9f]+|\"(?:[^\"\\\x00-\x1f\x7f-\x9f]|\\[\x20-\x7e])*\"")
_DOMAIN = re.compile(
    r"[^\s\"\\()<>\[\]:;@,.\x00-\x2c\x2f\x7f-\x9f]+(?:\.[^\s\"\\()<>\[\]:;@,.\x00-\x2c\x2f\x7f-\x9f]+)*\.?"
)
_LITERAL = re.compile(r"\[[\x21-\x5a\x5e-\x7e]+\]")
_BRACKETED = re.compile(r"<((?:\"(?:[^\"\\]|\\.)*\"|[^<>\"])*)>(?: +(.*))?")
_ROUTE = re.compile(r"@[^:<>\"\s]+:")  # a source route, which RFC 5321 appendix C asks to be ignored


@dataclass(frozen=True, slots=True)
class Path:
    """A reverse-path or forward-path and the words behind it; `address` is empty for `<>`."""

    address: str
    parameters: tuple[str, ...] = ()


def path(argument: str, keyword: str) -> Path | SmtpReply:
    """What stands behind MAIL or RCPT: `keyword` is `FROM` or `TO`.

    Taken as well, because clients in use write so: a space behind the colon, an address without its angle brackets.
    """
    verb = "MAIL" if keyword == "FROM" else "RCPT"
    syntax = reply(501, f"5.5.4 Syntax: {verb} {keyword}:<address>")
    word, colon, rest = argument.partition(":")
    if not colon or word.rstrip().upper() != keyword:
        return syntax
    rest = rest.strip()
    if rest.startswith("<"):
        found = _BRACKETED.fullmatch(rest)
        if found is None:
            return syntax
        address, words = found[1].strip(), found[2] or ""
    else:
        address, _, words = rest.partition(" ")
        if not address:
            return syntax
    address = _ROUTE.sub("", address, count=1) if address.startswith("@") else address
    if address and not is_address(address):
        return reply(
            501 if verb == "MAIL" else 553, "5.1.7 Bad sender address" if verb == "MAIL" else "5.1.3 Bad address"
        )
    return Path(address, tuple(words.split()))


def is_address(address: str) -> bool:
    """An RFC 5321 Mailbox, or an internationalized one (RFC 6531), read with some patience."""
    local, at, domain = address.rpartition("@")
    if not at or len(address.encode("utf-8", "replace")) > _ADDRESS_LIMIT:
        return False
    known = _DOMAIN.fullmatch(domain) or _LITERAL.fullmatch(domain)
    return known is not None and _LOCAL.fullmatch(local) is not None


# --- extensions and their parameters ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a client is offered beyond our own PIPELINING and ENHANCEDSTATUSCODES. `size`: octets we take."""

    size: int = OWN_SIZE_LIMIT - SIZE_ALLOWANCE
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False


def extensions(offers: Iterable[Offer | None]) -> Extensions:
    """What every one of these providers offers; None is a provider that was not seen yet: nothing is promised for it.

    One offer gives that account's extensions, those of all accounts what may be said before anybody signed in.
    """
    seen = list(offers)
    limits = [offer.size for offer in seen if offer is not None and offer.size]
    return Extensions(
        size=max(1, min([OWN_SIZE_LIMIT, *limits]) - SIZE_ALLOWANCE),
        eight_bit=bool(seen) and all(offer is not None and offer.eight_bit for offer in seen),
        smtputf8=bool(seen) and all(offer is not None and offer.smtputf8 for offer in seen),
        dsn=bool(seen) and all(offer is not None and offer.dsn for offer in seen),
    )


def ehlo(name: str, offered: Extensions, *, starttls: bool, auth: bool) -> SmtpReply:
    """The reply to EHLO; `starttls` and `auth`: whether these may be asked for now."""
    lines = [name, "PIPELINING", f"SIZE {offered.size}"]
    lines += ["8BITMIME"] if offered.eight_bit else []
    lines += ["SMTPUTF8"] if offered.smtputf8 else []
    lines += ["DSN"] if offered.dsn else []
    lines += ["ENHANCEDSTATUSCODES"]
    lines += ["STARTTLS"] if starttls else []
    lines += ["AUTH PLAIN LOGIN"] if auth else []
    return reply(250, *lines)


_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[^\s=\x00-\x1f\x7f-\x9f]+")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461 section 4
_UTF8_ORCPT = re.compile(r"(?:[^\s+=\\\x00-\x1f\x7f-\x9f]|\\x\{[0-9A-F]{2,6}\}|\+[0-9A-F]{2})*")  # RFC 6533 section 3
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailParameters:
    """`verbatim`: what belongs in the envelope, as the client wrote it; `size`: what SIZE declared, else 0."""

    verbatim: tuple[str, ...] = ()
    size: int = 0
    smtputf8: bool = False


def mail_parameters(words: Iterable[str], offered: Extensions) -> MailParameters | SmtpReply:
    """MAIL's parameters: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461), AUTH
    (RFC 4954, taken and left out: it concerns this hop alone)."""
    size, smtputf8 = 0, False
    verbatim: list[str] = []
    read = _keywords(words)
    if isinstance(read, SmtpReply):
        return read
    for word, (keyword, value) in read.items():
        if keyword == "AUTH" and value:
            continue
        if keyword == "SIZE":
            if not (value.isascii() and value.isdigit() and len(value) <= 20):
                return _bad(word)
            size = int(value)
            continue
        check = _MAIL_CHECKS.get(keyword)
        if check is None or not _is_offered(keyword, offered):
            return _unknown("MAIL", keyword)
        if not check(value):
            return _bad(word)
        smtputf8 = smtputf8 or keyword == "SMTPUTF8"
        verbatim.append(word)
    if size > offered.size:
        return too_big(offered.size)
    return MailParameters(tuple(verbatim), size, smtputf8)


def rcpt_parameters(words: Iterable[str], offered: Extensions) -> tuple[str, ...] | SmtpReply:
    """RCPT's parameters, NOTIFY and ORCPT (RFC 3461), checked and given back as the client wrote them."""
    read = _keywords(words)
    if isinstance(read, SmtpReply):
        return read
    for word, (keyword, value) in read.items():
        check = _RCPT_CHECKS.get(keyword)
        if check is None or not _is_offered(keyword, offered):
            return _unknown("RCPT", keyword)
        if not check(value):
            return _bad(word)
    return tuple(read)


def too_big(limit: int) -> SmtpReply:
    return reply(552, f"5.3.4 The message is too big: at most {limit} octets are taken")


def _keywords(words: Iterable[str]) -> dict[str, tuple[str, str]] | SmtpReply:
    """Each word with its keyword in upper case and its value, in order; a keyword stands at most once."""
    read: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for word in words:
        keyword, equals, value = word.partition("=")
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            return _bad(word)
        keyword = keyword.upper()
        if keyword in seen:
            return _bad(word)
        seen.add(keyword)
        read[word] = (keyword, value)
    return read


def _orcpt(value: str) -> bool:
    kind, semicolon, address = value.partition(";")
    form = _UTF8_ORCPT if kind.lower() == "utf-8" else _XTEXT
    typed = bool(semicolon and address and _KEYWORD.fullmatch(kind))
    return typed and len(value) <= _ORCPT_LIMIT and form.fullmatch(address) is not None


_MAIL_CHECKS: dict[str, Callable[[str], bool]] = {
    "BODY": lambda value: value.upper() in ("7BIT", "8BITMIME"),
    "SMTPUTF8": lambda value: not value,
    "RET": lambda value: value.upper() in ("FULL", "HDRS"),
    "ENVID": lambda value: 0 < len(value) <= _ENVID_LIMIT and _XTEXT.fullmatch(value) is not None,
}
_RCPT_CHECKS: dict[str, Callable[[str], bool]] = {
    "NOTIFY": lambda value: _NOTIFY.fullmatch(value) is not None,
    "ORCPT": _orcpt,
}


def _is_offered(keyword: str, offered: Extensions) -> bool:
    match keyword:
        case "BODY":
            return offered.eight_bit
        case "SMTPUTF8":
            return offered.smtputf8
        case _:
            return offered.dsn


def _bad(word: str) -> SmtpReply:
    return reply(501, f"5.5.4 Bad parameter: {one_line(word, 80)}")


def _unknown(verb: str, keyword: str) -> SmtpReply:
    return reply(555, f"5.5.4 {verb} parameter {one_line(keyword, 40)} is not offered here")
