"""Bounces, delays and receipts that name no tracked message in the three fields: found without reading anybody's mail.

Most reports carry neither In-Reply-To nor References; what they are about stands in a part of theirs. Why this way and
not by reading Content-Type of every new message: the three fields stay three. The *server* is asked which of the new
messages may be reports (one SEARCH for a batch of new mail, none while nothing arrives), and of those alone, in this
order and only as far as needed:

1. the media type, and for a multipart/report the MIME headers of its parts;
2. the Message-ID that the returned message has (`BODY.PEEK[3.HEADER.FIELDS (MESSAGE-ID)]`), or the returned header
   section where that is all that was returned, or a receipt's own fields;
3. where there is no such part (qmail, old Exim, Domino, gateways): the server is asked whether the message holds the id
   of one of the newest tracked messages. Nothing of it is fetched unless it says yes.

Only what is about a tracked message is fetched as a whole. Of other people's bounces nothing is kept, and no text read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import structlog

from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.formats.reports import HEADER_TYPES, MESSAGE_TYPES, RECEIPT_TYPES, reported_ids
from proxyd.journal import Journal
from proxyd.model import ThreadMatch
from proxyd.provider.imap import Connection
from proxyd.watcher.session import Session

log = structlog.get_logger()

# What a report may be told by. Every bounce has an empty return path; not every server files it.
MAYBE = (
    ("HEADER", "Content-Type", "multipart/report"),
    ("HEADER", "Return-Path", "<>"),
    ("FROM", "mailer-daemon"),
    ("FROM", "postmaster"),
    ("HEADER", "X-Failed-Recipients", "@"),
)
PARTS = ("2.MIME", "3.MIME", "4.MIME")
IDS = "HEADER.FIELDS (MESSAGE-ID X-MICROSOFT-ORIGINAL-MESSAGE-ID X-GOOGLE-ORIGINAL-MESSAGE-ID)"
HEAD = "<0.16384>"  # of a part that is nothing but fields

SINCE = timedelta(days=30)  # no server keeps trying for longer: of older mail nothing is to be expected
NEWEST = 200  # tracked ids that a message without a readable part is searched for
AT_ONCE = 50  # of them in one command


class Reports:
    """Of one batch of new messages in the open folder."""

    def __init__(self, address: str, journal: Journal) -> None:
        self._address = address
        self._journal = journal
        self._found: dict[int, ThreadMatch | None] = {}

    async def find(self, session: Session, uids: Sequence[int]) -> dict[int, ThreadMatch]:
        """Those of `uids` that report on a tracked message, and on which. The server is asked once about each."""
        asked = [uid for uid in uids if uid not in self._found]
        if asked and (newest := await self._journal.newest_sent_ids(self._address, SINCE, NEWEST)):
            self._found |= dict.fromkeys(asked)
            try:
                await self._ask(session, asked, newest)
            except Refused as error:
                log.info("reports cannot be searched for", account=self._address, why=error.evidence)
        return {uid: match for uid in uids if (match := self._found.get(uid)) is not None}

    async def _ask(self, session: Session, uids: Sequence[int], newest: Sequence[str]) -> None:
        maybe = await session.do(Connection.any_of, uids, MAYBE)
        named = await self._named_by_parts(session, maybe)
        known = await self._journal.tracked(self._address, (id for ids in named.values() for id in ids))
        for uid, ids in named.items():
            for id in ids:
                if id in known and known[id].outgoing:
                    self._found[uid] = ThreadMatch(known[id].message, known[id].thread, f"it reports on <{id}>")
                    break
        for uid in maybe:
            if uid in named or (held := await self._held(session, uid, newest)) is None:
                continue
            (found,) = (await self._journal.tracked(self._address, [held])).values()
            self._found[uid] = ThreadMatch(found.message, found.thread, f"it reports on <{held}>")

    async def _named_by_parts(self, session: Session, uids: Sequence[int]) -> Mapping[int, Iterable[str]]:
        """The ids that the parts of each multipart/report name; a message without such a part is missing."""
        types = await session.do(Connection.fields, uids, ["CONTENT-TYPE"])
        reports = [uid for uid, octets in types.items() if read_heading(octets).content_type == "multipart/report"]
        named: dict[int, Iterable[str]] = {}
        for uid in reports:
            try:
                parts = (await session.do(Connection.sections, [uid], PARTS)).get(uid, {})
                ids: list[str] = []
                for name, header in parts.items():
                    ids += await self._ids_of_part(session, uid, name.partition(".")[0], header)
            except Refused:  # some servers say no to a part that is not there
                continue
            if ids:
                named[uid] = ids
        return named

    async def _ids_of_part(self, session: Session, uid: int, number: str, header: bytes) -> Sequence[str]:
        type = read_heading(header).content_type
        if type in MESSAGE_TYPES:
            section = f"{number}.{IDS}"
        elif type in HEADER_TYPES or type in RECEIPT_TYPES:
            section = f"{number}{HEAD}"
        else:
            return ()
        octets = (await session.do(Connection.sections, [uid], [section])).get(uid, {}).get(section, b"")
        return reported_ids(type, b"" if type in MESSAGE_TYPES else header, octets)

    async def _held(self, session: Session, uid: int, newest: Sequence[str]) -> str | None:
        """The first of these ids that the message holds, as its server says."""
        for start in range(0, len(newest), AT_ONCE):
            asked = newest[start : start + AT_ONCE]
            if not await self._holds_any(session, uid, asked):
                continue
            while len(asked) > 1:
                half = asked[: len(asked) // 2]
                asked = half if await self._holds_any(session, uid, half) else asked[len(half) :]
            return asked[0]
        return None

    async def _holds_any(self, session: Session, uid: int, ids: Sequence[str]) -> bool:
        return bool(await session.do(Connection.any_of, [uid], [("TEXT", f"<{id}>") for id in ids]))
