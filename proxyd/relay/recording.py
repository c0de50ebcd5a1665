"""An outcome put on record, whatever the store says at that moment.

What the provider did has happened. A record that fails must not turn its 250 into anything else.
"""

from __future__ import annotations

import structlog

from proxyd.journal import Journal
from proxyd.model import Event
from proxyd.rules import retry
from proxyd.workers import Clock, start

TRIES = 20  # of an outcome that could not be recorded; after that only a restart looks for the message

log = structlog.get_logger()


class Recording:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def record(self, event: Event) -> None:
        """Durable when it returns, unless the store fails: then it is tried again behind the client's back."""
        try:
            await self._journal.record(event)
        except Exception:
            log.critical(
                "outcome NOT on record", submission=getattr(event, "id", ""), event_=type(event).__name__, exc_info=True
            )
            start(self._later(event), "record again")

    async def _later(self, event: Event) -> None:
        for attempt in range(TRIES):
            await self._clock.sleep(retry.delay(attempt, 0.5))
            try:
                await self._journal.record(event)
            except Exception as error:
                log.error("outcome still not on record", submission=getattr(event, "id", ""), error=str(error))
            else:
                log.warning("outcome on record at last", submission=getattr(event, "id", ""))
                return
