"""What becomes of a client's upload to Sent, with a real journal and nobody at the mailbox but these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from proxyd.formats.message import heading, split_header
from proxyd.journal import Begun
from proxyd.journal.uploads import LookNow
from proxyd.model import (
    CopyAppending,
    CopyPostponed,
    CopyPresent,
    Direction,
    FiledBy,
    Found,
    Seen,
    Sent,
    SmtpReply,
    Source,
    Tracked,
)
from proxyd.relay.imap_upload import PATIENCE, SentUploads
from proxyd.relay.imap_uploads import AppendUid, PassOn, Swallow
from proxyd.rules.sent_copy import ALONE, UPLOAD_HELD, UPLOAD_TAKES, UPLOAD_WITHIN, Append, Facts, next_step
from proxyd.store import tables
from tests.looping import on_the_loop
from tests.rigged import ADA, Desk, desk, message

TAKEN = SmtpReply(250, ("2.0.0 OK",))
FILES = "  files_sent: yes\n"
SEEN = ("\\Seen",)
BCC = "Bcc: boss@example.test\r\n"


class Octets:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        return len(self._octets)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._octets


@dataclass
class Uploading:
    desk: Desk
    uploads: SentUploads

    async def sent(self, octets: bytes = message()) -> str:
        begun = await self.desk.begin(octets)
        assert isinstance(begun, Begun)
        await self.desk.journal.record(Sent(begun.id, TAKEN, self.desk.clock.now()))
        return begun.id

    async def upload(self, octets: bytes = message(), flags: tuple[str, ...] = SEEN) -> PassOn | Swallow:
        header = octets[: split_header(octets)]
        return await self.uploads.arriving("Sent", flags, None, len(octets), header)

    async def present(self, id: str, by: FiledBy, uid: int = 7, flags: frozenset[str] | None = None) -> None:
        """As the watcher says it."""
        found = Found("Sent", 1, uid)
        await self.desk.journal.record(CopyPresent(id, found, by, 1, self.desk.clock.now(), (), flags))

    def copy(self, id: str) -> dict[str, object]:
        return next(dict(row) for row in self.desk.rows(tables.sent_copies) if row["id"] == id)

    @property
    def looks(self) -> tuple[LookNow, ...]:
        return self.desk.journal.uploads.wanted(ADA)

    @property
    def woken(self) -> bool:
        return self.desk.journal.wakes.copies(ADA).is_set()

    def quiet(self) -> None:
        self.desk.journal.wakes.copies(ADA).clear()


@asynccontextmanager
async def uploading(tmp_path, *, files: bool = False, alone: int = ALONE) -> AsyncIterator[Uploading]:
    async with desk(tmp_path, FILES if files else "") as d:
        await d.journal.learn(ADA, "uploads_alone", str(alone))
        await d.journal.learn(ADA, "sent_folder", "Sent")
        yield Uploading(d, SentUploads(d.accounts[ADA], d.journal, d.clock))


@pytest.mark.parametrize(
    ("learned", "mailbox", "concerns"),
    [
        ("Sent", "Sent", True),
        ("Sent", "sent", False),
        ("Sent", "INBOX", False),
        ("Sent", "Sent Items", False),
        ("INBOX.Sent", "inbox.Sent", True),
        ("INBOX.Sent", "INBOX.sent", False),
        ("Gesendete Objekte", "Gesendete Objekte", True),
        ("Gesendete Objekte", "Sent", False),
        (None, "Sent", True),
        (None, "INBOX.Gesendete Objekte", True),
        (None, "Presentations", False),
        (None, "INBOX", False),
    ],
)
@on_the_loop
async def test_which_folder_is_sent(tmp_path, learned: str | None, mailbox: str, concerns: bool) -> None:
    async with desk(tmp_path) as d:
        if learned is not None:
            await d.journal.learn(ADA, "sent_folder", learned)
    async with desk(tmp_path) as d:  # known from the first moment after a start
        assert SentUploads(d.accounts[ADA], d.journal, d.clock).concerns(mailbox) is concerns


@pytest.mark.parametrize("files", [False, True], ids=["provider does not file", "provider files"])
@on_the_loop
async def test_what_did_not_go_through_us_passes(tmp_path, files: bool) -> None:
    async with uploading(tmp_path, files=files) as u:
        await u.sent()
        before = u.desk.rows(tables.steps)
        for octets in (message(id="other@phone"), message("Another", id="")):
            assert await u.upload(octets) == PassOn()
        assert u.desk.rows(tables.steps) == before
        assert u.looks == ()


@on_the_loop
async def test_what_was_found_in_sent_before_passes_when_it_is_moved_there_again(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        octets = message(id="phone@example.test")
        said = heading(octets)
        at = u.desk.clock.now()
        found = Found("Sent", 1, 3)
        seen = Seen(ADA, Direction.OUTGOING, Source.SENT_FOLDER, said, Octets(octets), found, at, Tracked("a contact"))
        await u.desk.journal.record(seen)
        assert await u.upload(octets) == PassOn()


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize(
    ("through_us", "theirs"),
    [
        (message(), message()),
        (message(), message(more=BCC)),
        (message(id=""), message(id="")),
        (message(id=""), message(id="", more=BCC)),
    ],
    ids=["same", "with Bcc", "without Message-ID", "without Message-ID, with Bcc"],
)
@on_the_loop
async def test_it_settles_the_copy_at_once(tmp_path, tracked: bool, through_us: bytes, theirs: bytes) -> None:
    async with uploading(tmp_path) as u:
        if tracked:
            await u.desk.add_contact("grace@customer.test")
        id = await u.sent(through_us)
        verdict = await u.upload(theirs)
        assert isinstance(verdict, PassOn)
        assert verdict.done is not None
        assert u.copy(id)["state"] == "waiting"
        await verdict.done(AppendUid(1, 12))
        row = u.copy(id)
        assert [row[key] for key in ("state", "by", "folder", "uidvalidity", "uid", "copies")] == [
            "present", "client", "Sent", 1, 12, 1,
        ]  # fmt: skip
        assert row["appended_uid"] is None
        assert u.looks == ()
        assert u.desk.journal.uploads.since(id) is None
        assert bool(u.desk.rows(tables.chunks)) is tracked  # what is not tracked is gone with that


@on_the_loop
async def test_without_appenduid_nothing_is_guessed_and_the_watcher_looks(tmp_path) -> None:
    async with uploading(tmp_path) as u:
        id = await u.sent()
        u.quiet()
        verdict = await u.upload()
        assert isinstance(verdict, PassOn)
        assert verdict.done is not None
        await verdict.done(None)
        assert u.copy(id)["state"] == "waiting"
        (look,) = u.looks
        assert (look.id, look.uploaded, look.found) == (id, True, None)
        assert u.woken


@on_the_loop
async def test_while_it_arrives_nothing_is_appended_and_then_it_is(tmp_path) -> None:
    async with uploading(tmp_path) as u:
        id = await u.sent()
        begun = u.desk.clock.now()
        verdict = await u.upload()
        assert u.desk.journal.uploads.since(id) == begun
        await u.desk.clock.advance(30)
        assert isinstance(verdict, PassOn)
        assert verdict.lost is not None
        u.quiet()
        verdict.lost()
        verdict.lost()
        assert u.desk.journal.uploads.since(id) is None
        assert [look.id for look in u.looks] == [id, id]
        assert u.woken
        assert u.copy(id)["state"] == "waiting"
        facts = Facts(begun, u.desk.clock.now(), 20.0, copies=(), uploading_since=u.desk.journal.uploads.since(id))
        assert isinstance(next_step(facts), Append)


@on_the_loop
async def test_two_uploads_of_one_message_at_once(tmp_path) -> None:
    async with uploading(tmp_path) as u:
        id = await u.sent()
        first, second = await u.upload(), await u.upload()
        assert isinstance(first, PassOn)
        assert isinstance(second, PassOn)
        assert first.done is not None
        assert second.done is not None
        await first.done(AppendUid(1, 12))
        assert u.desk.journal.uploads.since(id) is not None
        await second.done(AppendUid(1, 13))
        assert u.desk.journal.uploads.since(id) is None
        assert (u.copy(id)["uid"], u.copy(id)["by"]) == (12, "client")
        assert [look.found for look in u.looks] == [Found("Sent", 1, 13)]  # how many there are, the watcher sees


@pytest.mark.parametrize("files", [False, True], ids=["provider does not file", "provider files"])
@pytest.mark.parametrize("appended", ["before", "meanwhile", "under way", "of unknown outcome"])
@on_the_loop
async def test_ours_is_there_or_under_way(tmp_path, files: bool, appended: str) -> None:
    """The client's passes, and what is known of ours stays on record until the watcher has taken ours back."""
    async with uploading(tmp_path, files=files) as u:
        id = await u.sent()
        appending = CopyAppending(id, "Sent", u.desk.clock.now())
        if appended != "meanwhile":
            await u.desk.journal.record(appending)
        if appended == "before":
            await u.present(id, FiledBy.PROXYD)
        if appended == "of unknown outcome":
            at = u.desk.clock.now()
            await u.desk.journal.record(CopyPostponed(id, "lost", at, at))
        verdict = await u.upload()
        if appended == "meanwhile" and files:
            assert isinstance(verdict, Swallow)
            verdict.answer.cancel()  # type: ignore[attr-defined]
            return
        assert isinstance(verdict, PassOn)
        assert verdict.done is not None
        if appended == "meanwhile":
            await u.desk.journal.record(appending)
        before = u.copy(id)
        await verdict.done(AppendUid(1, 12))
        assert u.copy(id) == before
        assert [(look.uploaded, look.found) for look in u.looks] == [(True, Found("Sent", 1, 12))]


