"""Mailbox, server, network and kill -9 in random order: the log is the truth, each message once, nothing else is asked.

A model keeps what must be in the log. Whatever happens in between, once the server is well and some time has passed,
the log holds exactly that; no body of anything else was ever requested, by the server's own account; nothing is marked
read, nothing is gone, no Sent copy is there twice. `make soak` takes 10,000 steps (PROXYD_STEPS).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from proxyd.model import LOGGED_MARK
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.dovecot import Dovecot
from tests.servers.unruly import UnrulyImap
from tests.watcher.real_mailbox import RealMailbox, told
from tests.watcher.unruled import Unruled, unruled

T = TypeVar("T")

STEPS = int(os.environ.get("PROXYD_STEPS", "300"))
SOAK = STEPS > 1000  # takes its time, and looks for the shortest way into what it found
LENGTH = 30  # steps of one example
WELL = 60.0  # seconds, real ones, in which the log must be what it should once the server is well
FOLDERS = ("INBOX", "Customers")
QUICK = "sent_copy:\n  settle: 1s\n"
LISTED = "watch:\n  folders: [INBOX, Customers, Sent]\n"

folders = st.sampled_from(FOLDERS)
numbers = st.integers(0, 1000)
moments = st.integers(0, 30)  # milliseconds


def unruly(model: Mailbox) -> bool:
    """Real servers do this only when they like."""
    return isinstance(model.server, UnrulyImap)


def written(id: str, **fields: str) -> bytes:
    return message(id, id=id, body=told(id), **fields)


class Mailbox(RuleBasedStateMachine):
    """One account's life. `loop` and `make_server` are set by the test."""

    loop: asyncio.AbstractEventLoop
    make_server: Callable[[], UnrulyImap | RealMailbox]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="proxyd-model-"))
        self.server: Any = type(self).make_server()
        self.server.start()
        self.server.make("Customers")
        self.clock = ManualClock()
        self.stack = AsyncExitStack()
        self.daemon: Unruled | None = None
        self.config = QUICK
        self.count = 0
        self.sent: list[str] = []  # Message-IDs of what the person has sent, and of what answers it
        self.unfiled: list[tuple[str, bytes]] = []  # sent from another device, and the provider has not filed it yet
        self.answers: dict[str, list[str]] = {}  # Message-ID → those of its answers
        self.sure: set[str] = set()  # must be in the log
        self.maybe: set[str] = set()  # was gone before anybody can say whether it was seen
        self.octets: dict[str, bytes] = {}
        self.unseen: set[str] = set()  # came, and the log was not compared since
        self.saved: tuple[Any, set[str]] | None = None
        self.letters: set[str] = set()  # from a contact, and answers to nothing
        self.asked = False  # earlier mail was asked for, and may not have come yet
        self.expected: Counter[tuple[str, str]] = Counter()  # (folder, Message-ID) that the person has

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(2 * WELL)

    def teardown(self) -> None:
        try:
            if self.octets or self.sent:
                self.compare()
        finally:
            self.run(self.stack.aclose())
            self.server.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- the daemon ----------------------------------------------------------------------------------------

    @initialize(listed=st.booleans())
    def begins(self, listed: bool) -> None:
        self.config = QUICK + (LISTED if listed else "")
        self.starts()
        assert self.daemon is not None
        self.run(self.daemon.turn(lambda: self.server.idling() == 1, "what is there already is nobody's business"))
        self.run(self.daemon.add_contact(GRACE))
        self.sends()

    @precondition(lambda self: self.daemon is None)
    @rule()
    def starts(self) -> None:
        async def start() -> Unruled:
            w = await self.stack.enter_async_context(
                unruled(self.folder, self.server, self.config, clock=self.clock, started=False)
            )
            w.mailbox.start()
            return w

        self.daemon = self.run(start())

    @precondition(lambda self: self.daemon is not None)
    @rule(after=moments)
    def is_killed(self, after: int) -> None:
        async def kill() -> None:
            assert self.daemon is not None
            await asyncio.sleep(after / 1000)
            await self.daemon.kill()
            await self.stack.aclose()

        self.run(kill())
        self.daemon = None

    @precondition(lambda self: self.daemon is not None)
    @rule(folder=folders, which=numbers, answers=st.integers(1, 3), writes=st.integers(1, 4), before=st.booleans())
    def is_killed_while_it_writes(self, folder: str, which: int, answers: int, writes: int, before: bool) -> None:
        """Before or after a certain one of the commits that follow."""

        async def kill() -> None:
            assert self.daemon is not None
            await self.daemon.dies_at(writes, before=before)
            await self.daemon.mailbox.retry_now()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.daemon.dead.wait(), 0.3)
            await self.daemon.kill()
            await self.stack.aclose()

        for _ in range(answers):
            self.is_answered(folder, which)
        self.run(kill())
        self.daemon = None

    @rule(seconds=st.sampled_from([1, 10, 61, 301, 4000, 100_000]))
    def time_passes(self, seconds: int) -> None:
        async def pass_by() -> None:
            await self.clock.advance(seconds)
            await asyncio.sleep(0.005)

        self.run(pass_by())
        self.server.now = self.clock.now()

    # --- the person and their correspondents ---------------------------------------------------------------

    def named(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}@model.test"

    def dated(self, octets: bytes) -> bytes:
        return octets.replace(b"Mon, 23 Nov 2026 10:00:00 +0000", format_datetime(self.clock.now()).encode())

    def comes(self, id: str, octets: bytes, folder: str) -> None:
        self.octets[id] = octets
        self.unseen.add(id)
        self.expected[folder, id] += 1
        self.server.deliver(folder, octets)

    @precondition(lambda self: self.daemon is not None)
    @rule()
    def sends(self) -> None:
        assert self.daemon is not None
        id = self.named("sent")
        self.run(self.daemon.sent(written(id)))
        self.sent.append(id)
        self.sure.add(id)

    @rule()
    def sends_from_another_device(self) -> None:
        id = self.named("phone")
        self.unfiled.append((id, self.dated(written(id))))
        self.sent.append(id)

    @rule(folder=folders, answers=st.integers(1, 2))
    def is_answered_before_it_is_filed(self, folder: str, answers: int) -> None:
        """The answer too, and the daemon has some time to read them."""
        self.sends_from_another_device()
        for _ in range(answers):
            self.is_answered(folder, len(self.sent) - 1)
        for _ in range(20):
            self.time_passes(1)

    @precondition(lambda self: self.unfiled)
    @rule()
    def what_another_device_sent_is_filed(self) -> None:
        id, octets = self.unfiled.pop(0)
        self.sure.add(id)
        self.unseen.add(id)
        self.server.deliver("Sent", octets, flags={"\\Seen"})

    @rule(folder=folders, which=numbers)
    def is_answered(self, folder: str, which: int) -> None:
        """What is answered may be an answer itself, and may not have been seen yet."""
        id, to = self.named("answer"), self.sent[which % len(self.sent)]
        if to in self.octets:  # an answer, and nobody answers that within a minute
            self.time_passes(61)
        more = f"In-Reply-To: <{to}>\r\nReferences: <{to}>\r\n"
        octets = self.dated(written(id, sender=GRACE, to=ADA, more=more))
        self.sent.append(id)
        self.answers.setdefault(to, []).append(id)
        self.sure.add(id)
        if to in self.maybe:
            self.nobody_knows([id])
        self.comes(id, octets, folder)

    def nobody_knows(self, ids: Iterable[str]) -> None:
        """These may be in the log or not, and so may what answers them."""
        for id in ids:
            self.maybe.add(id)
            self.nobody_knows(self.answers.get(id, ()))

    @rule(folder=folders)
    def a_stranger_writes(self, folder: str) -> None:
        id = self.named("stranger")
        more = f"In-Reply-To: <{self.named('unknown')}>\r\n"
        self.comes(id, written(id, sender="somebody@elsewhere.test", to=ADA, more=more), folder)

    @rule(folder=folders)
    def a_contact_writes(self, folder: str) -> None:
        id = self.named("letter")
        self.letters.add(id)
        if self.asked:  # it may be found, or be too late
            self.sure.add(id)
            self.maybe.add(id)
        self.comes(id, written(id, sender=GRACE, to=ADA), folder)

    @precondition(lambda self: self.daemon is not None)
    @rule()
    def asks_for_earlier_mail(self) -> None:
        assert self.daemon is not None
        since = self.clock.now().date() - timedelta(days=60)
        self.run(self.daemon.journal.backfills.ask(ADA, since, False))
        self.asked = True
        theirs = self.letters.union(*self.answers.values())
        there = {id for (_, id), times in self.expected.items() if times > 0 and id in theirs}
        self.unseen |= there - self.sure
        self.sure |= there

    @precondition(lambda self: self.octets)
    @rule(folder=folders, which=numbers)
    def is_delivered_again(self, folder: str, which: int) -> None:
        id = sorted(self.octets)[which % len(self.octets)]
        if id in self.maybe:
            return  # from now on it may be seen for the first time: nothing more is known than before
        self.expected[folder, id] += 1
        self.server.deliver(folder, self.octets[id])

    @rule(folder=folders, to=folders, which=numbers)
    def is_moved(self, folder: str, to: str, which: int) -> None:
        there = self.server.boxes[folder].mails
        if not there or folder == to:
            return
        mail = there[which % len(there)]
        id = known_id(mail.octets)
        self.server.move(mail.uid, folder, to)
        self.expected[folder, id] -= 1
        self.expected[to, id] += 1

    @rule(folder=folders, which=numbers)
    def is_deleted(self, folder: str, which: int) -> None:
        there = self.server.boxes[folder].mails
        if not there:
            return
        mail = there[which % len(there)]
        id = known_id(mail.octets)
        self.server.expunge(folder, mail.uid)
        self.expected[folder, id] -= 1
        if id in self.unseen and not any(self.expected[each, id] for each in FOLDERS):
            self.nobody_knows([id])

    # --- the server and the network ------------------------------------------------------------------------

    @rule(folder=st.sampled_from([*FOLDERS, "Sent"]))
    def is_renumbered(self, folder: str) -> None:
        self.server.renumber(folder)

    @rule()
    def is_backed_up(self) -> None:
        self.saved = (self.server.backup(), set(self.octets))

    @precondition(lambda self: self.saved is not None)
    @rule(folder=folders, which=numbers, lost=st.integers(0, 3), read=st.booleans(), more=st.integers(0, 4))
    def is_restored(self, folder: str, which: int, lost: int, read: bool, more: int) -> None:
        """What came since the backup is gone, seen or not; more answers come, and have its UIDs."""
        for _ in range(lost):
            self.is_answered(folder, which)
        if read:
            self.compare()
        assert self.saved is not None
        backup, _ = self.saved
        self.server.restore(backup)
        self.expected.clear()
        for folder in FOLDERS:
            for mail in self.server.boxes[folder].mails:
                self.expected[folder, known_id(mail.octets)] += 1
        there = {id for _, id in self.expected} | {known_id(mail.octets) for mail in self.server.boxes["Sent"].mails}
        self.nobody_knows(self.unseen - there)
        theirs = set().union(*self.answers.values())
        self.nobody_knows(there & theirs - self.sure)  # was gone before it was seen, and is there again
        self.sure |= self.maybe & theirs
        for _ in range(more):
            self.is_answered(folder, which)

    @precondition(unruly)
    @rule(folder=folders, times=st.integers(1, 5))
    def is_announced_and_withheld(self, folder: str, times: int) -> None:
        there = self.server.boxes[folder].mails
        if there:
            self.server.withhold(folder, there[-1].uid, times)

    @rule()
    def the_connections_are_cut(self) -> None:
        self.server.cut_all()

    @rule()
    def a_literal_is_cut(self) -> None:
        self.server.cut_literals = 1

    @precondition(unruly)
    @rule(commands=st.integers(1, 3))
    def is_throttled(self, commands: int) -> None:
        self.server.throttled = commands

    @rule()
    def takes_no_connections(self) -> None:
        self.server.refusing = "NO [LIMIT] too many connections"
        self.server.cut_all()

    @rule()
    def takes_them_again(self) -> None:
        self.server.refusing = None

    # --- what must hold ------------------------------------------------------------------------------------

    @rule()
    def compare(self) -> None:
        server = self.server
        server.refusing, server.throttled, server.cut_literals = None, 0, 0
        if self.daemon is None:
            self.starts()
        while self.unfiled:
            self.what_another_device_sent_is_filed()
        self.run(self._settle())
        self.unseen.clear()
        self.asked = False
        wanted = self.sure - self.maybe
        logged = self.logged()
        assert {id for id, times in logged.items() if times > 1} == set(), "logged twice"
        assert wanted - set(logged) == set(), "missing in the log"
        assert set(logged) - self.sure == set(), "in the log, and nobody's business"
        self.sure -= self.maybe - set(logged)
        self.maybe -= set(logged)
        asked = set(server.bodies)
        assert {id for id in asked if id not in self.sure | self.maybe} == set(), "a body was asked for"
        for folder in FOLDERS:
            there = Counter(known_id(mail.octets) for mail in server.boxes[folder].mails)
            assert there == Counter({id: n for (at, id), n in self.expected.items() if n > 0 and at == folder})
            marked = {known_id(mail.octets): mail.flags for mail in server.boxes[folder].mails if mail.flags}
            assert set().union(*marked.values()) <= {LOGGED_MARK}, "marked"
            assert set(marked) <= set(logged), "marked as logged, and it is not"
        copies = Counter(known_id(mail.octets) for mail in server.boxes["Sent"].mails)
        assert not [id for id, times in copies.items() if times > 1], "a Sent copy is there twice"

    def logged(self) -> Counter[str]:
        assert self.daemon is not None
        return Counter(each["message_id"] for each in self.daemon.everything())

    async def _settle(self) -> None:
        """Until the log holds what it must, and every folder was looked at since; time passes quickly meanwhile."""
        w = self.daemon
        assert w is not None
        await w.mailbox.retry_now()
        looked = len(self.server.commands())
        end = monotonic() + WELL
        for turn in itertools.count():
            if monotonic() > end:
                return  # `compare` says what is missing
            await self.clock.advance(1 if turn % 4 else 61)
            await asyncio.sleep(0.005)
            missing = self.sure - self.maybe - set(self.logged())
            said = self.server.commands()[looked:]
            if await w.journal.backfills.unfinished(ADA) is not None:
                continue
            if (
                not missing
                and turn > 8
                and any('"Customers"' in each or "RETURN (SPECIAL-USE STATUS" in each for each in said)
            ):
                return


def known_id(octets: bytes) -> str:
    line = next(line for line in octets.split(b"\r\n") if line.lower().startswith(b"message-id:"))
    return line.partition(b"<")[2].rstrip(b">").decode()


async def play(make_server: Callable[[], UnrulyImap | RealMailbox], steps: int) -> None:
    Mailbox.loop = asyncio.get_running_loop()
    Mailbox.make_server = make_server
    chosen = settings(
        max_examples=max(steps // LENGTH, 1),
        stateful_step_count=LENGTH,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink] if SOAK else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, Mailbox, settings=chosen)


@on_the_loop(timeout=60 + STEPS)
async def test_the_log_is_the_truth() -> None:
    await play(UnrulyImap, STEPS)


@pytest.mark.servers
@on_the_loop(timeout=60 + STEPS)
async def test_the_log_is_the_truth_on_dovecot(server_folder: Path) -> None:
    with Dovecot(server_folder, users={ADA: "secret"}) as dovecot:
        await play(lambda: RealMailbox(dovecot, ADA), STEPS if SOAK else STEPS // 3)
