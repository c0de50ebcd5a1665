"""What `keep` lets go of, day by day, and what stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxyd.config import Account
from proxyd.formats.search_query import read_query
from proxyd.journal.retention import let_go
from proxyd.model import CopyPresent, FiledBy, Found, SmtpReply, Spooled, Undeliverable
from proxyd.store import search
from proxyd.web import answers, answers_html, answers_spool
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, account, desk, message
from tests.store.test_search import WITH_FILE, log

SENT_AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


def after(days: int) -> datetime:
    return SENT_AT + timedelta(days=days, seconds=1)


def keeping(folder: Path, **keep: str) -> Account:
    said = ", ".join(f"{key}: {value}" for key, value in keep.items())
    return account(folder, f"keep: {{{said}}}\n")


@on_the_loop
async def test_attachments_go_before_texts_and_the_entry_stays(tmp_path: Path) -> None:
    ada = keeping(tmp_path, bodies="400d", attachments="90d")
    async with desk(tmp_path) as d:
        with_file, plain = await log(
            d, message("Drawing", id="a@x", more=WITH_FILE[0], body=WITH_FILE[1]), message(id="b@x")
        )
        for id in (with_file, plain):
            await d.journal.record(CopyPresent(id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, d.clock.now()))
        assert await let_go(d.database, [ada], after(89)) == 0
        assert await let_go(d.database, [ada], after(90)) == 1
        assert await let_go(d.database, [ada], after(90)) == 0
        told = answers.message(d.database, with_file)
        assert told is not None
        assert (told["text"], told["expired"]) == ("see the drawing", "attachments")
        assert [each["name"] for each in told["attachments"]] == ["Turbine.pdf"]
        assert answers.attachment(d.database, with_file, 0) is None
        assert answers.raw(d.database, with_file) is None
        assert answers_html.page(d.database, with_file, False) is None
        assert answers.raw(d.database, plain) is not None

        assert await let_go(d.database, [ada], after(400)) == 2
        for id in (with_file, plain):
            told = answers.message(d.database, id)
            assert told is not None
            assert (told["text"], told["attachments"], told["expired"]) == ("", [], "bodies")
            assert answers.raw(d.database, id) is None
        with d.database.reading() as connection:
            rows = connection.exec_driver_sql("SELECT data FROM chunks").scalars().all()
            assert b"drawing" not in b"".join(rows)
            assert search.find(connection, read_query("see"), 9, accounts=None, behind=None) == []
            found = search.find(connection, read_query("subject:drawing"), 9, accounts=None, behind=None)
        assert [each.message for each in found] == [with_file]


@on_the_loop
async def test_what_could_not_be_delivered_stays_until_somebody_decides(tmp_path: Path) -> None:
    """Also where the client has filed its own copy, which settles all else."""
    ada = keeping(tmp_path, bodies="1d")
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        with d.journal.changes.listening() as listener:
            begun = await d.begin(message())
            now = d.clock.now()
            await d.journal.record(Spooled(begun.id, "no route", now, now))
            await d.journal.record(CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, now))
            await d.journal.record(Undeliverable(begun.id, "550 no", now, SmtpReply(550, ("no",))))
            for _ in range(5):  # begun, spooled, filed, given up, read
                await listener.next()
        assert await let_go(d.database, [ada], after(30)) == 0
        (owed,) = await d.journal.spool.owed_reports()
        assert owed.filed is not None
        assert owed.filed.size == len(message())
        answers_spool.drop(d.database, [begun.id], now)
        assert await let_go(d.database, [ada], after(30)) == 1


@on_the_loop
async def test_what_a_sent_copy_is_owed_of_stays(tmp_path: Path) -> None:
    ada = keeping(tmp_path, bodies="1d")
    async with desk(tmp_path) as d:
        (id,) = await log(d, message())
        assert await let_go(d.database, [ada], after(30)) == 0
        await d.journal.record(CopyPresent(id, Found("Sent", 1, 7), FiledBy.PROXYD, 1, d.clock.now()))
        assert await let_go(d.database, [ada], after(30)) == 1


@on_the_loop
async def test_another_account_and_for_ever_lose_nothing(tmp_path: Path) -> None:
    ada = keeping(tmp_path, bodies="1d")
    bob = ada.model_copy(update={"address": "bob@example.test"})
    async with desk(tmp_path) as d:
        (id,) = await log(d, message())
        await d.journal.record(CopyPresent(id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, d.clock.now()))
        assert await let_go(d.database, [bob, d.accounts[ADA]], after(30_000)) == 0
