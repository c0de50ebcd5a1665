"""The store's file and its writer: encrypted, durable, one job's fault never another's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from proxyd.errors import ConfigError, TryLater
from proxyd.store.database import FILE, Database
from proxyd.store.tables import facts, metadata
from tests.looping import on_the_loop

KEY = bytes(range(32))


@asynccontextmanager
async def opened(folder: Path, key: bytes = KEY) -> AsyncIterator[Database]:
    database = Database(folder, key)
    database.start_writing(asyncio.get_running_loop())
    try:
        yield database
    finally:
        database.close()


def remember(key: str, value: str = "v"):
    return lambda connection: connection.execute(facts.insert().values(account="a", key=key, value=value))


def keys(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.scalars(sa.select(facts.c.key).order_by(facts.c.key)))


@on_the_loop
async def test_the_file_says_nothing_to_who_has_no_key(tmp_path):
    async with opened(tmp_path) as database:
        await database.write(remember("k", "grace@customer.example"))
    for file in tmp_path.iterdir():
        octets = file.read_bytes()
        assert b"grace@customer" not in octets
        assert b"SQLite format 3" not in octets
        assert file.stat().st_mode & 0o077 == 0, file
    with pytest.raises(ConfigError, match="not the key it was made with"):
        Database(tmp_path, bytes(32))


@on_the_loop
async def test_a_job_that_fails_is_undone_alone(tmp_path):
    async with opened(tmp_path) as database:
        await database.write(remember("there"))

        def half_done(connection: sa.Connection) -> None:
            remember("half")(connection)
            raise ValueError("after the first half")

        results = await asyncio.gather(
            database.write(remember("one")),
            database.write(half_done),
            database.write(remember("there")),
            database.write(remember("two")),
            return_exceptions=True,
        )
        assert isinstance(results[1], ValueError)
        assert isinstance(results[2], sa.exc.IntegrityError)
        assert keys(database) == ["one", "there", "two"]


@on_the_loop
async def test_what_asked_for_no_commit_is_seen_after_the_next_one_that_did(tmp_path):
    async with opened(tmp_path) as database:
        await database.write(remember("chunk"), durable=False)
        await database.write(remember("end"))
        assert keys(database) == ["chunk", "end"]


@on_the_loop
async def test_what_goes_along_is_there_before_the_next_job(tmp_path):
    async with opened(tmp_path) as database:
        database.write_along(remember("told", "first"), "told")
        with pytest.raises(sa.exc.IntegrityError):
            await database.write(remember("told", "second"))
        assert keys(database) == ["told"]


@on_the_loop
async def test_what_goes_along_waits_for_no_other_job(tmp_path):
    async with opened(tmp_path) as database:
        ran = asyncio.Event()
        loop = asyncio.get_running_loop()

        def job(connection: sa.Connection) -> None:
            remember("told")(connection)
            loop.call_soon_threadsafe(ran.set)

        database.write_along(job, "told")
        await ran.wait()
        database.write_along(remember("last"), "told")
    with Database(tmp_path, KEY).reading() as connection:
        assert list(connection.scalars(sa.select(facts.c.key).order_by(facts.c.key))) == ["last", "told"]


@on_the_loop
async def test_what_goes_along_and_fails_is_logged_and_undone_alone(tmp_path):
    def half_done(connection: sa.Connection) -> None:
        remember("half")(connection)
        raise ValueError("after the first half")

    async with opened(tmp_path) as database:
        with structlog.testing.capture_logs() as logged:
            database.write_along(remember("one"), "one")
            database.write_along(half_done, "half done")
            await database.write(remember("two"))
        assert keys(database) == ["one", "two"]
        assert [(line["event"], line["what"]) for line in logged] == [("not written down", "half done")]


def test_a_command_on_a_full_disk_is_told_to_try_later(tmp_path):
    database = Database(tmp_path, KEY)

    def fill() -> None:
        with database.writing() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.exec_driver_sql("CREATE TABLE more (octets BLOB)")
            connection.exec_driver_sql("INSERT INTO more VALUES (randomblob(1000000))")

    with pytest.raises(TryLater, match="the store cannot be written: database or disk is full"):
        fill()
    database.close()


@on_the_loop
async def test_a_disk_that_is_full_fails_everybody_in_the_commit_and_nobody_after(tmp_path):
    async with opened(tmp_path) as database:
        await database.write(remember("before"))
        with database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        def limit(to: int):
            return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {to}").scalar_one()

        await database.write(limit(pages))
        with pytest.raises(TryLater, match="the store cannot be written"):
            await database.write(remember("big", "x" * 10_000_000))
        await database.write(limit(2**30))
        await database.write(remember("after"))
        assert keys(database) == ["after", "before"]


OPEN = """
import sys, pathlib
from proxyd.store.database import Database
Database(pathlib.Path(sys.argv[1]), bytes(range(32))).close()
"""


def test_processes_that_make_the_store_at_once_agree(tmp_path):
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]


WRITE_AND_DIE = """
import asyncio, os, pathlib, sys
from proxyd.store.database import Database
from proxyd.store.tables import facts

def remember(key):
    return lambda connection: connection.execute(facts.insert().values(account="a", key=key, value="v"))

async def main():
    database = Database(pathlib.Path(sys.argv[1]), bytes(range(32)))
    database.start_writing(asyncio.get_running_loop())
    await database.write(remember("chunk"), durable=False)
    await database.write(remember("kept"))
    await database.write(remember("perhaps"), durable=False)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@on_the_loop
async def test_what_was_answered_survives_a_kill(tmp_path):
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", WRITE_AND_DIE, str(tmp_path)], timeout=60)
    assert killed.returncode == -9
    async with opened(tmp_path) as database:
        assert {"chunk", "kept"} <= set(keys(database))


@on_the_loop
async def test_two_processes_may_write(tmp_path):
    async with opened(tmp_path) as database:
        beside = Database(tmp_path, KEY)
        await database.write(remember("ours"))

        def theirs() -> None:
            with beside.writing() as connection:
                remember("theirs")(connection)

        await asyncio.gather(asyncio.to_thread(theirs), *(database.write(remember(f"x{n}")) for n in range(20)))
        assert {"ours", "theirs"} <= set(keys(database))
        beside.close()


def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def described(name: str | None, kind: str, parents: object) -> bool:
        """FTS5's own tables are not SQLAlchemy's to describe."""
        return kind != "table" or not (name or "").startswith("search_index")

    database = Database(tmp_path, KEY)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": described})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    database = Database(tmp_path, KEY)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(ConfigError, match="newer version of proxyd"):
        Database(tmp_path, KEY)
    assert (tmp_path / FILE).exists()


@on_the_loop
async def test_an_error_tells_nothing_of_what_was_to_be_kept(tmp_path):
    async with opened(tmp_path) as database:
        await database.write(remember("k"))
        with pytest.raises(sa.exc.IntegrityError) as error:
            await database.write(remember("k", "a secret"))
        assert "a secret" not in str(error.value)


def test_a_hash_needs_the_key(tmp_path):
    one, other = Database(tmp_path / "a", KEY), Database(tmp_path / "b", bytes(32))
    assert one.hash_id("x@y") == one.hash_id("x@y") != other.hash_id("x@y")
    one.close()
    other.close()
