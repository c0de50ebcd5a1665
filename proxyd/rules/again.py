"""A message that is logged comes again under its Message-ID: is it the same, and does it complete what is logged?

A Message-ID proves nothing, for anybody who has seen it can send it again. So a second one is looked into only where
its header says the same of author, date and thread; and it completes the record only where nothing of it would be lost:
the same text, and every attachment that was there, but for placeholders. Those are what Microsoft's Dynamic Delivery
and other scanners deliver first, and replace later under the same Message-ID by the real ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxyd.model import Attachment, Body, Heading, mailbox_key
from proxyd.rules.threads import named_ids

SMALL = 64 * 1024  # octets that a placeholder has at most

_SCANNED = re.compile(r"scan[\s_-]*in[\s_-]*progress|being[\s_-]*scanned|safe[\s_-]*attachments?\b", re.IGNORECASE)
_NOTES = ("text/plain", "text/html", "message/rfc822")


@dataclass(frozen=True, slots=True)
class Completes:
    because: str


@dataclass(frozen=True, slots=True)
class LeftAlone:
    because: str


def same_message(logged: Heading, comes: Heading) -> bool:
    """By their headers: one author, one date, one place in a thread."""
    return (
        bool(logged.from_)
        and _authors(logged) == _authors(comes)
        and logged.date == comes.date
        and set(named_ids(logged)) == set(named_ids(comes))
    )


def completes(logged: Body, comes: Body) -> Completes | LeftAlone:
    """Whether `comes` may stand in the place of `logged`."""
    if logged.text.split() and logged.text.split() != comes.text.split():
        return LeftAlone("its text is another")
    there = {each.sha256 for each in comes.attachments}
    lost = [each for each in logged.attachments if each.sha256 not in there]
    if not all(_is_placeholder(each, comes.attachments) for each in lost):
        return LeftAlone("an attachment is missing in it")
    had = {each.sha256 for each in logged.attachments}
    new = sum(each.sha256 not in had for each in comes.attachments)
    if new < len(lost):
        return LeftAlone("it holds less")
    if not new and len(logged.text.split()) == len(comes.text.split()):
        return LeftAlone("it holds nothing new")
    placeholders = f", {len(lost)} of them for a placeholder" if lost else ""
    return Completes(f"{new} attachment{'' if new == 1 else 's'} came later{placeholders}")


def _authors(heading: Heading) -> set[str]:
    return {mailbox_key(each.address) for each in heading.from_}


def _is_placeholder(attachment: Attachment, real: tuple[Attachment, ...]) -> bool:
    """A small note in the place of an attachment, that says so or is named after one that is there now."""
    if attachment.size > SMALL or attachment.type not in _NOTES:
        return False
    if _SCANNED.search(attachment.name):
        return True
    name = attachment.name.lower()
    after = {each.name.lower() for each in real if each.type not in _NOTES}
    return name in after or name.rpartition(".")[0] in after
