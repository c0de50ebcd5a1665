"""Bounces, delays and receipts that name no tracked message in the three fields: found without reading anybody's mail.

Most reports carry neither In-Reply-To nor References; what they are about stands in a part of theirs. Why this way and
not by reading Content-Type of every new message: the three fields stay three. The *server* is asked which of the new
messages may be reports (one SEARCH for a batch of new mail, none while nothing arrives), and of those alone, in this
order and only as far as needed:

1. the media type, beside the Message-ID, for what proxyd itself put there is passed over; and for a multipart/report
   the MIME headers of its parts;
2. the Message-ID that the returned message has (`BODY.PEEK[3.HEADER.FIELDS (MESSAGE-ID)]`), or the returned header
   section where that is all that was returned, or a receipt's own fields;
3. where there is no such part (qmail, old Exim, Domino, gateways): the server is asked whether the message holds the id
   of one of the newest tracked messages. Nothing of it is fetched unless it says yes.

However many reports a batch holds (backscatter comes by the hundred), it costs a handful of commands.

Only what is about a tracked message is fetched as a whole. Of other people's bounces nothing is kept, and no text read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.formats.reports import HEADER_TYPES, MESSAGE_TYPES, RECEIPT_TYPES, reported_ids
from proxyd.journal import Journal
from proxyd.model import OWN_DOMAIN, ThreadMatch
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

SINCE = timedelta(days=365)  # nobody reports on what is older
NEWEST = 200  # tracked ids that messages without a readable part are searched for
AT_ONCE = 50  # of them in one command


class Reports:
    """Of one batch of new messages in the open folder."""

    def __init__(self, address: str, journal: Journal) -> None:
        self._address = address
        self._journal = journal
        self._found: dict[int, ThreadMatch | None] = {}
        self.unmatched: dict[int, list[str]] = {}  # the ids that reports return of which none is in the log

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
        fields = await session.do(Connection.fields, maybe, ["MESSAGE-ID", "CONTENT-TYPE"]) if maybe else {}
        headings = {uid: read_heading(octets) for uid, octets in fields.items()}
        # What proxyd itself put there is about mail that was never sent: no news for the log.
        maybe = [uid for uid in maybe if uid in headings and not headings[uid].message_id.endswith(f"@{OWN_DOMAIN}")]
        reports = [uid for uid in maybe if headings[uid].content_type == "multipart/report"]
        named = await self._named_by_parts(session, reports)
        held = await self._held(session, [uid for uid in maybe if uid not in named], newest)
        named |= {uid: [id] for uid, id in held.items()}
        known = await self._journal.tracked(self._address, (id for ids in named.values() for id in ids))
        for uid, ids in named.items():
            id = next((each for each in ids if each in known and known[each].outgoing), None)
            if id is not None:
                self._found[uid] = ThreadMatch(known[id].message, known[id].thread, f"it reports on <{id}>")
            elif not any(each in known for each in ids):
                self.unmatched[uid] = ids

    async def _named_by_parts(self, session: Session, reports: Sequence[int]) -> dict[int, list[str]]:
        """The ids that the parts of each multipart/report name; a message without such a part is missing."""
        asked: dict[str, dict[int, Part]] = {}  # section → what it is in which message
        for uid, parts in (await self._sections(session, reports, PARTS)).items():
            for name, header in parts.items():
                if (found := _of_interest(name.partition(".")[0], header)) is not None:
                    asked.setdefault(found.section, {})[uid] = found
        named: dict[int, list[str]] = {}
        for section, of in asked.items():
            for uid, octets in (await self._sections(session, sorted(of), [section])).items():
                ids = reported_ids(of[uid].type, of[uid].header, octets[section]) if uid in of else ()
                if ids:
                    named.setdefault(uid, []).extend(ids)
        return named

    async def _sections(
        self, session: Session, uids: Sequence[int], names: Sequence[str]
    ) -> dict[int, dict[str, bytes]]:
        """In one command; one by one where the server says no because one of the messages has no such part."""
        try:
            return await session.do(Connection.sections, uids, names)
        except Refused:
            found: dict[int, dict[str, bytes]] = {}
            for uid in uids:
                with contextlib.suppress(Refused):
                    found |= await session.do(Connection.sections, [uid], names)
            return found

    async def _held(self, session: Session, uids: Sequence[int], newest: Sequence[str]) -> dict[int, str]:
        """Which of these messages hold one of these ids, as their server says, and which."""
        found: dict[int, str] = {}
        for start in range(0, len(newest), AT_ONCE):
            left = [uid for uid in uids if uid not in found]
            asked = newest[start : start + AT_ONCE]
            for uid in await self._holding(session, left, asked):
                found[uid] = await self._which(session, uid, asked)
        return found

    async def _which(self, session: Session, uid: int, ids: Sequence[str]) -> str:
        """The one of these ids that the message holds."""
        while len(ids) > 1:
            half = ids[: len(ids) // 2]
            ids = half if await self._holding(session, [uid], half) else ids[len(half) :]
        return ids[0]

    async def _holding(self, session: Session, uids: Sequence[int], ids: Sequence[str]) -> list[int]:
        return await session.do(Connection.any_of, uids, [("TEXT", f"<{id}>") for id in ids])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a report that names what it is about: its media type, what is to be read of it, its MIME header."""

    type: str
    section: str
    header: bytes


def _of_interest(number: str, header: bytes) -> Part | None:
    type = read_heading(header).content_type
    if type in MESSAGE_TYPES:
        return Part(type, f"{number}.{IDS}", b"")
    if type in HEADER_TYPES or type in RECEIPT_TYPES:
        return Part(type, f"{number}{HEAD}", header)
    return None
