"""The header section of a message (RFC 5322): what it says, and the forms in which it is kept and sent.

A reading takes the best of what may be badly formed and never raises. A form is made field by field on the octets:
a field that need not change keeps every octet, however odd it is; nothing is ever parsed and written out again.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from proxyd.formats.addresses import MOST, read_addresses, without_addresses
from proxyd.formats.fields import Field, fields, parts, split_header
from proxyd.formats.parameters import parse
from proxyd.formats.signs import FIELDS as sign_fields
from proxyd.formats.signs import signs
from proxyd.formats.words import decode_words, raw_text
from proxyd.model import LOG_ADDRESS, Heading, MailAddress, mailbox_key

__all__ = [
    "copy_fingerprint",
    "filed_form",
    "heading",
    "mailbox_key",
    "message_ids",
    "plain_ids",
    "split_header",
    "wire_form",
]

MOST_IDS = 100  # of one field
_LONGEST_ID = 998  # octets: a line of RFC 5322
_IDS_READ = 65_536  # octets at either end of a field that ids are read from

_BRACKETED = re.compile(r"<([^<>]*+)>")
# As nearly all of them are: read without any of the care below, and to the same result.
_PLAIN = re.compile(rb"(?:[ \t]*+<[!#$%*+\-./0-9:=?@A-Z^_`a-z{|}~]{1,250}>){1,50}[ \t]*+")
_NAMING_ALONE = re.compile(
    rb"(?:(?i:message-id|in-reply-to|references):"  # the names alone, for it makes all that it is about twice as slow
    rb"(?:(?:[ \t]|\r\n[ \t])*+<[!#$%*+\-./0-9:=?@A-Z^_`a-z{|}~]{1,250}>){1,50}[ \t]*+\r\n)*+\r\n"
)
_ID = re.compile(r"<([^>]*)>")
_BARE = re.compile(r"[^\s@]++@[^\s@]++")
_COMMENT = re.compile(r"\((?:[^()]|\([^()]*+\))*+\)")
_SPACE = re.compile(r"\s+")
_BETWEEN_BARE = re.compile(r"[\s,;<>\"'()]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEDIA_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127})")

_ORIGINAL_IDS = (b"x-microsoft-original-message-id", b"x-google-original-message-id")
_RECIPIENTS = (b"to", b"cc", b"bcc")
_BLIND = (b"bcc", b"resent-bcc")
_READ = frozenset(
    b"message-id in-reply-to references date from sender to cc bcc subject x-crm-log content-type received".split()
).union(_ORIGINAL_IDS, sign_fields)
_NAMING = frozenset({b"message-id", b"in-reply-to", b"references"})
_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})


def heading(header: bytes) -> Heading:
    """What the header section says; `header` with or without its blank line, anything behind that is not read."""
    said = _said(header)
    if said.keys() <= _NAMING:  # nearly every message in a mailbox: nothing else was read of it
        own, answered = message_ids(_first(said, b"message-id")), said.get(b"in-reply-to")
        references = said.get(b"references")
        return Heading(
            own[0] if own else "",
            message_ids(b" ".join(answered)) if answered else (),
            message_ids(b" ".join(references)) if references else (),
        )
    subject = decode_words(raw_text(_first(said, b"subject")))
    return Heading(
        message_id=next(iter(message_ids(_first(said, b"message-id"))), ""),
        in_reply_to=_ids(said, (b"in-reply-to",)),
        references=_ids(said, (b"references",)),
        original_ids=_ids(said, _ORIGINAL_IDS),
        date=_instant(_first(said, b"date")),
        from_=_people(said, b"from"),
        sender=_people(said, b"sender"),
        to=_people(said, b"to"),
        cc=_people(said, b"cc"),
        bcc=_people(said, b"bcc"),
        subject=subject,
        crm_log=_mark(said.get(b"x-crm-log", ())),
        content_type=_media_type(_first(said, b"content-type")),
        report_type=_report_type(_first(said, b"content-type")),
        signs=signs(said, subject),
        filed_by_transport=b"received" in said or b"return-path" in said,
    )


def plain_ids(header: bytes) -> list[str] | None:
    """Every id in a header section that holds Message-ID, In-Reply-To and References alone, written as nearly all are
    (`heading` reads the same ones of it); None = `heading` must read it. For finding out at little cost that a message
    names nothing that anybody knows."""
    return _ID.findall(header.decode("ascii")) if _NAMING_ALONE.fullmatch(header) else None


def _said(header: bytes) -> dict[bytes, list[bytes]]:
    """The unfolded bodies of the fields that are read, by name: what `fields` and `Field.body` would give, made without
    an object for each field, for this is done to every message in a mailbox."""
    lines = header.replace(b"\r\n", b"\n")
    lines = b"" if lines.startswith(b"\n") else lines.partition(b"\n\n")[0]
    said: dict[bytes, list[bytes]] = {}
    for line in lines.replace(b"\n ", b" ").replace(b"\n\t", b"\t").split(b"\n"):
        name, colon, body = line.partition(b":")
        name = name.lower()
        if name not in _READ and (name := name.rstrip(b" \t")) not in _READ:
            continue
        if colon and len(there := said.setdefault(name, [])) < MOST:
            there.append(body.strip(b" \t\r"))
    return said


def message_ids(value: str | bytes) -> tuple[str, ...]:
    """The message ids in a field body, without brackets, each once, in their order, case kept (RFC 5322 section 3.6.4).

    Separators may be anything; white space and comments inside brackets are none of the id. Where no brackets are,
    words with an @ count, and a word that stands alone; beside brackets, where nothing else stands there: some senders
    lose one or two. Of more than 100, the first (the root of the thread) and the last 99 are taken.
    """
    if not value:
        return ()
    if isinstance(value, bytes) and _PLAIN.fullmatch(value):
        return tuple(dict.fromkeys(value.decode("ascii").replace("<", " ").replace(">", " ").split()))
    text = raw_text(value) if isinstance(value, bytes) else value
    if len(text) > 2 * _IDS_READ:
        text = text[:_IDS_READ] + " " + text[-_IDS_READ:]
    if "=?" in text and not any(_BRACKETED.findall(text)):  # some senders encode even this field
        text = decode_words(text)
    if "&lt;" in text:  # and some write it as it stood on a page
        text = text.replace("&lt;", "<").replace("&gt;", ">")
    ids = [_id(token) for token in _BRACKETED.findall(text)]
    words = [word for word in _BETWEEN_BARE.split(_BRACKETED.sub(" ", text)) if word]
    if any(ids) and not all(map(_BARE.fullmatch, words)):
        words = []
    elif len(words) > 1:
        words = [word for word in words if "@" in word.strip("@")]
    ids += words
    good = list(dict.fromkeys(i for i in ids if i and len(i) <= _LONGEST_ID and not _CONTROL.search(i)))
    return tuple(good if len(good) <= MOST_IDS else [good[0], *good[-(MOST_IDS - 1) :]])


def _id(token: str) -> str:
    """What stands between two brackets, without folding and comments."""
    return _SPACE.sub("", _COMMENT.sub("", token) if "(" in token else token)


def filed_form(header: bytes, *, message_id: str, date: str) -> bytes:
    """The header section as we keep it: what the client wrote, complete, without what was meant for us alone.

    Added, before everything else, only where no field says it: `Message-ID: <message_id>` and `Date: date` (an RFC 5322
    date-time). Removed: X-CRM-Log, and log@crm.localhost from To, Cc and Bcc. Every other octet is the client's.
    """
    lines, rest = parts(header)
    has_id = has_date = False
    kept: list[bytes] = []
    for field in fields(lines):
        if field.name == b"x-crm-log":
            continue
        if field.name == b"message-id":
            if not message_ids(field.body):
                continue  # an empty one beside ours would be two
            has_id = True
        elif field.name == b"date":
            if not field.body:
                continue
            has_date = True
        kept.append(_without(field, _FOR_US) if field.name in _RECIPIENTS else field.raw)
    added: list[str] = []
    if not has_id:
        added.append(f"Message-ID: <{message_id.strip('<> ')}>\r\n")
    if not has_date:
        added.append(f"Date: {date}\r\n")
    return _on_top("".join(added).encode(), b"".join(kept)) + rest


def wire_form(header: bytes, *, hidden: frozenset[str]) -> bytes:
    """The header section as it goes out: the filed form without Bcc fields and without `hidden` addresses in To and Cc.

    `hidden` holds addresses as they are written or as `mailbox_key` gives them.
    """
    lines, rest = parts(header)
    keys = frozenset(mailbox_key(address) for address in hidden)
    kept = (
        _without(field, keys) if keys and field.name in _RECIPIENTS else field.raw
        for field in fields(lines)
        if field.name not in _BLIND
    )
    return b"".join(kept) + rest


def without_recipients(header: bytes, hidden: frozenset[str]) -> bytes:
    """The header section without `hidden` addresses in To, Cc and Bcc; every other octet as it was."""
    lines, rest = parts(header)
    keys = frozenset(mailbox_key(address) for address in hidden)
    return b"".join(_without(each, keys) if each.name in _RECIPIENTS else each.raw for each in fields(lines)) + rest


def copy_fingerprint(header: bytes, *, hidden: Iterable[str] = ()) -> str:
    """Equal for every copy of one message, whoever filed it and whatever Message-ID or Bcc it carries; hex.

    Made of Date, From, To, Cc and Subject as they read, not as they are written: names, order, folding and encoding
    may differ. log@crm.localhost and the `hidden` addresses (the dropbox) count as absent: not every copy holds them.
    """
    return fingerprint_of(heading(header), hidden=hidden)


def fingerprint_of(said: Heading, *, hidden: Iterable[str] = ()) -> str:
    """`copy_fingerprint` of a message whose header section says this."""
    absent = _FOR_US | {mailbox_key(address) for address in hidden}
    people = (said.from_, said.to, said.cc)
    keys = (sorted({mailbox_key(one.address) for one in group} - absent) for group in people)
    date = said.date.replace(microsecond=0).isoformat() if said.date else ""
    subject = " ".join(unicodedata.normalize("NFC", said.subject).split())
    said_as_one = "\x1e".join([date, *("\x1f".join(group) for group in keys), subject])
    return hashlib.sha256(said_as_one.encode("utf-8", "surrogatepass")).hexdigest()


_FOR_US = frozenset({mailbox_key(LOG_ADDRESS)})


def _without(field: Field, keys: Collection[str]) -> bytes:
    return without_addresses(field.raw, keys) or b""


def _on_top(added: bytes, lines: bytes) -> bytes:
    """`added` before the first line that is not a stray continuation (which would become part of it)."""
    if not added:
        return lines
    first = next(iter(fields(lines)), None)
    if first is None or first.raw[:1] not in (b" ", b"\t"):
        return added + lines
    head = first.raw if first.raw.endswith(b"\n") else first.raw + b"\r\n"
    return head + added + lines[len(first.raw) :]


def _first(said: Mapping[bytes, list[bytes]], name: bytes) -> bytes:
    """The first body of that name that says something."""
    for body in said.get(name, ()):
        if body:
            return body
    return b""


def _ids(said: Mapping[bytes, list[bytes]], names: Iterable[bytes]) -> tuple[str, ...]:
    bodies = [body for name in names for body in said.get(name, ())]
    return message_ids(b" ".join(bodies)) if bodies else ()


def _people(said: Mapping[bytes, list[bytes]], name: bytes) -> tuple[MailAddress, ...]:
    found: list[MailAddress] = []
    for body in said.get(name, ()):
        found.extend(read_addresses(body, MOST - len(found)))
        if len(found) >= MOST:
            break
    return tuple(found)


def _instant(body: bytes) -> datetime | None:
    if not body:
        return None
    try:
        read = parsedate_to_datetime(raw_text(body[:200]))
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _mark(bodies: Iterable[bytes]) -> bool | None:
    """X-CRM-Log: where it is said twice, `no` wins."""
    words = {raw_text(body[:100]).strip("\"' ").lower() for body in bodies}
    return False if words & _NO else True if words & _YES else None


def _media_type(body: bytes) -> str:
    found = _MEDIA_TYPE.match(raw_text(body[:300]))
    return found[1].lower() if found else ""


def _report_type(body: bytes) -> str:
    """Of multipart/report (RFC 6522): delivery-status, disposition-notification …"""
    return parse(body)[1].get("report-type", "").strip().lower() if b"report" in body.lower() else ""
