"""Reports about mail: what became of it for whom, and which mail it was.

Read are delivery reports (RFC 3464, 6533), disposition notifications (RFC 8098, 3798) and, because many servers write
neither, bounces that are nothing but text: qmail's, older Exim's and Domino's, those that gateways and providers make
up. A reading takes the best of what may be badly formed and never raises; what nobody said is empty.

Whether an odd form *is* a bounce is not decided here (`rules.notices`): this module says what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxyd.formats.fields import Field, fields, split_header
from proxyd.formats.message import heading as read_heading
from proxyd.formats.message import message_ids
from proxyd.formats.mime import report_parts
from proxyd.formats.transfer import decoder
from proxyd.formats.words import decode_words, one_line, raw_text
from proxyd.reported import ACTIONS, RecipientStatus, Report

READ = 256 * 1024  # octets of a message that a report is looked for in: what was returned stands behind it
MOST = 500  # recipients of one report
_LONGEST = 400  # characters of a server's words that are kept

STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
RECEIPT_TYPES = ("message/disposition-notification", "message/global-disposition-notification")
MESSAGE_TYPES = ("message/rfc822", "message/global")
HEADER_TYPES = ("text/rfc822-headers", "message/global-headers")


def read(octets: bytes) -> Report:
    """The report in a message's first octets; an empty one where there is none."""
    text, parts = report_parts(octets[:READ])
    recipients: list[RecipientStatus] = []
    ids: list[str] = []
    receipt = False
    for type, kept in parts:
        if type in STATUS_TYPES:
            recipients += _delivery_status(kept)
            ids += _original_ids(kept)
        elif type in RECEIPT_TYPES:
            recipients += _disposition(kept)
            ids += _original_ids(kept)
            receipt = True
        elif type in MESSAGE_TYPES or type in HEADER_TYPES:
            ids += returned_ids(kept)
    failed = _failed_recipients(octets)
    return Report(
        recipients=tuple(recipients[:MOST]),
        ids=tuple(dict.fromkeys(ids)),
        mentioned=tuple(_mentioned(text, failed)),
        ids_in_text=tuple(dict.fromkeys(_ids_in_text(text))),
        receipt=receipt,
    )


def returned_ids(header: bytes) -> tuple[str, ...]:
    """The ids by which a returned message's header section says what it is: its own, and what it was before."""
    end = split_header(header)
    said = read_heading(header if end is None else header[:end])
    return tuple(each for each in (said.message_id, *said.original_ids) if each)


def reported_ids(type: str, mime: bytes, octets: bytes) -> tuple[str, ...]:
    """The ids in one part of a report of this media type; `mime` is the part's own header section, for its encoding."""
    encoding = next((each.body for each in fields(mime) if each.name == b"content-transfer-encoding"), b"")
    undo = decoder(raw_text(encoding[:100]).partition(";")[0])
    kept = undo.feed(octets) + undo.finish()
    return tuple(_original_ids(kept)) if type in RECEIPT_TYPES else returned_ids(kept)


# --- RFC 3464 ----------------------------------------------------------------------------------------------

_BLANK = re.compile(rb"\r?\n(?:[ \t]*\r?\n)+")


def _delivery_status(octets: bytes) -> Iterator[RecipientStatus]:
    """The groups of fields that are about a recipient; the first group is about the message, where there is one."""
    for group in _BLANK.split(octets.strip(b"\r\n \t")):
        said = _said(group)
        address = _address(said, b"original-recipient") or _address(said, b"final-recipient")
        address = address or _address(said, b"x-actual-recipient")
        action = _action(said)
        if address and action:
            detail = _typed(said.get(b"diagnostic-code", b""))
            yield RecipientStatus(address, action, _status(said.get(b"status", b""), detail), detail)


def _action(said: dict[bytes, bytes]) -> str:
    word = raw_text(said.get(b"action", b"")).strip().lower()
    known = next((each for each in ACTIONS if word.startswith(each[:4])), "")
    if known or word:
        return known
    return {"5": "failed", "4": "delayed", "2": "delivered"}.get(raw_text(said.get(b"status", b"")).strip()[:1], "")


