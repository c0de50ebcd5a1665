"""One message into one CRM, step by step, each step in the ledger before the next begins.

A step whose outcome is not known is looked for before it is taken again. What a step raises ends the try; the next one
goes on from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxyd.config import Account, CrmOptions
from proxyd.crm.adapter import Adapter, Attachment, Record
from proxyd.crm.record import record_of, with_people
from proxyd.errors import TryLater
from proxyd.journal.ledger import Ledger, Owed, Twin

MESSAGE = "message"
STATE = "state"


def attachment_step(n: int) -> str:
    return f"attachment {n}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is owed, and who can deliver it."""

    owed: Owed
    account: Account
    options: CrmOptions
    adapter: Adapter
    ledger: Ledger
    now: Callable[[], datetime]
    sharing: frozenset[tuple[str, str]] = frozenset()  # (account, CRM) of whoever logs to the same place

    async def deliver(self) -> bool:
        """Everything the CRM lacks of the message. False: the message is no longer here.

        Raises TryLater, Refused, SignInRefused as the adapter does.
        """
        logged = await self.ledger.message(self.owed)
        if logged is None:
            return False
        record = record_of(logged, self.account, self.options, self.adapter.limits, self.ledger)
        remote_id, told = self.owed.remote_id, self.owed.told
        if remote_id is None and (twin := await self._twin()) is not None:
            if twin.remote_id is None:
                raise TryLater("the same mail of a colleague's is on its way there")
            # One mail is one entry, however many of us have it.
            await self._adopted(record, twin.remote_id, "is in the CRM by a colleague")
            return True
        if remote_id is None and self.owed.trying is None:
            theirs = await self.adapter.find_theirs(record)
            if theirs is not None:
                await self._adopted(record, theirs, "is in the CRM by its own doing")
                return True
        if remote_id is None:
            record = await with_people(record, logged, self.account, self.adapter)
            remote_id = await self._message(record)
            told = record.state
        if self.adapter.limits.attachments:
            for attachment in record.attachments:
                if attachment.n not in self.owed.attached:
                    await self._attachment(record, remote_id, attachment)
        if told != record.state:
            await self.ledger.trying(self.owed, STATE, self.now())
            await self.adapter.update_state(record, remote_id)
            await self.ledger.told(self.owed, record.state, self.now())
        await self.ledger.delivered(self.owed)
        return True

    async def _adopted(self, record: Record, remote_id: str, what: str) -> None:
        """It is there without us, with its attachments: none of them is added, now or with its next state."""
        numbers = [each.n for each in record.attachments]
        await self.ledger.adopted(self.owed, remote_id, record.state, numbers, what, self.now())

    async def _twin(self) -> Twin | None:
        if not self.adapter.limits.once_per_mail or len(self.sharing) < 2:
            return None
        return next(
            (each for each in await self.ledger.twins(self.owed) if (each.account, each.crm) in self.sharing), None
        )

    async def _message(self, record: Record) -> str:
        remote_id = await self.adapter.find_logged(record) if self.owed.trying == MESSAGE else None
        if remote_id is None:
            await self.ledger.trying(self.owed, MESSAGE, self.now())
            remote_id = await self.adapter.log_message(record)
        await self.ledger.logged(self.owed, remote_id, record.state, self.now())
        return remote_id

    async def _attachment(self, record: Record, remote_id: str, attachment: Attachment) -> None:
        step, there = attachment_step(attachment.n), None
        if self.owed.trying == step:
            there = await self.adapter.find_attachment(record, remote_id, attachment)
        if there is None:
            await self.ledger.trying(self.owed, step, self.now())
            there = await self.adapter.add_attachment(record, remote_id, attachment)
        await self.ledger.attached(self.owed, attachment.n, there)
