"""One message between its first octet here and the client's answer: how far it is, and whether it is ours to deliver.

Why apart from `submission`: the moment at which proxyd answers for a mail whose try still goes on is the one where two
could believe that they own it. Whoever asks here asks in one turn of the loop, so there is no such moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from proxyd.config import Account
from proxyd.errors import ProxydError
from proxyd.journal import Journal
from proxyd.rules import spool as rules
from proxyd.workers import begin

T = TypeVar("T")


class TakenOut(ProxydError):
    """Somebody has taken the mail out of the spool: it must not be sent."""


class Handing(Generic[T]):
    """`answer` is what the client waits for; `id` the submission's, once it is begun. A `Progress` of the provider's:
    `began` its transaction, `ended` the octets of its content."""

    def __init__(self, account: Account, journal: Journal) -> None:
        self.account = account
        self.answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self.id = ""
        self.began = False
        self.ended = False
        self.unreadable = False  # what was received could not be read back
        self.decided = False  # what came of it is being recorded: too late to take it over
        self._journal = journal
        self._taken_over: asyncio.Task[None] | None = None

    @property
    def spools(self) -> bool:
        return self.account.sending.on_outage == "spool"

    @property
    def can_be_taken_over(self) -> bool:
        """The provider has not answered, and the mail is still to be handed over."""
        waits = bool(self.id) and not self.decided
        return self.spools and waits and isinstance(rules.overdue(ended=self.ended), rules.Keep)

    # --- what the provider's side tells

    async def begins(self) -> None:
        """Raises TakenOut, and what the store raises."""
        self.began = True
        if await self.is_ours() and not await self._journal.spool.handing_over(self.id):
            raise TakenOut("it was taken out of the spool")

    def ends(self) -> None:
        self.ended = True

    # --- whose it is

    async def take_over(self, record: Coroutine[Any, Any, None]) -> bool:
        """`record` writes down that the mail is ours; whether it did. Cancelling this stops nothing."""
        self._journal.spool.in_hand.add(self.id)
        self._taken_over = begin(record, f"take over {self.id}")
        return await self.is_ours()

    async def is_ours(self) -> bool:
        """Is it in the spool, on record, or being put there? Then it is waited for."""
        if self._taken_over is None:
            return False
        await asyncio.wait([self._taken_over])
        return not self._taken_over.cancelled() and self._taken_over.exception() is None

    def over(self) -> None:
        """Nobody tries it any more, for now."""
        self._journal.spool.in_hand.discard(self.id)
