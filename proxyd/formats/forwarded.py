"""The message that a person forwards inline: who wrote it, to whom and when, read off the block of fields above it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from proxyd.formats.addresses import read_addresses
from proxyd.formats.quoted import is_header_block, label_of, value_of
from proxyd.model import Heading, MailAddress

_LINES_READ = 5000  # of a text, in which the block is looked for
_BLOCK = 40  # lines of one block: a long To is wrapped
_MAILTO = re.compile(r"[\[<]mailto:([^\]>\s]{1,320})[\]>]", re.IGNORECASE)
_LINK_BEHIND = re.compile(r"(\S{1,320}@\S{1,320})\s*<mailto:[^>\s]{1,320}>", re.IGNORECASE)
_CC = frozenset({"cc", "kopie", "kopia", "kopi", "копия", "抄送"})


def inline_heading(text: str) -> Heading | None:
    """What the first block of at least three of From, Date, To and Subject in `text` says; None where none is.

    `date` is None where the block writes it in a way of its own. The ids of the message are not to be had.
    """
    lines = [line.lstrip("> \t").rstrip() for line in text.split("\n", _LINES_READ)[:_LINES_READ]]
    for index, line in enumerate(lines):
        if label_of(line) is not None and is_header_block(lines, index):
            return _read(lines[index : index + _BLOCK])
    return None


def _read(lines: list[str]) -> Heading | None:
    said: dict[object, str] = {}
    field: object = None
    for line in lines:
        if not line:
            if len(said) >= 3:
                break
            continue
        label = _label(line)
        if label is not None:
            field = label if label not in said else None
            if field is not None:
                said[field] = value_of(line)
        elif field is not None:
            said[field] += " " + line.strip()
    author = _people(said.get(0, ""))
    if not author:
        return None
    return Heading(
        from_=author[:1],
        to=_people(said.get(2, "")),
        cc=_people(said.get("cc", "")),
        subject=said.get(3, "").strip("* "),
        date=_instant(said.get(1, "")),
    )


def _label(line: str) -> object:
    name = line.partition(":")[0].strip("*> ").lower()
    return "cc" if name in _CC else label_of(line)


def _people(value: str) -> tuple[MailAddress, ...]:
    value = _LINK_BEHIND.sub(r"\1", value.strip("* "))
    value = _MAILTO.sub(r"<\1>", value)
    return read_addresses(value.encode("utf-8", "replace"))


def _instant(value: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(value.strip("* ").replace(" at ", " ")[:100])
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
