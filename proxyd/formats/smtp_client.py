"""The client's side of an SMTP dialogue, sans I/O (RFC 5321): replies read, offers read, commands formed, dots stuffed.

Why this way: `provider/smtp_session` alone knows the socket. What may be said to a server, what its octets mean and
whether a transaction may go on are functions of values here, so that every wording a server can find is one test row.

Nothing that could end a line early ever leaves: addresses, parameters and content with CR, LF or NUL in the wrong
place raise `Unsendable`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxyd.model import Envelope, NotAccepted, SmtpReply

LINE_LIMIT = 8192  # octets of one reply line; RFC 5321 section 4.5.3.1.5 asks for 512, servers say more
LINES_LIMIT = 256  # lines of one reply


class Unsendable(ValueError):
    """What we were asked to send would break the dialogue. The text says what, and quotes nothing of it."""


# --- replies -------------------------------------------------------------------------------------------------

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")


def printable(text: str, limit: int = 400) -> str:
    """On one line, without control characters, of at most `limit` characters: what may be shown and logged."""
    return " ".join(_CONTROLS.sub(" ", text).split())[:limit]


def enhanced_code(reply: SmtpReply) -> str:
    """The enhanced status code of RFC 3463 that the first line begins with, e.g. `5.7.8`; empty where none does."""
    found = _ENHANCED.match(reply.lines[0])
    return found.group(1) if found else ""


class ReplyReader:
    """Octets in, replies out. A line may end in CRLF or a lone LF; the code of a reply is that of its last line.

    Text is decoded as UTF-8, and every control character in it becomes a space: it may be passed on as it is.
    `fault` is why the octets are no SMTP; what stood before them was read, nothing behind them ever is.
    """

    def __init__(self) -> None:
        self.fault = ""
        self._rest = b""
        self._lines: list[str] = []

    @property
    def pending(self) -> bool:
        """A reply has begun and not ended."""
        return bool(self._rest or self._lines)

    def feed(self, octets: bytes) -> list[SmtpReply]:
        """The replies that `octets` complete."""
        replies: list[SmtpReply] = []
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            if not self.fault and (reply := self._line(line.removesuffix(b"\r"))) is not None:
                replies.append(reply)
        if len(self._rest) > LINE_LIMIT:
            self.fault = self.fault or "a reply line that does not end"
        if self.fault:
            self._rest = b""
        return replies

    def _line(self, line: bytes) -> SmtpReply | None:
        found = _REPLY_LINE.fullmatch(line) if len(line) <= LINE_LIMIT else None
        if found is None:
            self.fault = f"not an SMTP reply: {printable(line[:80].decode('utf-8', 'replace'), 80)!r}"
            return None
        self._lines.append(_CONTROLS.sub(" ", (found[3] or b"").decode("utf-8", "replace")))
        if found[2] == b"-":
            if len(self._lines) >= LINES_LIMIT:
                self.fault = "a reply that does not end"
            return None
        reply = SmtpReply(int(found[1]), tuple(self._lines))
        self._lines = []
        return reply


# --- what a server offers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A reply to EHLO (RFC 5321 section 4.1.1.1). `size` is None where SIZE is not offered, 0 where it names no limit.

    `auth` are the mechanisms in upper case, `keywords` every keyword in upper case.
    """

    size: int | None = None
    auth: tuple[str, ...] = ()
    keywords: frozenset[str] = frozenset()

    @property
    def eight_bit(self) -> bool:
        return "8BITMIME" in self.keywords

    @property
    def smtputf8(self) -> bool:
        return "SMTPUTF8" in self.keywords

    @property
    def dsn(self) -> bool:
        return "DSN" in self.keywords

    @property
    def pipelining(self) -> bool:
        return "PIPELINING" in self.keywords

    @property
    def chunking(self) -> bool:
        return "CHUNKING" in self.keywords

    @property
    def starttls(self) -> bool:
        return "STARTTLS" in self.keywords


def read_offer(reply: SmtpReply) -> Offer:
    """What the lines behind EHLO's first say. `AUTH=LOGIN`, an old spelling, counts as AUTH."""
    size: int | None = None
    auth: list[str] = []
    keywords: set[str] = set()
    for line in reply.lines[1:]:
        words = line.upper().replace("AUTH=", "AUTH ", 1).split()
        if not words:
            continue
        keywords.add(words[0])
        if words[0] == "AUTH":
            auth += [word for word in words[1:] if word not in auth]
        elif words[0] == "SIZE":
            number = words[1] if len(words) > 1 else "0"
            size = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    return Offer(size, tuple(auth), frozenset(keywords))