@on_the_loop
async def test_the_clients_is_there_and_the_provider_does_not_file(tmp_path) -> None:
    """A second one of the client's is the client's own doing."""
    async with uploading(tmp_path) as u:
        id = await u.sent()
        await u.present(id, FiledBy.CLIENT)
        assert await u.upload() == PassOn()


# --- where nobody knows yet whether the provider files what it sends --------------------------------------------


@on_the_loop
async def test_the_first_uploads_are_held_back_for_nothing(tmp_path) -> None:
    async with uploading(tmp_path, alone=0) as u:
        for number in range(ALONE + 1):
            octets = message(f"Offer {number}", id=f"m{number}@example.test")
            await u.sent(octets)
            u.quiet()
            asking = asyncio.ensure_future(u.upload(octets))
            if number < ALONE:
                await u.desk.clock.sleeper()
                assert u.woken
                assert not asking.done()
                await u.desk.clock.advance(UPLOAD_HELD)
            verdict = await asking
            assert isinstance(verdict, PassOn)
            assert verdict.done is not None
            await verdict.done(AppendUid(1, number + 1))


@on_the_loop
async def test_the_first_upload_is_held_back_and_the_providers_copy_comes(tmp_path) -> None:
    async with uploading(tmp_path, alone=0) as u:
        id = await u.sent()
        asking = asyncio.ensure_future(u.upload())
        await u.desk.clock.sleeper()
        await u.present(id, FiledBy.PROVIDER, 9)
        look = await _wanted(u)
        u.desk.journal.uploads.looked(ADA, look, there=True)
        verdict = await asking
        await u.present(id, FiledBy.PROVIDER, 9, frozenset(SEEN))
        assert await answered(verdict) == AppendUid(1, 9)
        assert await u.desk.journal.learned(ADA, "uploads_alone") == "0"