def _said(group: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for each in fields(group):
        found.setdefault(each.name, Field(each.name, each.raw).body)
    return found


_ADDRESS = re.compile(r"""[^\s<>()\[\],;:"'=]{1,128}@[^\s<>()\[\],;:"'=@]{1,255}""")


def _address(said: dict[bytes, bytes], name: bytes) -> str:
    """`rfc822; <grace@customer.example>` and its kin (RFC 3464 section 2.1.2); a bare address is taken too."""
    text = decode_words(raw_text(said.get(name, b"")[:1000]))
    kind, semicolon, rest = text.partition(";")
    if semicolon and kind.strip().lower() not in ("rfc822", "utf-8", "smtp"):
        return ""
    found = _ADDRESS.search(rest if semicolon else text)
    return found[0].rstrip(".") if found else ""


_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}\s*;\s*")


def _typed(body: bytes) -> str:
    """Without the kind before its semicolon: `smtp; 550 5.1.1 no such user`."""
    return _shortened(_TYPE.sub("", decode_words(raw_text(body[:4000])), count=1))


_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45][0-5]\d)(?![\d.])")


def _status(body: bytes, detail: str) -> str:
    for text in (raw_text(body[:100]), detail):
        if found := _ENHANCED.search(text):
            return found[1]
    found = _REPLY.search(detail)
    return found[1] if found else ""


def _original_ids(octets: bytes) -> Iterator[str]:
    """Original-Message-ID of RFC 8098, X-Original-Message-ID that some put into a delivery report."""
    for each in fields(octets):
        if each.name in (b"original-message-id", b"x-original-message-id"):
            yield from message_ids(each.body)


# --- RFC 8098 ----------------------------------------------------------------------------------------------


def _disposition(octets: bytes) -> Iterator[RecipientStatus]:
    said = _said(octets)
    address = _address(said, b"original-recipient") or _address(said, b"final-recipient")
    modes, _, rest = raw_text(said.get(b"disposition", b"")[:500]).lower().partition(";")
    kind = (rest or modes).strip().partition("/")[0].strip()
    action = {"displayed": "read", "deleted": "deleted"}.get(kind, "")
    if address and action:
        yield RecipientStatus(address, action)


# --- what is nothing but text ------------------------------------------------------------------------------

_ID_LINE = re.compile(r"^[ \t>|]{0,20}message-id[ \t]*:[ \t]*(?:\n[ \t>|]{1,20})?<([^<>\s]{1,400})>", re.I | re.M)
_RETURNED = re.compile(
    r"^(?:--[ -]*+(?:below this line|this is a copy|original message|the original|unsent message|returned message"
    r"|message header|the header|included is|headers? )|[ \t>|]{0,20}(?:return-path|received)[ \t]*:)",
    re.I | re.M,
)
_BLOCK = 4  # lines behind an address that may say why


def _ids_in_text(text: str) -> Iterator[str]:
    for found in _ID_LINE.finditer(text):
        yield from message_ids(f"<{found[1]}>")


def _failed_recipients(octets: bytes) -> tuple[str, ...]:
    """X-Failed-Recipients (Exim, Gmail)."""
    end = split_header(octets)
    bodies = [each.body for each in fields(octets[:end]) if each.name == b"x-failed-recipients"]
    return tuple(found[0] for body in bodies for found in _ADDRESS.finditer(raw_text(body[:20_000])))


def _mentioned(text: str, failed: tuple[str, ...]) -> Iterator[RecipientStatus]:
    """The addresses that the text names before the returned message, each once, with the lines behind it."""
    returned = _RETURNED.search(text)
    lines = (text[: returned.start()] if returned else text)[:20_000].split("\n")
    seen: set[str] = set()
    for number, line in enumerate(lines):
        for found in _ADDRESS.finditer(line):
            address = found[0].strip(".")
            if address.lower() in seen or len(seen) >= MOST:
                continue
            seen.add(address.lower())
            detail = _why(line[found.end() :], lines[number + 1 : number + 1 + _BLOCK])
            yield RecipientStatus(address, "failed", _status(b"", detail), detail)
    for address in failed:
        if address.lower() not in seen:
            yield RecipientStatus(address, "failed")


def _why(rest: str, following: list[str]) -> str:
    """The rest of the line, and the lines behind it up to the next blank line or address."""
    kept = [rest.strip(" \t>:;,).-")]
    for line in following:
        if not line.strip() and any(kept):
            break
        if _ADDRESS.match(line.strip(" \t<")):
            break
        kept.append(line.strip())
    return _shortened(" ".join(each for each in kept if each))


def _shortened(text: str) -> str:
    text = " ".join(one_line(text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2].rstrip() + " …"
