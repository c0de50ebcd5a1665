"""A logged message as a browser may show it: in a frame of its own, with nothing that runs or loads."""

from __future__ import annotations

from dataclasses import asdict

from proxyd.formats.invitation import MOST_READ, invitations
from proxyd.formats.message_html import message_html
from proxyd.formats.mime import attachment as decoded_attachment
from proxyd.formats.safe_html import safe_html
from proxyd.store.database import Database
from proxyd.web.answers import Document, octets_of, owner_of
from proxyd.web.viewer import OWNER, Viewer

_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light">'
    "<style>body{{font:14px/1.45 system-ui,sans-serif;margin:12px;background:#fff;color:#1a1a1a}}"
    "body{{overflow-wrap:anywhere}}"
    "img{{max-width:100%;height:auto}}pre{{white-space:pre-wrap;font:inherit}}"
    "blockquote{{margin:0 0 0 .6em;padding-left:.8em;border-left:2px solid #ccc}}</style></head><body>{}</body></html>"
)


def policy(images: bool) -> str:
    """The Content-Security-Policy that the page goes with: even if something were left in it, it could do nothing."""
    shown = "data: https: http:" if images else "data:"
    return (
        f"default-src 'none'; img-src {shown}; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none';"
        " frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
    )


def page(database: Database, id: str, images: bool, viewer: Viewer = OWNER) -> Document | None:
    """`{"html", "blocked"}`: a whole document, and how many pictures from elsewhere are not in it (`images`: they are).
    None where the viewer sees no such message. Blocks, for seconds where the message is hostile."""
    owner = owner_of(database, id, viewer)
    if owner is None:
        return None
    said = message_html(octets_of(database, owner))
    safe = safe_html(said.source, said.pictures, remote=images)
    return {"html": _PAGE.format(safe.html), "blocked": safe.blocked}


def with_invitations(database: Database, document: Document, viewer: Viewer = OWNER) -> Document:
    """A message's document with what the calendars attached to it say."""
    owner = owner_of(database, document["id"], viewer)
    found = []
    for n, each in enumerate(document["attachments"]):
        if each["type"] == "text/calendar" and each["size"] <= MOST_READ and owner is not None:
            octets = b"".join(decoded_attachment(octets_of(database, owner), n))
            found += [asdict(said) for said in invitations(octets)]
    return document | {"invitations": found}
