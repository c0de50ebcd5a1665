"""Which of an account's folders are looked into, and which of them hold something new.

`look` asks the server how the folders stand and compares that with where reading stands in each. It costs a bounded
number of commands, however many folders there are: one LIST with their STATUS in it where the server can (RFC 5819),
else one LIST and the STATUS of a hundred folders in one flight, the next hundred the next time; a mailbox with very
many folders is not even listed every time. Between two looks NOTIFY (RFC 5465) tells, where the server has it.

Numbers that stand as they stood may count other messages: a server that was restored from a backup has got as many
since as it lost. INBOX is opened anyway, and its newest messages compared (`watcher.positions`); of the other folders a
few in each look are opened for that, each once on a connection.

A folder that appears later is the target of a new rule, and mail may lie in it before we see it: `watcher.positions`
says from where it is read. What lies in CRM/Log was put there by hand, and is read from its beginning.

Why no QRESYNC: it brings flags and expunged UIDs of what a client keeps a copy of. We keep none: a folder's UIDNEXT
says all that its position needs, and HIGHESTMODSEQ (CONDSTORE, RFC 7162) whether a search for marks can find anything.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from proxyd.config import Account
from proxyd.errors import Refused
from proxyd.journal import Journal
from proxyd.model import Folder, MailboxPosition, SentFolder
from proxyd.provider.imap import Connection, Opened, Status
from proxyd.rules.sent_copy import sent_folder
from proxyd.rules.watched_folders import INBOX, Role, WatchedFolder, first_of, watched_folders
from proxyd.watcher.positions import NEVER, Positions
from proxyd.watcher.session import Session

log = structlog.get_logger()

MANY = 1000  # folders from which on not every look lists them, nor asks for the STATUS of all in one command
SELDOM = 12  # looks between two lists of very many folders
ROLLING = 100  # folders whose STATUS is asked for in one look, where LIST does not tell it; and that one look reads
PROVED = 5  # folders that one look opens although their numbers promise nothing
FUTILE = 3  # looks into a folder whose numbers promise something that is not there, until they change


@dataclass(frozen=True, slots=True)
class Look:
    """`moved`: the folders that hold something not read yet; `statuses`: how those stand that were asked after."""

    moved: tuple[WatchedFolder, ...]
    statuses: Mapping[str, Status]


class WatchedFolders:
    """One account's. It outlives the connections."""

    def __init__(self, account: Account, journal: Journal, positions: Positions) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._positions = positions
        self._watched: dict[str, WatchedFolder] = {}
        self._others: tuple[str, ...] | None = None  # what the names of other people's folders begin with
        self._looks = 0
        self._roll = 0  # where the next portion of STATUS begins
        self._session: weakref.ref[Session] | None = None  # whose looks these are,
        self._since = 0  # from which one on
        self._proved: dict[str, int] = {}  # folder → the look in which it was opened
        self._futile: dict[str, tuple[int, int, int]] = {}  # UIDVALIDITY, UIDNEXT, how often looked into
        self.sent = SentFolder("", "not looked for yet", exists=False)

    @property
    def main(self) -> str:
        """The folder to stay in."""
        return first_of(self._watched.values()) if self._watched else INBOX

    @property
    def all(self) -> tuple[WatchedFolder, ...]:
        return tuple(self._watched.values())

    # --- how they stand ------------------------------------------------------------------------------------

    async def look(self, session: Session, *, listed: bool = False) -> Look:
        """`listed`: there are others than before."""
        statuses: dict[str, Status] = {}
        if listed or len(self._watched) < MANY or self._looks % SELDOM == 0:
            statuses = await self._list(session)
        self._looks += 1
        statuses |= await session.do(Connection.statuses, self._portion(statuses))
        positions = await self._begun(statuses)
        moved: list[WatchedFolder] = []
        for each in (self._watched[name] for name in statuses if name in self._watched):
            if len(moved) < ROLLING and self._promises(each.name, statuses[each.name], positions.get(each.name)):
                moved.append(each)
        stands = statuses.keys() - {each.name for each in moved}
        moved += self._to_prove(
            session, [name for name in stands & positions.keys() if positions[name].read_at != NEVER]
        )
        self._proved |= {each.name: self._looks for each in moved}
        for each in moved:  # before any other is read: it is the time of the last look from which they are read
            if each.name not in positions and (opened := await self.open(session, each.name)) is not None:
                await self._positions.of(session, opened)
        return Look(tuple(moved), statuses)

    async def _list(self, session: Session) -> dict[str, Status]:
        many = len(self._watched) >= MANY
        folders, statuses = await session.do(_without_status if many else Connection.folders_and_status)
        if self._others is None:
            self._others = await session.do(Connection.others_prefixes)
        self.sent = sent_folder(folders, self._account.sent_copy.folder)
        watched = watched_folders(
            folders,
            self._account.watch.folders,
            self.sent.name,
            labels=await session.do(Connection.has, "X-GM-EXT-1"),
            marked=self._account.marking.folder,
            others=self._others,
        )
        self._watched = {each.name: each for each in watched}
        self._futile = {name: each for name, each in self._futile.items() if name in self._watched}
        session.heed(self._watched)
        return {name: status for name, status in statuses.items() if name in self._watched}

    def _portion(self, known: Mapping[str, Status]) -> list[str]:
        """Those whose STATUS is asked for by itself: the folder to stay in and Sent, and the next of the others."""
        asked = [name for name in self._watched if name not in known]
        if len(asked) <= ROLLING:
            return asked
        first = [name for name in (self.main, self.sent.name) if name in asked]
        others = [name for name in asked if name not in first]
        start = self._roll % len(others)
        self._roll = start + ROLLING
        return [*first, *(others + others)[start : start + ROLLING]]

    async def _begun(self, statuses: Mapping[str, Status]) -> dict[str, MailboxPosition]:
        """Where reading stands in each folder, those that are new to it begun, but for those that must be opened."""
        positions = await self._journal.positions(self._address)
        new = {name: each for name, each in statuses.items() if name in self._watched and name not in positions}
        if not new:
            return positions
        await self._positions.begin(
            {name: each for name, each in new.items() if self._watched[name].role is not Role.MARKED}
        )
        marked = [name for name in new if self._watched[name].role is Role.MARKED and new[name].uidvalidity]
        await self._journal.begin_positions(
            self._address, {name: MailboxPosition(new[name].uidvalidity, 1) for name in marked}
        )
        return await self._journal.positions(self._address)

    def _promises(self, name: str, status: Status, position: MailboxPosition | None) -> bool:
        """Does it stand elsewhere than where it was read to? Numbers that promised and did not keep it are believed no
        more, until they are others."""
        if not status.uidvalidity or not status.uidnext:
            return True  # a server that does not say
        if position is not None and (position.uidvalidity, position.uidnext) == (status.uidvalidity, status.uidnext):
            self._futile.pop(name, None)
            return False
        uidvalidity, uidnext, times = self._futile.get(name, (0, 0, 0))
        times = times + 1 if (uidvalidity, uidnext) == (status.uidvalidity, status.uidnext) else 1
        self._futile[name] = (status.uidvalidity, status.uidnext, times)
        return times <= FUTILE

    def _to_prove(self, session: Session, read: Iterable[str]) -> list[WatchedFolder]:
        """Of these folders, of which messages were read, a few that this connection has not opened yet; the
        first are those that were opened longest ago."""
        if self._session is None or self._session() is not session:
            self._session, self._since = weakref.ref(session), self._looks
        due = [name for name in read if name != self.main and self._proved.get(name, 0) < self._since]
        return self._known(sorted(due, key=lambda name: self._proved.get(name, 0))[:PROVED])

    async def find_sent(self, session: Session) -> SentFolder:
        self.sent = sent_folder(await session.do(Connection.folders), self._account.sent_copy.folder)
        return self.sent

    async def open(self, session: Session, name: str) -> Opened | None:
        """Open it for reading; None: it cannot be."""
        try:
            return await session.do(Connection.examine, name)
        except Refused as error:
            log.warning("watched folder cannot be opened", account=self._address, folder=name, why=error.evidence)
            return None

    # --- what the server tells by itself -------------------------------------------------------------------

    async def notify(self, session: Session) -> bool:
        """Ask to be told of the other folders; False: the server does not."""
        names = None if self._account.watch.folders == "auto" else tuple(self._watched)
        return await session.do(Connection.notify, names, flags=self._account.marking.keyword)

    def moved(self, told: Mapping[str, Status]) -> list[WatchedFolder]:
        """Those of which the server told that they hold something new; the one to stay in counts for itself."""
        return [each for each in self._known(told) if told[each.name].uidnext and each.name != self.main]

    def flagged(self, told: Mapping[str, Status]) -> list[WatchedFolder]:
        """Those of which it told that something else has changed."""
        return [each for each in self._known(told) if not told[each.name].uidnext]

    def _known(self, names: Iterable[str]) -> list[WatchedFolder]:
        return [self._watched[name] for name in names if name in self._watched]


def _without_status(connection: Connection) -> tuple[list[Folder], dict[str, Status]]:
    return connection.folders(), {}
