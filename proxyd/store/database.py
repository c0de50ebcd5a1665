"""The store's file: opened encrypted, brought to the newest tables, written by one thread that commits in groups.

Why one writer: SQLite has one anyway; jobs that wait while a commit reaches the disk share the next one, so fifty
senders cost few fsyncs more than one. A job is any function of a connection; it is undone alone where it raises. A
*durable* job's answer comes after the commit. A job that is not durable is answered when it ran and is committed with
the next one that is: a 25 MB message's chunks cost no fsync of their own. What nobody waits for goes along with the
next job that is asked for: it wakes no thread.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlcipher3 import dbapi2 as sqlcipher

from proxyd.errors import ConfigError, TryLater
from proxyd.rules.threads import id_key
from proxyd.store import mailboxes
from proxyd.store.schema import bring_up_to_date

T = TypeVar("T")
Job = Callable[[sa.Connection], T]

FILE = "store.db"
PAGE = 8192  # octets; with 256 KiB chunks measured 1.3 times as fast as SQLCipher's 4096, and equal for small rows
READERS = 6  # connections that are kept, of 300 KiB and more each
MOST_READERS = 24  # that may be open at the same time
BUSY = 10.0  # seconds that one process waits for another's transaction
MOST_JOBS = 256  # in one commit
CACHE = 2048  # KiB for each connection; SQLCipher's own default is 8 MB
CHECKPOINT_PAGES = 4000  # 32 MB of write-ahead log
HASH_KEY = ("", "hash_key")  # the fact under which the key of the hashes is kept, once the store's own was changed
WRITE = "BEGIN IMMEDIATE"  # takes the lock at once: a transaction that reads first and writes later may not get it

log = structlog.get_logger()


class Database:
    """The open store. `write` and `read` are called on the event loop; `reading` by any thread."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Open, or make, `folder/store.db` with the 32-octet `key`.

        Raises ConfigError where the file cannot be opened with this key or was written by a newer proxyd.
        """
        self._path = folder / FILE
        self._key = key
        self._hash_key = hmac.digest(key, b"proxyd message ids", "sha256")
        self._engine = sa.create_engine(
            "sqlite://",
            module=sqlcipher,
            creator=self._connect,
            poolclass=sa.QueuePool,
            pool_size=READERS,
            max_overflow=MOST_READERS - READERS,
            pool_use_lifo=True,  # few of them serve nearly all, and hold what was read last
            hide_parameters=True,  # else an error that is logged holds what was to be kept
        )
        # The driver's own idea of transactions (it commits before DDL, begins late) is switched off: BEGIN is ours.
        sa.event.listen(self._engine, "begin", _begin)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder / "store.lock"):
            self._open()
        self._writer: Writer | None = None

    def _connect(self) -> Any:
        connection = sqlcipher.connect(
            str(self._path), isolation_level=None, check_same_thread=False, timeout=BUSY, cached_statements=256
        )
        connection.execute(f"PRAGMA key = \"x'{self._key.hex()}'\"")
        connection.execute(f"PRAGMA cipher_page_size = {PAGE}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection

    def _open(self) -> None:
        made = not self._path.exists()
        if made:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
                raw = connection.connection.driver_connection
                connection.rollback()
                assert raw is not None
                raw.execute("PRAGMA journal_mode = WAL")
                bring_up_to_date(connection)
                kept = mailboxes.fact(connection, *HASH_KEY)
                self._hash_key = bytes.fromhex(kept) if kept else self._hash_key
        except (sa.exc.DatabaseError, sqlcipher.DatabaseError) as error:
            raise ConfigError(
                f"{self._path}: cannot be opened: it is not a store, or this is not the key it was made with"
                f" ({error.__class__.__name__})"
            ) from None

    def hash_id(self, message_id: str) -> str:
        """A keyed hash of its normal form: without the store's key nobody can try addresses or ids against it."""
        return hmac.digest(self._hash_key, id_key(message_id).encode("utf-8", "surrogateescape"), "sha256").hex()[:40]

    def has_key(self, key: bytes) -> bool:
        """Whether this is what it is encrypted with."""
        return hmac.compare_digest(key, self._key)

    def rekey(self, key: bytes) -> None:
        """Encrypt everything with another 32-octet `key`; nobody else may have the store open. The keyed hashes stay
        what they are: their own key is kept in the store from now on.

        One transaction with a rollback journal, not the write-ahead log, in which pages of both keys would lie: a crash
        leaves all of the old or all of the new. Raises TryLater where somebody else has it open.
        """
        with self.writing() as connection:
            mailboxes.set_fact(connection, *HASH_KEY, self._hash_key.hex())
        self._engine.dispose()
        with _alone(self._path.with_name("store.lock")):
            raw = self._connect()
            try:
                raw.execute("PRAGMA locking_mode = EXCLUSIVE")
                if raw.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                    raise TryLater("somebody else has the store open: stop the daemon, and other proxyd commands")
                raw.execute(f"PRAGMA rekey = \"x'{key.hex()}'\"")
            except sqlcipher.OperationalError as error:
                raise TryLater(f"the store's key cannot be changed now: {error}") from None
            finally:
                raw.close()
        self._key = key

    def start_writing(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on `write` works; its answers come on `loop`."""
        self._writer = Writer(self._engine, loop)

    async def write(self, job: Job[T], *, durable: bool = True) -> T:
        """Run `job` in the writer's transaction; with `durable` its result comes when it is on the disk.

        Raises what the job raises (nothing of it is kept), and TryLater where the disk takes no more.
        """
        assert self._writer is not None, "start_writing was not called"
        return await self._writer.submit(job, durable)

    def write_along(self, job: Job[object], name: str) -> None:
        """Run `job` before the next one that is asked for, at the latest a moment from now; not durable by itself, and
        nobody hears of it: that it failed is logged by its name."""
        assert self._writer is not None, "start_writing was not called"
        self._writer.along(job, name)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view of the last commit; for worker threads."""
        with self._engine.connect() as connection:
            yield connection

    def read(self, job: Callable[[sa.Connection], T]) -> T:
        """What `job` finds in the last commit; for worker threads."""
        with self.reading() as connection:
            return job(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction of its own, for commands that run beside or without the daemon. Raises TryLater where the disk
        takes no more."""
        try:
            with self._engine.connect().execution_options(begin=WRITE) as connection, connection.begin():
                yield connection
        except sa.exc.OperationalError as error:
            raise _as_ours(error) from error

    def close(self) -> None:
        """What was asked for before is committed; then the file is closed."""
        if self._writer is not None:
            self._writer.stop()
            self._writer = None
        self._engine.dispose()


class _Asked:
    """A job; `answer` is None where nobody waits."""

    __slots__ = ("answer", "durable", "error", "job", "name", "result")

    def __init__(self, job: Job[Any], durable: bool, answer: asyncio.Future[Any] | None, name: str = "") -> None:
        self.job = job
        self.durable = durable
        self.answer = answer
        self.name = name
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """The one thread that writes. Its transaction spans from the first job asked to the first durable one's commit."""

    IDLE_COMMIT = 0.2  # seconds after which even jobs that asked for no commit get one

    def __init__(self, engine: sa.Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._along: list[_Asked] = []  # go with the next job; the loop's own
        self._last_moment: asyncio.TimerHandle | None = None  # when they go without one
        self._asked: queue.SimpleQueue[list[_Asked] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="proxyd-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job[T], durable: bool) -> T:
        answer: asyncio.Future[T] = self._loop.create_future()
        self._along.append(_Asked(job, durable, answer))
        self._hand_over()
        return await answer

    def along(self, job: Job[object], name: str) -> None:
        self._along.append(_Asked(job, False, None, name))
        if self._last_moment is None:
            self._last_moment = self._loop.call_later(self.IDLE_COMMIT, self._hand_over)

    def _hand_over(self) -> None:
        if self._last_moment is not None:
            self._last_moment.cancel()
            self._last_moment = None
        if self._along:
            self._asked.put(self._along)
            self._along = []

    def stop(self) -> None:
        self._hand_over()
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        with self._engine.connect().execution_options(begin=WRITE) as connection:
            more = True
            while more:
                first = self._asked.get()
                if first is None:
                    break
                more = self._transaction(connection, first)

    def _transaction(self, connection: sa.Connection, first: list[_Asked]) -> bool:
        """One commit; False when asked to stop. The jobs in it that are durable are answered after it."""
        waiting: list[_Asked] = []
        asked: list[_Asked] = first
        more = True
        try:
            while asked:
                waiting += [each for each in asked if each.durable]
                while asked:
                    self._run_job(connection, asked[0])
                    done = asked.pop(0)
                    if not done.durable:
                        self._answer([done])
                asked, more = self._next(len(waiting))
            connection.commit()
        except Exception as error:  # a full disk undoes the whole transaction: nobody's job in it is kept
            connection.rollback()
            waiting += [each for each in asked if not each.durable]
            for each in waiting:
                each.error = each.error or _as_ours(error)
        self._answer(waiting)
        return more

    def _next(self, waiting: int) -> tuple[list[_Asked], bool]:
        """The next jobs for this transaction, none where it should be committed now; False = stop after that."""
        if waiting >= MOST_JOBS:
            return [], True
        try:
            asked = self._asked.get_nowait() if waiting else self._asked.get(timeout=self.IDLE_COMMIT)
        except queue.Empty:
            return [], True
        return asked or [], asked is not None

    def _run_job(self, connection: sa.Connection, asked: _Asked) -> None:
        """Raises only where the transaction itself is lost; what the job raised is kept for its asker."""
        if not connection.in_transaction():
            connection.begin()
        raw: Any = connection.connection.driver_connection
        raw.execute("SAVEPOINT job")
        try:
            asked.result = asked.job(connection)
        except Exception as error:
            if not raw.in_transaction:
                raise
            raw.execute("ROLLBACK TO job")
            asked.error = _as_ours(error)
        raw.execute("RELEASE job")

    def _answer(self, done: list[_Asked]) -> None:
        for each in done:
            if each.answer is None and each.error is not None:
                log.error("not written down", what=each.name, exc_info=each.error)
        if any(each.answer is not None for each in done):
            self._loop.call_soon_threadsafe(_deliver, done)


def _begin(connection: sa.Connection) -> None:
    raw: Any = connection.connection.driver_connection
    raw.execute(connection.get_execution_options().get("begin", "BEGIN"))


def _deliver(done: list[_Asked]) -> None:
    for asked in done:
        if asked.answer is None or asked.answer.done():
            continue
        if asked.error is not None:
            asked.answer.set_exception(asked.error)
        else:
            asked.answer.set_result(asked.result)


def _as_ours(error: Exception) -> Exception:
    """A disk that takes no more is nobody's fault here and may pass; everything else stays what it is."""
    if isinstance(error, sa.exc.OperationalError):
        return TryLater(f"the store cannot be written: {error.orig}")
    if isinstance(error, sqlcipher.OperationalError):
        return TryLater(f"the store cannot be written: {error}")
    return error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two processes that start at once make the tables one after the other."""
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def portions(ids: Iterable[str], size: int = 20000) -> Iterable[list[str]]:
    """A mailbox's worth of ids in the portions that one statement takes (SQLite binds 32766 values at most)."""
    wanted = list(dict.fromkeys(ids))
    return (wanted[start : start + size] for start in range(0, len(wanted), size))
