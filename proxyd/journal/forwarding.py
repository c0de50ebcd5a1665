"""Mail sent to log@crm.localhost alone: it goes to nobody, the message forwarded in it is logged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from proxyd.config import Account
from proxyd.formats.forwarded import inline_heading
from proxyd.formats.message import heading, split_header
from proxyd.formats.mime import BodyReader, attachment
from proxyd.model import LOG_ADDRESS, Direction, Found, Heading, Seen, Source, Tracked, mailbox_key
from proxyd.store import content
from proxyd.store.database import Database

NOWHERE = Found("", 0, 0)


class Octets:
    """A message in memory, as a Content."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        return len(self._octets)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._octets), content.CHUNK):
            yield self._octets[start : start + content.CHUNK]


def forwarded_in(database: Database, owner: str, account: Account, own: Heading, at: datetime) -> Seen:
    """What `owner`'s message forwards: a message attached, else one inline, else the message itself. Blocks."""
    reader = BodyReader()
    with database.reading() as connection:
        for chunk in content.octets(connection, owner):
            reader.feed(chunk)
        body = reader.finish()
        attached = next((n for n, each in enumerate(body.attachments) if each.type == "message/rfc822"), None)
        octets = content.octets(connection, owner)
        whole = b"".join(octets if attached is None else attachment(octets, attached))
    if attached is not None:
        said, how = heading(whole[: split_header(whole) or len(whole)]), "attached"
    else:
        inline = inline_heading(body.text)
        said, how = (own, "as it is") if inline is None else (inline, "inline")
    mine = account.own
    outgoing = any(mailbox_key(each.address) in mine for each in said.from_)
    return Seen(
        account=account.address.lower(),
        direction=Direction.OUTGOING if outgoing else Direction.INCOMING,
        source=Source.FORWARDED,
        heading=said,
        content=Octets(whole),
        found=NOWHERE,
        at=at,
        verdict=Tracked(f"forwarded to {LOG_ADDRESS}, {how}"),
    )
