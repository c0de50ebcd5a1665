"""What there is of a message to show in a browser: its HTML, and the pictures that it shows from its own parts."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from proxyd.formats.body_parts import Leaf, Multipart
from proxyd.formats.mime import Walk

MOST_PICTURES = 4 * 1024 * 1024  # octets of them all
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # nothing that can hold a script
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


@dataclass(frozen=True, slots=True)
class MessageHtml:
    """`source` as the sender wrote it: not safe to show. `pictures` maps Content-IDs to `data:` URLs."""

    source: str
    pictures: dict[str, str] = field(default_factory=dict)


def message_html(chunks: Iterable[bytes]) -> MessageHtml:
    """Of a message, header section first; where it has no HTML, its text as HTML. Never raises."""
    walk = Walk(pictures=PICTURES | frozenset(_ALIASES))
    room = MOST_PICTURES
    for chunk in chunks:
        walk.feed(chunk)
        for leaf in walk.pictures:
            if leaf.taken is not None and leaf.size > room:
                leaf.taken = None  # too large to stand in a page
        room = MOST_PICTURES - sum(leaf.size for leaf in walk.pictures[:-1] if leaf.taken is not None)
    walk.finish()
    source = "\n".join(_sources(walk.root)) if walk.root is not None else ""
    return MessageHtml(source, dict(_data_urls(walk.pictures)))


def _sources(part: Leaf | Multipart) -> Iterator[str]:
    """The richest of alternatives, everything else in its order."""
    if isinstance(part, Leaf):
        if not part.attached:
            text = part.text()
            yield text if part.is_html else f"<pre>{html.escape(text)}</pre>"
        return
    parts = part.parts
    if part.subtype == "alternative":
        rich = [each for each in parts if _has_html(each)]
        shown = [each for each in parts if not (isinstance(each, Leaf) and each.attached)]
        parts = rich[-1:] or shown[:1]
    for each in parts:
        yield from _sources(each)


def _has_html(part: Leaf | Multipart) -> bool:
    if isinstance(part, Leaf):
        return part.is_html and not part.attached
    return any(_has_html(each) for each in part.parts)


def _data_urls(leaves: Iterable[Leaf]) -> Iterator[tuple[str, str]]:
    for leaf in leaves:
        octets = b"".join(leaf.taken or ())
        if octets:
            type = _ALIASES.get(leaf.header.type, leaf.header.type)
            yield leaf.header.content_id, f"data:{type};base64,{base64.b64encode(octets).decode()}"
