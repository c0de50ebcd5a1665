"""Mail that may belong to a conversation and names none: found by its author, shown to the person, fetched on consent.

Why the server is asked: to know the author of every new message, From would have to be a fourth field that is read of
each. Instead the server is asked (one SEARCH for a batch of new mail that names nothing) which of it is from somebody
in one of the newest conversations; From, Subject and Date are read of those alone, so that the person sees what they
are asked about. Their text is never fetched unless the person says yes; `suggestions: false` leaves all of it out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.journal.suggesting import Suggestion
from proxyd.model import Found, ThreadMatch, Tracked, mailbox_key
from proxyd.provider.imap import Connection, Opened
from proxyd.rules import tracking
from proxyd.rules.suggestions import names_nothing, suggest
from proxyd.watcher.batch import Batch
from proxyd.watcher.session import Session

log = structlog.get_logger()

SHOWN = ("FROM", "SUBJECT", "DATE", "MESSAGE-ID")

Log = Callable[[Session, Opened, int, Tracked, ThreadMatch], Awaitable[bool]]


class Suggesting:
    """`log_message` fetches a message and logs it into its conversation; False where it is gone."""

    def __init__(self, account: Account, journal: Journal, rules: tracking.TrackingSettings, log_message: Log) -> None:
        self._account = account
        self._address = account.address
        self._wanted = account.suggestions and account.incoming != "nothing"
        self._journal = journal
        self._rules = rules
        self._log_message = log_message

    async def look(self, session: Session, opened: Opened, batch: Batch, uids: Sequence[int]) -> None:
        """Of new messages that are not logged, those that a person is to be asked about."""
        alone = [uid for uid in uids if len(batch.ids[uid]) <= 1]  # nobody's id but its own
        if not self._wanted or not alone:
            return
        kept = self._journal.suggestions
        people = [each for each in await kept.people(self._address) if each.isascii()]
        asked = [uid for uid in alone if names_nothing(batch.heading(uid))] if people else []
        if not asked:
            return
        try:
            found = await session.do(Connection.any_of, asked, [("FROM", each) for each in people])
        except Refused as error:
            log.info("suggestions cannot be searched for", account=self._address, why=error.evidence)
            return
        if not found:
            return
        live = await kept.threads(self._address, people)
        for uid, octets in (await session.do(Connection.fields, found, SHOWN)).items():
            said = read_heading(octets)
            suggested = suggest(said, live)
            if suggested is None or {mailbox_key(each.address) for each in said.from_} & self._account.own:
                continue
            match = ThreadMatch(suggested.message, suggested.thread, suggested.because)
            if not isinstance(tracking.incoming(self._rules, said, match=match), Tracked):
                continue
            if said.message_id and await self._journal.recorded(self._address, [said.message_id]):
                continue
            if await kept.add(self._address, Found(opened.name, opened.uidvalidity, uid), said, suggested):
                log.info("a message is suggested", account=self._address, uid=uid)

    async def settle(self, session: Session, opened: Opened) -> None:
        """What the person has accepted goes into the log. The folder that is open stays so."""
        waiting = await self._journal.suggestions.waiting(self._address)
        try:
            for each in waiting:
                await self._log(session, opened, each)
        except BaseException:
            self._journal.suggestions.tell(self._address)  # the next connection goes on
            raise

    async def _log(self, session: Session, opened: Opened, accepted: Suggestion) -> None:
        if accepted.folder == opened.name:
            await self._log_from(session, opened, accepted)
            return
        try:
            there = await session.do(Connection.examine, accepted.folder)
        except Refused as error:
            log.warning("an accepted suggestion's folder cannot be opened", account=self._address, why=error.evidence)
            await self._journal.suggestions.done(accepted.id)
        else:
            await self._log_from(session, there, accepted)
        await session.do(Connection.examine, opened.name)

    async def _log_from(self, session: Session, there: Opened, accepted: Suggestion) -> None:
        uid = await self._find(session, there, accepted)
        because = Tracked(f"accepted by hand: {accepted.because}")
        match = ThreadMatch(accepted.message, accepted.thread, because.because)
        if uid is None or not await self._log_message(session, there, uid, because, match):
            log.warning("an accepted suggestion is gone", account=self._address, id=accepted.id)
        await self._journal.suggestions.done(accepted.id)

    async def _find(self, session: Session, opened: Opened, accepted: Suggestion) -> int | None:
        """Where it lies now; None where it is not to be found, or is another message."""
        candidates = [accepted.uid] if opened.uidvalidity == accepted.uidvalidity else []
        if not candidates and accepted.message_id:
            candidates = await session.do(Connection.uids_of_id, accepted.message_id)
        for uid, octets in (await session.do(Connection.fields, candidates, SHOWN)).items():
            if self._journal.suggestions.hash(read_heading(octets)) == accepted.id_hash:
                return uid
        return None