# --- commands --------------------------------------------------------------------------------------------------

_PATH = re.compile(r'(?:"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[^\x00-\x1f\x7f-\x9f])*"|[^\s<>"\x00-\x1f\x7f-\x9f])*')
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[^\s\x00-\x1f\x7f-\x9f]+)?")


def command(text: str) -> bytes:
    """One command line. Raises Unsendable where `text` could be read as more than one."""
    if "\r" in text or "\n" in text or "\0" in text:
        raise Unsendable("a line end or NUL inside a command")
    try:
        return text.encode() + b"\r\n"
    except UnicodeEncodeError:
        raise Unsendable("a command that is not Unicode text") from None


def _with_path(verb: str, address: str, parameters: Iterable[str]) -> bytes:
    if not _PATH.fullmatch(address):
        raise Unsendable("an address that SMTP cannot carry")
    if not all(_PARAMETER.fullmatch(parameter) for parameter in parameters):
        raise Unsendable("a parameter that SMTP cannot carry")
    return command(" ".join((f"{verb}:<{address}>", *parameters)))


def mail(sender: str, parameters: Sequence[str] = ()) -> bytes:
    """MAIL FROM with its parameters; an empty sender is the null reverse-path."""
    return _with_path("MAIL FROM", sender, parameters)


def rcpt(address: str, parameters: Sequence[str] = ()) -> bytes:
    if not address:
        raise Unsendable("an empty recipient")
    return _with_path("RCPT TO", address, parameters)


def bdat_last(size: int) -> bytes:
    """The one BDAT of a message sent in one piece (RFC 3030); exactly `size` octets follow it."""
    return b"BDAT %d LAST\r\n" % size


def auth_plain(user: str, password: str) -> bytes:
    """The response of SASL PLAIN (RFC 4616), in base64. Raises Unsendable for a NUL inside either."""
    if "\0" in user or "\0" in password:
        raise Unsendable("a NUL inside the user name or the password")
    return base64.b64encode(f"\0{user}\0{password}".encode())


def auth_login(value: str) -> bytes:
    """An answer to one of LOGIN's two questions."""
    return base64.b64encode(value.encode())


# --- one message's transaction ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """The commands of one transaction. `chunked`: BDAT in the same flight as MAIL and RCPT; else DATA."""

    mail: bytes
    rcpts: tuple[bytes, ...]
    addresses: tuple[str, ...]
    optional: frozenset[str]  # of `addresses`
    pipelined: bool
    chunked: bool


# Which extension (EHLO keyword) gives a parameter its meaning, where the two have different names.
_EXTENSION = {"BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN"}


def _offered(parameters: Iterable[str], offer: Offer) -> tuple[str, ...]:
    keyword = {parameter: parameter.partition("=")[0].upper() for parameter in parameters}
    return tuple(p for p, word in keyword.items() if _EXTENSION.get(word, word) in offer.keywords)


def plan(envelope: Envelope, offer: Offer, size: int, *, chunking: bool = True) -> Plan | NotAccepted:
    """How `envelope` with `size` octets of content is handed to a server with this offer, or why not at all.

    Parameters whose extension is not offered are left out, but for those whose loss would break a promise.
    One recipient and CHUNKING: everything goes in one flight (`chunking=False` forbids it), since all or none holds
    by itself. With several, DATA lets us see every answer first.
    """
    if offer.size and size > offer.size:
        words = f"5.3.4 The message has {size} octets, the provider takes at most {offer.size}"
        return NotAccepted(SmtpReply(552, (words,)))
    wanted = {parameter.partition("=")[0].upper() for parameter in envelope.parameters}
    addresses = (envelope.sender, *(recipient.address for recipient in envelope.recipients))
    international = "SMTPUTF8" in wanted or not all(address.isascii() for address in addresses)
    if international and not offer.smtputf8:
        return NotAccepted(SmtpReply(550, ("5.6.7 The provider does not take internationalized addresses (SMTPUTF8)",)))
    if "REQUIRETLS" in wanted and "REQUIRETLS" not in offer.keywords:
        return NotAccepted(SmtpReply(550, ("5.7.30 The provider does not offer REQUIRETLS",)))
    if any(parameter.upper() == "BODY=BINARYMIME" for parameter in envelope.parameters):
        return NotAccepted(SmtpReply(555, ("5.6.1 BODY=BINARYMIME is not supported",)))
    parameters = _offered(envelope.parameters, offer)
    if international and "SMTPUTF8" not in wanted:
        parameters = (*parameters, "SMTPUTF8")
    if offer.size is not None:
        parameters = (*parameters, f"SIZE={size}")
    return _commands(envelope, parameters, offer, chunking)


