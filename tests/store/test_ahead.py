"""What a clock that was ahead wrote down is due once it is right."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from proxyd.model import DropboxPostponed, Sent, SmtpReply, Spooled
from proxyd.store import ahead, ledger, tables
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, Desk, desk, message

YEAR = timedelta(days=365)


async def sent(d: Desk, n: int) -> str:
    """A mail that a CRM is owed, and the CRM's address."""
    begun = await d.begin(message(id=f"m{n}@example.test"))
    now = d.clock.now()
    await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), now))
    await d.journal.record(DropboxPostponed(begun.id, "450 later", now + timedelta(minutes=15), now))
    await d.database.write(lambda c: ledger.owe(c, begun.id, ["hubspot"], now))
    return str(begun.id)


@on_the_loop
async def test_of_a_clock_that_was_ahead(tmp_path: Path) -> None:
    async with desk(tmp_path, "dropbox: 4711@crm.test\n") as d:
        await d.add_contact(GRACE)
        before = await sent(d, 1)
        asked = d.clock.now() + timedelta(hours=6)
        await d.database.write(lambda c: ledger.postponed(c, before, "hubspot", "asked for six hours", asked))
        d.clock.set_by(YEAR.total_seconds())
        during = await sent(d, 2)
        waits = await d.begin(message(id="m3@example.test"))
        then = d.clock.now()
        await d.journal.record(Spooled(waits.id, "no route", then, then))
        d.clock.set_by(-YEAR.total_seconds())
        now = d.clock.now()
        assert await d.database.write(lambda c: ahead.bring_back(c, now)) == {ADA}

        def due(table: object) -> dict[str, datetime]:
            return {each.get("message") or each["id"]: each["due"] for each in d.rows(table) if each["due"]}

        assert due(tables.crm_entries) == {before: asked, during: now}, "what a CRM asked for is kept to"
        assert due(tables.dropbox_copies) == {before: now + timedelta(minutes=15), during: now}
        assert due(tables.sent_copies) == {before: now + timedelta(seconds=20), during: now, waits.id: now}
        assert {each["accepted_at"] for each in d.rows(tables.sent_copies)} == {now}
        assert [(each["since"], each["due"]) for each in d.rows(tables.spool)] == [(now, now)]
        assert await d.database.write(lambda c: ahead.bring_back(c, now)) == set()
