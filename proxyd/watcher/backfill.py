"""Going through earlier mail because the person asked for it: what was exchanged with contacts goes into the log.

The rules (`proxyd.rules.backfill`) say in which order, by which way and what. From, To, Cc, Date and the ids of each
message in that span are read, or of those alone that the server names; of what is logged, the message. It is work that
can wait: on a connection of its own that goes as soon as the person's clients want it, with pauses as long as the
commands took, and no word when the provider wants quiet (the door waits). After each span of time how far it came is
durable; what is gone through twice after a kill is logged once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import structlog

from proxyd.config import Account
from proxyd.errors import ProxydError, Refused, TryLater
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.model import Backfill, Heading, Source
from proxyd.provider.allowance import Allowance
from proxyd.provider.imap import Connection, Opened
from proxyd.rules import backfill as rules
from proxyd.rules import threads
from proxyd.rules.plus_tags import same_mailbox
from proxyd.rules.sent_copy import sent_folder
from proxyd.rules.watched_folders import Role, watched_folders
from proxyd.watcher import catch_up
from proxyd.watcher.catch_up import CatchUp
from proxyd.watcher.positions import NAMES
from proxyd.watcher.session import Session
from proxyd.workers import Clock, start

log = structlog.get_logger()

FIELDS = (*NAMES, *catch_up.ORIGINAL_NAMES, "FROM", "SENDER", "TO", "CC", "DATE")
LONGEST_REST = 2.0  # seconds
TRIES = 5  # at a span in which the server shows a message and does not deliver it

MAKES_ROOM = "the mail clients need the connections"

Connected = Callable[[Callable[[Session], Awaitable[None]]], Awaitable[None]]  # Mailbox gives a session to work with


class StepsAside(Exception):
    """Not now, or not any more; no fault of anybody."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to go through; `messages` lie in what is left of the time."""

    name: str
    sent: bool
    messages: int


@dataclass(frozen=True, slots=True)
class Found:
    folder: str
    uid: int
    heading: Heading
    why: rules.Wanted