async def _wanted(u: Uploading) -> LookNow:
    while not u.looks:
        await asyncio.sleep(0.01)
    return u.looks[0]


# --- where the provider files what it sends --------------------------------------------------------------------


async def answered(verdict: PassOn | Swallow) -> AppendUid | None:
    assert isinstance(verdict, Swallow)
    return await verdict.answer


@on_the_loop
async def test_the_providers_copy_answers_for_the_clients(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        u.quiet()
        verdict = await u.upload(message(more=BCC), ("\\Seen", "$Forwarded", "\\Recent", "\\Deleted", "a b", "x\r\ny"))
        assert u.copy(id)["promised_flags"] == "$Forwarded \\Seen"  # durable before the client hears anything
        await u.desk.clock.sleeper()
        assert u.woken
        await u.present(id, FiledBy.PROVIDER, 9, frozenset({"\\Seen", "$Forwarded"}))
        assert await answered(verdict) == AppendUid(1, 9)
        assert u.copy(id)["promised_flags"] is None


@on_the_loop
async def test_it_is_known_by_habit(tmp_path) -> None:
    async with uploading(tmp_path) as u:
        await u.desk.journal.learn(ADA, "files_sent", "once X")
        id = await u.sent()
        verdict = await u.upload()
        assert isinstance(verdict, PassOn)
        assert verdict.done is not None
        await verdict.done(AppendUid(1, 2))
        await u.desk.journal.learn(ADA, "files_sent", "yes")
        id = await u.sent(message("Second", id="m2@example.test"))
        verdict = await u.upload(message("Second", id="m2@example.test"))
        await u.present(id, FiledBy.PROVIDER, 3, frozenset(SEEN))
        assert await answered(verdict) == AppendUid(1, 3)


@on_the_loop
async def test_the_providers_copy_does_not_come_and_one_is_owed(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        verdict = await u.upload()
        await u.desk.clock.sleeper()
        await u.desk.clock.advance(PATIENCE)
        assert await answered(verdict) is None
        row = u.copy(id)
        assert (row["state"], row["promised_flags"]) == ("waiting", "\\Seen")
        assert u.desk.rows(tables.chunks)  # we hold the message until there is a copy
    async with desk(tmp_path, FILES) as d:  # and remember after a restart
        (copy,) = await d.journal.copies.due(ADA)
        assert copy.promised == frozenset(SEEN)
        assert copy.content is not None


@on_the_loop
async def test_uploaded_again_after_the_answer_was_lost(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        first, second = await u.upload(), await u.upload(flags=("\\Answered",))
        assert u.copy(id)["promised_flags"] == "\\Answered \\Seen"
        await u.desk.clock.sleeper()
        await u.present(id, FiledBy.PROVIDER, 9, frozenset({"\\Seen", "\\Answered"}))
        assert await answered(first) == await answered(second) == AppendUid(1, 9)


@on_the_loop
async def test_seen_before_its_flags_were_on_it(tmp_path) -> None:
    """The watcher had the copy in hand when the upload came: it is not answered before the flags are there, too."""
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        verdict = await u.upload(flags=("\\Seen",))
        again = await u.upload(flags=("\\Flagged",))
        await u.desk.clock.sleeper()
        for kept in (None, frozenset({"\\Seen"})):
            await u.present(id, FiledBy.PROVIDER, 9, kept)
            assert u.copy(id)["promised_flags"] == "\\Flagged \\Seen"
            (owed,) = await u.desk.journal.copies.promised(ADA)
            assert owed.id == id
            assert isinstance(verdict, Swallow)
            assert not verdict.answer.done()  # type: ignore[attr-defined]
        await u.present(id, FiledBy.PROVIDER, 9, frozenset({"\\Seen", "\\Flagged"}))
        for each in (verdict, again):
            assert await answered(each) == AppendUid(1, 9)


@on_the_loop
async def test_its_flags_do_not_come_in_time(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        verdict = await u.upload()
        assert isinstance(verdict, Swallow)
        await u.present(id, FiledBy.PROVIDER, 9)
        while not verdict.answer.done():  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
            await u.desk.clock.advance(1)
        assert await verdict.answer == AppendUid(1, 9)
        assert u.desk.clock.monotonic() >= PATIENCE


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("octets", [message(), message(id="")], ids=["with Message-ID", "without"])
@on_the_loop
async def test_the_providers_copy_was_there_first(tmp_path, tracked: bool, octets: bytes) -> None:
    """It is looked for once more: of an untracked message nothing is left with us."""
    async with uploading(tmp_path, files=True) as u:
        if tracked:
            await u.desk.add_contact("grace@customer.test")
        id = await u.sent(octets)
        await u.present(id, FiledBy.PROVIDER, 9)
        asking = asyncio.ensure_future(u.upload(octets))
        await u.desk.clock.sleeper()
        (look,) = u.looks
        assert (look.id, look.uploaded, u.woken) == (id, False, True)
        u.desk.journal.uploads.looked(ADA, look, there=True)
        verdict = await asking
        await u.present(id, FiledBy.PROVIDER, 9, frozenset(SEEN))
        assert await answered(verdict) == AppendUid(1, 9)
        assert u.looks == ()


@pytest.mark.parametrize("why", ["deleted", "nobody looks"])
@on_the_loop
async def test_the_providers_copy_was_there_and_is_not_seen_again(tmp_path, why: str) -> None:
    """The person may have deleted it, and now brings it back."""
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        await u.present(id, FiledBy.PROVIDER, 9)
        asking = asyncio.ensure_future(u.upload())
        await u.desk.clock.sleeper()
        if why == "deleted":
            u.desk.journal.uploads.looked(ADA, u.looks[0], there=False)
        else:
            await u.desk.clock.advance(PATIENCE)
        assert await asking == PassOn()
        assert u.looks == ()
        assert u.copy(id)["promised_flags"] is None


@on_the_loop
async def test_long_after(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        await u.present(id, FiledBy.PROVIDER, 9)
        await u.desk.clock.advance(UPLOAD_WITHIN + 1)
        assert await u.upload() == PassOn()


@on_the_loop
async def test_the_copy_lies_in_another_folder_than_the_client_names(tmp_path) -> None:
    async with uploading(tmp_path, files=True) as u:
        id = await u.sent()
        verdict = await u.upload()
        await u.desk.clock.sleeper()
        found = Found("Sent Items", 1, 9)
        event = CopyPresent(id, found, FiledBy.PROVIDER, 1, u.desk.clock.now(), (), frozenset(SEEN))
        await u.desk.journal.record(event)
        assert await answered(verdict) is None


def test_an_upload_may_take_minutes_and_the_rules_know_how_many() -> None:
    assert 60 < UPLOAD_TAKES <= 900
