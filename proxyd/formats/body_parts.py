"""What each part of a message is, and the body that they make together."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from proxyd.formats.charsets import text_of
from proxyd.formats.fields import Field, fields, split_header
from proxyd.formats.html import html_to_text, references
from proxyd.formats.parameters import file_name, parse, safe_name
from proxyd.formats.quoted import new_text
from proxyd.formats.transfer import decoder
from proxyd.formats.words import decode_words, raw_text
from proxyd.model import Attachment, Body

MOST_TEXT = 2 * 1024 * 1024  # octets of plain text, and as many of HTML, that are kept of one message
CUT = "[cut here: the text is longer than 2 MiB]"
_HEADER_KEPT = 16_384  # octets of a part's Content- fields; of an attached message, those its subject is looked for in

_NAME = re.compile(rb"content-(?:type|disposition|transfer-encoding|id)[ \t]*:", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_SUFFIXES = {
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/pgp-signature": ".asc",
    "application/pkcs7-signature": ".p7s",
    "application/x-pkcs7-signature": ".p7s",
    "application/pkcs7-mime": ".p7m",
    "application/ms-tnef": ".dat",
    "application/json": ".json",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/svg+xml": ".svg",
    "image/webp": ".webp",
    "message/delivery-status": ".txt",
    "message/rfc822": ".eml",
    "message/global": ".eml",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/rfc822-headers": ".txt",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
}
_MESSAGES = ("message/rfc822", "message/global")
# What reports about mail are made of (RFC 3464, 6522, 6533, 8098); kept for `formats.reports`.
_REPORTED = (
    "message/delivery-status",
    "message/global-delivery-status",
    "message/disposition-notification",
    "message/global-disposition-notification",
    "text/rfc822-headers",
    "message/global-headers",
)
_REPORT_KEPT = 65_536  # octets of such a part


class PartHeader:
    """The Content- fields of one part; of all others nothing is kept."""

    def __init__(self, within: Multipart | None) -> None:
        self._within = within.subtype if within else ""
        self._lines: list[bytes] = []
        self._size = 0
        self._keeping = False
        self.type = "text/plain"
        self.charset = ""
        self.disposition = ""
        self.name = ""
        self.encoding = ""
        self.content_id = ""
        self.boundary = b""

    def line(self, line: bytes) -> None:
        if line[:1] not in (b" ", b"\t"):
            self._keeping = _NAME.match(line) is not None
        if self._keeping and self._size < _HEADER_KEPT:
            self._lines.append(line[:_HEADER_KEPT])
            self._size += len(line)

    def read(self) -> None:
        """All lines are there: say what the part is."""
        said: dict[bytes, bytes] = {}
        for each in fields(b"".join(self._lines)):
            said.setdefault(each.name, each.body)
        self._lines.clear()
        self.type, of_type = parse(said.get(b"content-type", b""))
        if self.type.count("/") != 1 or not all(self.type.split("/")):
            self.type = "message/rfc822" if self._within == "digest" and not self.type else "text/plain"
        self.disposition, of_disposition = parse(said.get(b"content-disposition", b""))
        self.name = file_name(of_disposition, of_type)
        self.charset = of_type.get("charset", "")[:64]
        self.encoding = raw_text(said.get(b"content-transfer-encoding", b"")[:100]).partition(";")[0]
        self.content_id = raw_text(said.get(b"content-id", b"")[:998]).strip().strip("<>").strip()
        if self.type.startswith("multipart/"):
            self.boundary = of_type.get("boundary", "").rstrip().encode("utf-8", "replace")


@dataclass(slots=True)
class Multipart:
    header: PartHeader
    parts: list[Leaf | Multipart] = field(default_factory=list)

    @property
    def subtype(self) -> str:
        return self.header.type.partition("/")[2]


class Room:
    """How much text of a message is still kept, in octets of each kind."""

    def __init__(self) -> None:
        self._left = {"text/plain": MOST_TEXT, "text/html": MOST_TEXT}

    def take(self, type: str, wanted: int) -> int:
        granted = min(wanted, self._left.get(type, 0))
        if granted:
            self._left[type] -= granted
        return granted


class Leaf:
    """A part without parts: text that is read, or something attached. `whole_message`: there is no other part."""

    def __init__(self, header: PartHeader, whole_message: bool, room: Room) -> None:
        self.header = header
        self._room = room
        self.attached = not _is_body(header, whole_message)
        self.taken: list[bytes] | None = None  # where the decoded octets go, if anybody wants them
        self._decoder = decoder(header.encoding)
        self._kept = bytearray()
        self._size = 0
        self._digest = hashlib.sha256() if self.attached else None

    def feed(self, octets: bytes) -> None:
        self._add(self._decoder.feed(octets))

    def finish(self) -> None:
        self._add(self._decoder.finish())

    def _add(self, octets: bytes) -> None:
        self._size += len(octets)
        self._kept += octets[: self._wanted(len(octets))]
        if self._digest is not None:
            self._digest.update(octets)
        if self.taken is not None and octets:
            self.taken.append(octets)

    def _wanted(self, size: int) -> int:
        """How many of the next `size` octets are kept."""
        if not self.attached:
            return self._room.take("text/html" if self.is_html else "text/plain", size)
        most = _HEADER_KEPT if self.header.type in _MESSAGES else _REPORT_KEPT if self.header.type in _REPORTED else 0
        return max(0, most - len(self._kept))

    @property
    def size(self) -> int:
        """Octets so far, decoded."""
        return self._size

    @property
    def is_html(self) -> bool:
        return self.header.type == "text/html"

    @property
    def cut(self) -> bool:
        return self._size > len(self._kept)

    @property
    def kept(self) -> bytes:
        """Its first octets, decoded, of what is kept of its kind."""
        return bytes(self._kept)

    def text(self) -> str:
        text = text_of(bytes(self._kept), self.header.charset)
        return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")

    def described(self, number: int, shown: frozenset[str]) -> Attachment:
        """`number` counts attachments from 1; `shown` are the Content-IDs that the HTML shows."""
        header = self.header
        inline = bool(header.content_id) and (header.disposition == "inline" or header.content_id in shown)
        digest = self._digest.hexdigest() if self._digest else ""
        return Attachment(header.name or self._unnamed(number), header.type, self._size, digest, inline)

    def _unnamed(self, number: int) -> str:
        if self.header.type in _MESSAGES:
            end = split_header(self._kept)
            lines = bytes(self._kept[:end])
            subject = next((Field(each.name, each.raw).body for each in fields(lines) if each.name == b"subject"), b"")
            return (
                safe_name(decode_words(raw_text(subject)).replace("/", "_").replace("\\", "_")) or "message"
            ) + ".eml"
        return f"attachment-{number}{_SUFFIXES.get(self.header.type, '')}"


def _is_body(header: PartHeader, whole_message: bool) -> bool:
    """Plain text and HTML without a name of their own are read; of a message that is nothing else, named or not."""
    if header.disposition == "attachment":
        return False
    if header.type.startswith("multipart/"):
        return whole_message  # its boundary is missing: what there is, is shown
    return header.type in ("text/plain", "text/html") and (whole_message or not header.name)


def body_of(root: Leaf | Multipart | None, attachments: list[Leaf]) -> Body:
    """The body that the parts make together."""
    reading = _Reading()
    text = reading.text(root).strip("\n").rstrip() if root else ""
    text = _UNPRINTABLE.sub("", text)
    new = new_text(text)
    if reading.cut:
        text = f"{text}\n\n{CUT}"
    shown = frozenset(reading.shown)
    described = tuple(leaf.described(number, shown) for number, leaf in enumerate(attachments, start=1))
    return Body(text, new, reading.has_html, described)


class _Reading:
    """Puts the texts of the parts together."""

    def __init__(self) -> None:
        self.has_html = False
        self.cut = False
        self.shown: set[str] = set()

    def text(self, part: Leaf | Multipart) -> str:
        return self._plain_or_html(part)[1]

    def _plain_or_html(self, part: Leaf | Multipart) -> tuple[bool, str]:
        """(was it written as plain text?, the text)."""
        if isinstance(part, Leaf):
            return (False, "") if part.attached else (not part.is_html, self._leaf(part))
        texts = [self._plain_or_html(each) for each in part.parts]
        texts = [(plain, text) for plain, text in texts if text.strip()]
        if part.subtype == "alternative":
            return next((each for each in texts if each[0]), texts[-1] if texts else (False, ""))
        return any(plain for plain, _ in texts), "\n\n".join(text.strip("\n") for _, text in texts)

    def _leaf(self, leaf: Leaf) -> str:
        self.cut = self.cut or leaf.cut
        source = leaf.text()
        if not leaf.is_html:
            return source
        self.has_html = True
        self.shown |= references(source)
        return html_to_text(source)
