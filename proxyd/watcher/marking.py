"""Logging by hand, with nothing but a mail client: a keyword or a folder says "log this", a keyword says "it is".

A message that is given the keyword $CRMLog, or is put into the folder CRM/Log, is logged with all that it answers from
then on; `never_log` does not keep it out, for a person has asked for it. Keywords are found by the server's own search,
and only where something may have changed since the last one: in the open folder when the server tells of it, in others
when their HIGHESTMODSEQ (CONDSTORE, RFC 7162) is another. Without CONDSTORE a few folders are searched in each look.

What is logged gets $CRMLogged: `UID STORE +FLAGS.SILENT`, the only change that is ever made to a message of the
person's, and no other flag is ever named. It needs SELECT instead of EXAMINE, which takes \\Recent from the messages
that came since a mail client last opened the folder; some clients show mail as new by that. So it waits until STATUS
says that there is none left (RFC 3501 section 2.3.2), at most for a day; what waits is on record (`journal.marks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import structlog

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.formats.message import split_header
from proxyd.journal import Journal
from proxyd.model import (
    LOGGED_MARK,
    MARK,
    Direction,
    Found,
    Heading,
    MailboxPosition,
    Seen,
    Source,
    Tracked,
    mailbox_key,
)
from proxyd.provider.imap import Connection, Opened, Status
from proxyd.rules import threads
from proxyd.rules.watched_folders import Role, WatchedFolder
from proxyd.watcher.catch_up import FAULTS, ORIGINAL_NAMES, PEOPLE, MailboxContent
from proxyd.watcher.positions import NAMES
from proxyd.watcher.session import Session
from proxyd.workers import Clock

log = structlog.get_logger()

BATCH = 50  # marked messages that are looked at together
SEARCHES = 20  # folders searched in one look
ROLLING = 5  # the same, where the server has no CONDSTORE to say whether it is worth it

BY_KEYWORD = Tracked(f"marked by hand: the keyword {MARK}")
BY_FOLDER = Tracked("marked by hand: put into the folder CRM/Log")


class Marking:
    """One account's. It outlives the connections."""

    def __init__(self, account: Account, journal: Journal, clock: Clock) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._modseqs: dict[str, int] = {}  # how a folder stood when it was last searched
        self._roll = 0
        self._hinted: dict[str, float] = {}  # folder → when to search it, on the clock's monotonic scale
        self._done: dict[tuple[str, int, int], None] = {}  # folder, UIDVALIDITY, UID that bear MARK and are logged

    # --- where there is something to search for ------------------------------------------------------------

    def worth_searching(self, watched: Sequence[WatchedFolder], statuses: Mapping[str, Status]) -> list[str]:
        """The folders to be searched for marks; not many at once."""
        names = [each.name for each in watched if each.role is not Role.MARKED] if self._account.marking.keyword else []
        told = [name for name in names if name in statuses and statuses[name].modseq]
        changed = [name for name in told if self._modseqs.get(name) != statuses[name].modseq][:SEARCHES]
        self._modseqs |= {name: statuses[name].modseq for name in changed}
        silent = [name for name in names if name in statuses and not statuses[name].modseq]
        if len(silent) > ROLLING:
            start = self._roll % len(silent)
            self._roll = start + ROLLING
            silent = (silent + silent)[start : start + ROLLING]
        return [*changed, *silent]

    def hint(self, folders: Iterable[WatchedFolder], at: float) -> None:
        """Something but new mail has changed in these: they are to be searched at `at`."""
        if self._account.marking.keyword:
            for each in folders:
                if each.role is not Role.MARKED:
                    self._hinted.setdefault(each.name, at)

    @property
    def due(self) -> float:
        """When a folder is to be searched, on the clock's monotonic scale."""
        return min(self._hinted.values(), default=math.inf)

    def take_due(self, now: float) -> list[str]:
        due = [name for name, at in self._hinted.items() if at <= now]
        for name in due:
            del self._hinted[name]
        return due

    # --- logging -------------------------------------------------------------------------------------------

    async def search(self, session: Session, opened: Opened) -> None:
        """Log what bears MARK in the open folder."""
        if not self._account.marking.keyword:
            return
        try:
            uids = await session.do(Connection.uids_marked, MARK, LOGGED_MARK)
        except Refused:  # a server that knows no such keyword has none
            return
        uids = [uid for uid in uids if (opened.name, opened.uidvalidity, uid) not in self._done]
        for start in range(0, len(uids), BATCH):
            there = await self._log(session, opened, uids[start : start + BATCH], BY_KEYWORD)
            self._done |= dict.fromkeys((opened.name, opened.uidvalidity, uid) for uid in there)

    async def read(self, session: Session, opened: Opened) -> tuple[int, bool]:
        """Log what lies in CRM/Log, on from where reading stood; as `CatchUp.read`."""
        position = await self._journal.position(self._address, opened.name)
        first = position.uidnext if position is not None and position.uidvalidity == opened.uidvalidity else 1
        uids = await session.do(Connection.uids_from, first)
        for start in range(0, len(uids), BATCH):
            batch = uids[start : start + BATCH]
            there = await self._log(session, opened, batch, BY_FOLDER)
            end = min((uid for uid in batch if uid not in there), default=batch[-1] + 1)
            after = MailboxPosition(opened.uidvalidity, end, self._clock.now())
            await self._journal.set_position(self._address, opened.name, after)
            if len(there) < len(batch):
                return start + len(there), False
        return len(uids), True

    async def _log(self, session: Session, opened: Opened, uids: Sequence[int], verdict: Tracked) -> list[int]:
        """Those of these messages that are not in the log yet; returns the UIDs that the server delivered."""
        fields = await session.do(Connection.fields, uids, (*NAMES, *PEOPLE, *ORIGINAL_NAMES))
        headings = {uid: read_heading(octets) for uid, octets in sorted(fields.items())}
        known = await self._journal.tracked(self._address, {id for each in headings.values() for id in _names(each)})
        for uid, each in headings.items():
            if known.keys() & set(_names(each)):
                continue
            try:
                if (seen := await self._message(session, opened, uid, each, verdict)) is not None:
                    await self._journal.record(seen)
            except FAULTS:  # ours, and no reason to keep the others out
                log.exception("a marked message cannot be logged", account=self._address, uid=uid)
        if self._account.marking.flag_logged:  # also what is in the log already
            await self._journal.marks.owe(
                self._address, [Found(opened.name, opened.uidvalidity, uid) for uid in headings]
            )
        return list(headings)

    async def _message(
        self, session: Session, opened: Opened, uid: int, said: Heading, verdict: Tracked
    ) -> Seen | None:
        """The message, which somebody wants logged; None = it has gone meanwhile."""
        facts = await session.do(Connection.facts, uid)
        first = await session.do(Connection.part, uid, 0)
        if facts is None or not first:
            return None
        end = split_header(first)
        heading = read_heading(first if end is None else first[:end])
        own = any(mailbox_key(each.address) in self._account.own for each in said.from_)
        match = threads.match(heading, await self._journal.tracked(self._address, threads.named_ids(heading)))
        return Seen(
            account=self._address,
            direction=Direction.OUTGOING if own else Direction.INCOMING,
            source=Source.MARKED,
            heading=heading,
            content=MailboxContent(session, uid, facts.size, first),
            found=Found(opened.name, opened.uidvalidity, uid, facts.internaldate),
            at=self._clock.now(),
            verdict=verdict,
            match=match,
        )

    # --- showing that it is logged -------------------------------------------------------------------------

    async def ripe(self, session: Session) -> list[str]:
        """The folders in which something can be flagged by now: mail clients have noticed all that is there."""
        await self._journal.marks.forget(self._address)
        if not self._account.marking.flag_logged:
            return []
        waiting = list(dict.fromkeys(folder for folder, _ in self._journal.marks.of(self._address)))[:SEARCHES]
        return [folder for folder in waiting if not await self._unnoticed(session, folder)]

    async def _unnoticed(self, session: Session, folder: str) -> bool:
        try:
            return await session.do(Connection.recent, folder) > 0
        except Refused:  # it is there no more; or not for us
            return True

    async def flag(self, session: Session, opened: Opened) -> bool:
        """Give LOGGED_MARK to what is logged in the open folder, unless a mail client has not noticed it yet. True =
        the folder was opened anew for it, and is to be read on; it is open read-only again."""
        folder = (opened.name, opened.uidvalidity)
        owed = sorted(self._journal.marks.of(self._address).get(folder, ()))
        if not owed or not self._account.marking.flag_logged:
            return False
        uids = await self._in_the_log(session, await self._without(session, owed))
        if uids and await self._unnoticed(session, opened.name):
            return False
        if uids:
            await self._mark(session, opened, uids)
        await self._journal.marks.done(self._address, folder, owed)
        return bool(uids)

    async def _without(self, session: Session, uids: Sequence[int]) -> list[int]:
        """Those that are there and do not bear it yet: a daemon that was killed may have given it to some."""
        try:
            return await session.do(Connection.uids_without, LOGGED_MARK, uids)
        except Refused:  # a server that knows no such keyword
            return list(uids)

    async def _in_the_log(self, session: Session, uids: Sequence[int]) -> list[int]:
        """Those that are what was logged: a server that was restored may have given their UIDs to others."""
        fields = await session.do(Connection.fields, uids, ("MESSAGE-ID", *ORIGINAL_NAMES))
        named = {uid: _names(read_heading(octets)) for uid, octets in fields.items()}
        there = await self._journal.recorded(self._address, (id for ids in named.values() for id in ids))
        return [uid for uid, ids in named.items() if not ids or not there.isdisjoint(ids)]

    async def _mark(self, session: Session, opened: Opened, uids: Sequence[int]) -> None:
        try:
            again = await session.do(Connection.select, opened.name)
            if again.keywords and again.uidvalidity == opened.uidvalidity:
                await session.do(Connection.add_keyword, uids, LOGGED_MARK)
        except Refused as error:
            log.info("keyword refused", account=self._address, why=error.evidence)
        # Not in a `finally`: after anything else the connection ends, and a cancelled task must hear that it is.
        await session.do(Connection.examine, opened.name)


def _names(heading: Heading) -> tuple[str, ...]:
    return tuple(id for id in (heading.message_id, *heading.original_ids) if id)
