"""Who sent a mail that did not go finds one letter about it in a real INBOX, whatever ends in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxyd.daemon.spool_reports import SpoolReports
from proxyd.model import SmtpReply, Spooled, Undeliverable
from proxyd.store.tables import spool
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import PERSON, Provider
from tests.watcher.watched import Watched, until, watched

NEVER = SmtpReply(550, ("5.1.1 no such user",))


def letters(provider: Provider) -> list[bytes]:
    return [each.octets for each in provider.dovecot.messages(PERSON)]


def state(w: Watched) -> str:
    (row,) = w.rows(spool)
    return str(row["report"])


@on_the_loop
async def test_one_letter_also_where_it_was_put_there_and_not_written_down(tmp_path: Path, provider: Provider) -> None:
    async with watched(tmp_path, provider) as w:
        begun = await w.begin(message(body="x" * 70 + "\r\n"))
        now = w.clock.now()
        await w.journal.record(Spooled(begun.id, "no route", now, now))
        await w.journal.record(Undeliverable(begun.id, NEVER.text, now, NEVER))
        reports = SpoolReports(lambda: w.accounts, w.journal, w.clock, lambda _: w.mailbox)
        running = asyncio.ensure_future(reports.run())
        try:
            await until(lambda: state(w) == "made" or None, "the letter")
            (letter,) = letters(provider)
            assert b"5.1.1 no such user" in letter
            assert message(body="x" * 70 + "\r\n") in letter
            await w.database.write(lambda c: c.execute(spool.update().values(report="owed")))
            w.journal.wakes.spool_reports.set()
            await until(lambda: state(w) == "made" or None, "a look")
            assert len(letters(provider)) == 1
        finally:
            running.cancel()