def _commands(envelope: Envelope, parameters: tuple[str, ...], offer: Offer, chunking: bool) -> Plan | NotAccepted:
    try:
        first = mail(envelope.sender, parameters)
    except Unsendable as error:
        return NotAccepted(SmtpReply(501, (f"5.1.7 The sender is {error}",)))
    rcpts: list[bytes] = []
    refused: list[tuple[str, SmtpReply]] = []
    for recipient in envelope.recipients:
        try:
            rcpts.append(rcpt(recipient.address, _offered(recipient.parameters, offer)))
        except Unsendable as error:
            refused.append((recipient.address, SmtpReply(501, (f"5.1.3 The recipient is {error}",))))
    if refused:
        return NotAccepted(refused[0][1], tuple(refused))
    if not rcpts:
        return NotAccepted(SmtpReply(554, ("5.5.1 No recipients",)))
    chunked = chunking and len(rcpts) == 1 and offer.chunking and offer.pipelining
    named = tuple(recipient.address for recipient in envelope.recipients)
    optional = frozenset(recipient.address for recipient in envelope.recipients if recipient.optional)
    return Plan(first, tuple(rcpts), named, optional, offer.pipelining, chunked)


def refusal(
    mail_reply: SmtpReply, rcpt_replies: Iterable[tuple[str, SmtpReply]], optional: frozenset[str] = frozenset()
) -> NotAccepted | None:
    """All or none: why the transaction must not go on, or None if MAIL and every RCPT but the `optional` were taken.

    The reply that speaks for all is the first refusal, the first permanent one where both kinds came.
    """
    if mail_reply.code // 100 != 2:
        return NotAccepted(mail_reply)
    refused = tuple(
        (address, reply) for address, reply in rcpt_replies if reply.code // 100 != 2 and address not in optional
    )
    if not refused:
        return None
    speaking = next((reply for _, reply in refused if reply.permanent), refused[0][1])
    return NotAccepted(speaking, refused)


# --- content ---------------------------------------------------------------------------------------------------


class LineEnds:
    """Checks content as it passes: CRLF only. A lone CR or LF is where one server's line end is another's text."""

    def __init__(self) -> None:
        self.tail = b"\r\n"  # the last two octets; content begins as if behind a line end

    def feed(self, chunk: bytes) -> None:
        """Raises Unsendable at a lone CR or LF, also where two chunks meet."""
        if not chunk:
            return
        ends = chunk.count(b"\r\n")
        after_cr = self.tail[-1:] == b"\r"
        if after_cr != (chunk[:1] == b"\n"):
            raise Unsendable("content with a lone CR or LF")
        if chunk.count(b"\n") != ends + after_cr or chunk.count(b"\r") != ends + (chunk[-1:] == b"\r"):
            raise Unsendable("content with a lone CR or LF")
        self.tail = (self.tail + chunk[-2:])[-2:]

    def end(self) -> None:
        if self.tail[-1:] == b"\r":
            raise Unsendable("content with a lone CR or LF")


class DotStuffer:
    """Content for DATA (RFC 5321 section 4.5.2): a dot that begins a line is doubled. Raises Unsendable as LineEnds."""

    def __init__(self) -> None:
        self._ends = LineEnds()

    def feed(self, chunk: bytes) -> bytes:
        tail = self._ends.tail
        self._ends.feed(chunk)
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if chunk[:1] == b"." and tail == b"\r\n":
            return b"." + stuffed
        if chunk[:2] == b"\n.":  # behind a CR, or LineEnds had refused it
            return b"\n." + stuffed[1:]
        return stuffed

    def end(self) -> bytes:
        """What ends the content: the dot on its own line, behind a CRLF where the content does not end in one."""
        self._ends.end()
        return b".\r\n" if self._ends.tail == b"\r\n" else b"\r\n.\r\n"