class Backfilling:
    """One account's."""

    def __init__(
        self, account: Account, journal: Journal, clock: Clock, allowance: Allowance, reading: CatchUp
    ) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._backfills = journal.backfills
        self._clock = clock
        self._allowance = allowance
        self._reading = reading
        self._settings = rules.settings(reading.rules)
        self._now: Backfill | None = None
        self._withheld: dict[tuple[str, int], int] = {}  # (folder, UID) → spans given up because of it
        self._searches = True  # the server searches for people
        self._connected: Connected | None = None
        self._task: asyncio.Task[None] | None = None  # while there may be something to go through

    def start(self, connected: Connected) -> None:
        """What is asked for now or later is gone through, as often as it takes."""
        self._connected = connected
        self._backfills.asked(self._address).heard_by = self._asked
        self._asked()

    def _asked(self) -> None:
        if self._task is None or self._task.done():
            self._task = start(self._run(), f"backfill {self._address}")

    async def stop(self) -> None:
        self._backfills.asked(self._address).heard_by = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        assert self._connected is not None
        asked = self._backfills.asked(self._address)
        while True:
            asked.clear()
            self._now = await self._backfills.unfinished(self._address)
            if self._now is None and asked.is_set():
                continue
            if self._now is None:
                self._task = None
                return
            if not self._allowance.guest_welcome:
                self._show(waits_for=MAKES_ROOM)
                await self._allowance.guest_may_come()
                continue
            await self._connected(self._go_through)

    async def waits(self, error: ProxydError) -> None:
        """There is no connection to be had for now."""
        self._show(waits_for=str(error))

    def _show(self, **changes: object) -> None:
        assert self._now is not None
        self._now = replace(self._now, **changes)  # type: ignore[arg-type]
        self._backfills.show(self._now)

    # --- on a connection ------------------------------------------------------------------------------------

    async def _go_through(self, session: Session) -> None:
        assert self._now is not None
        try:
            places = await self._places(session)
            left = sum(each.messages for each in places)
            self._show(state="running", total=self._now.read + left, waits_for="")
            for since, before in rules.spans(self._now.next_day, self._now.until):
                await self._span(session, [each for each in places if each.messages], since, before)
                self._show(next_day=before)
                if not await self._backfills.progress(self._now):
                    return
        except StepsAside:
            return
        self._show(state="done", read=self._now.total, ended_at=self._clock.now())
        await self._backfills.progress(self._now)
        log.info("earlier mail gone through", account=self._address, logged=self._now.logged, found=self._now.found)

    async def _places(self, session: Session) -> list[Place]:
        assert self._now is not None
        there = await session.do(Connection.folders)
        sent = sent_folder(there, self._account.sent_copy.folder).name
        watched = watched_folders(
            there,
            self._account.watch.folders,
            sent,
            labels=await session.do(Connection.has, "X-GM-EXT-1"),
            marked=self._account.marking.folder,
            others=await session.do(Connection.others_prefixes),
        )
        places = []
        for each in rules.folders(watched):
            began = self._clock.monotonic()
            try:
                await session.do(Connection.examine, each.name)
                uids = await session.do(Connection.uids_between, self._now.next_day, self._now.until)
            except Refused:
                continue  # a folder that is named and cannot be opened
            places.append(Place(each.name, each.role is Role.SENT, len(uids)))
            await self._rest(began)
        return places

    async def _rest(self, began: float) -> None:
        """As long as the work took; after it, whether there is still room and anybody who wants it."""
        assert self._now is not None
        took = max(self._clock.monotonic() - began, 0.0)
        await self._clock.sleep(min(took, LONGEST_REST))
        self._show(seconds=self._now.seconds + took + min(took, LONGEST_REST))
        if not self._allowance.guest_welcome or not await self._backfills.goes_on(self._now):
            raise StepsAside

    async def _span(self, session: Session, places: Sequence[Place], since: date, before: date) -> None:
        found: list[Found] = []
        for place in places:
            try:
                await session.do(Connection.examine, place.name)
            except Refused:
                continue  # gone meanwhile
            found += await self._in_folder(session, place, since, before)
        await self._log(session, sorted(found, key=_at))

    async def _in_folder(self, session: Session, place: Place, since: date, before: date) -> list[Found]:
        """What is with contacts among the messages of one span in the open folder."""
        began = self._clock.monotonic()
        uids = await session.do(Connection.uids_between, since, before)
        contacts = await self._backfills.contacts()
        some = await self._named_by_server(session, len(uids), contacts, since, before)
        looked = uids if some is None else sorted(some & set(uids))
        found: list[Found] = []
        for first in range(0, len(looked), rules.BATCH):
            batch = looked[first : first + rules.BATCH]
            found += self._wanted(place, await self._fields(session, place, batch), frozenset(contacts))
            assert self._now is not None
            read = self._now.read + (len(batch) if some is None else 0)
            self._show(headers=self._now.headers + len(batch), read=read)
            await self._rest(began)
            began = self._clock.monotonic()
        if some is not None:
            assert self._now is not None
            self._show(read=self._now.read + len(uids))
            await self._rest(began)
        return found

    async def _fields(self, session: Session, place: Place, uids: Sequence[int]) -> dict[int, bytes]:
        """The fields of every one of these messages that is still there."""
        fields = await session.do(Connection.fields, uids, FIELDS)
        missing = [uid for uid in uids if uid not in fields]
        for pause in catch_up.INSIST:
            if not missing:
                return fields
            await self._clock.sleep(pause)
            missing = await self._still_there(session, missing)
            fields |= await session.do(Connection.fields, missing, FIELDS)
            missing = [uid for uid in missing if uid not in fields]
        for uid in missing:
            self._withhold(place.name, uid)
        return fields

    async def _still_there(self, session: Session, uids: Sequence[int]) -> list[int]:
        await session.do(Connection.noop)
        there = frozenset(await session.do(Connection.uids_from, min(uids)))
        return [uid for uid in uids if uid in there]

    def _withhold(self, folder: str, uid: int) -> None:
        """The server shows a message and does not deliver it: the span is gone through again; after some times it is
        passed over, loudly."""
        times = self._withheld[folder, uid] = self._withheld.get((folder, uid), 0) + 1
        if times < TRIES:
            raise StepsAside
        log.warning("a message was announced and never delivered", account=self._address, uid=uid)

    async def _named_by_server(
        self, session: Session, messages: int, contacts: Sequence[str], since: date, before: date
    ) -> set[int] | None:
        """The UIDs of what the server says is with contacts; None = it is not asked, or does not know."""
        looked_for = rules.looked_for(contacts, self._settings.plus_tags)
        if not self._searches or not rules.asks_server(messages, looked_for):
            return None
        named: set[int] = set()
        for first in range(0, len(looked_for), rules.ASKED):
            began = self._clock.monotonic()
            asked = looked_for[first : first + rules.ASKED]
            try:
                named.update(await session.do(Connection.uids_between, since, before, asked))
            except Refused as error:
                log.info("the server does not search for people", account=self._address, why=error.evidence)
                self._searches = False
                return None
            await self._rest(began)
        return named

    def _wanted(self, place: Place, fields: dict[int, bytes], contacts: frozenset[str]) -> list[Found]:
        found = []
        for uid, octets in sorted(fields.items()):
            heading = read_heading(octets)
            its = frozenset(same_mailbox(rules.people([heading]), contacts, self._settings.plus_tags))
            why = rules.wanted(self._settings, heading, its, sent=place.sent) if its else None
            if why is not None:
                found.append(Found(place.name, uid, heading, why))
        return found

    # --- what is found --------------------------------------------------------------------------------------

    async def _log(self, session: Session, found: Sequence[Found]) -> None:
        """Each message that is not in the log yet, in order of time."""
        ids = [id for each in found for id in (each.heading.message_id, *each.heading.original_ids) if id]
        ruled_out = await self._backfills.ruled_out(self._address, ids)
        there = set(await self._journal.tracked(self._address, ids))
        counted: set[str] = set()
        opened: Opened | None = None
        for each in found:
            names = {id for id in (each.heading.message_id, *each.heading.original_ids) if id}
            if names & ruled_out or names & counted:
                continue
            counted |= names
            new = not names & there
            there |= names
            assert self._now is not None
            self._show(**{each.why.direction: getattr(self._now, each.why.direction) + 1})
            if not new or self._now.dry_run:
                continue
            began = self._clock.monotonic()
            if opened is None or opened.name != each.folder:
                opened = await session.do(Connection.examine, each.folder)
            await self._log_one(session, opened, each)
            await self._rest(began)

    async def _log_one(self, session: Session, opened: Opened, found: Found) -> None:
        assert self._now is not None
        known = await self._journal.tracked(self._address, threads.named_ids(found.heading))
        match = threads.match(found.heading, known)
        why = catch_up.Wanted(found.why.verdict, match, found.why.direction, Source.BACKFILL)
        seen = await self._reading.message(session, opened, found.uid, why)
        for pause in catch_up.INSIST:
            if seen is not None or not await self._still_there(session, [found.uid]):
                break
            await self._clock.sleep(pause)
            seen = await self._reading.message(session, opened, found.uid, why)
        if seen is None:
            if await self._still_there(session, [found.uid]):
                self._withhold(found.folder, found.uid)
            return
        try:
            await self._journal.record(seen)
        except TryLater:
            raise
        except catch_up.FAULTS:  # one that our own code cannot take keeps no other out
            log.exception("a message cannot be logged and is passed over", account=self._address, uid=found.uid)
            return
        self._show(logged=self._now.logged + 1)


def _at(found: Found) -> tuple[datetime, str, int]:
    """In order of Date; what has none comes first, in order of UID."""
    at = found.heading.date or datetime.min.replace(tzinfo=UTC)
    return at, found.folder, found.uid
