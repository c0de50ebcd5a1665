"""A client uploads to Sent through us, and one copy results: on real Dovecot, with the upload's way to it played."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from proxyd.formats.message import split_header
from proxyd.model import LOGGED_MARK
from proxyd.provider.imap import Connection, Unreachable
from proxyd.relay.imap_upload import PATIENCE, SentUploads
from proxyd.relay.imap_uploads import AppendUid, PassOn, Swallow
from proxyd.rules.sent_copy import ALONE, UPLOAD_HELD
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.dovecot import Stored
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.watcher.test_sent_copy import RECEIVED, copies, waited_for
from tests.watcher.watched import Watched, commands, until, watched

BCC = "Bcc: boss@example.test\r\n"
SEEN = ("\\Seen",)


async def begin(
    w: Watched, octets: bytes = message(), flags: tuple[str, ...] = SEEN, *, alone: int = ALONE
) -> PassOn | Swallow:
    """The client's APPEND, up to the end of the header section. `alone`: uploads for which no copy of the provider's
    came; with ALONE of them its habit is known."""
    await w.journal.learn(PERSON, "uploads_alone", str(alone))
    uploads = SentUploads(w.account, w.journal, w.clock)
    assert uploads.concerns("Sent")
    return await uploads.arriving("Sent", flags, None, len(octets), octets[: split_header(octets)])


def arrive(w: Watched, octets: bytes = message(), flags: str = "\\Seen") -> AppendUid:
    """The provider has taken it."""
    with w.provider.dovecot.imap(PERSON) as imap:
        uidvalidity = int(imap.status("Sent", "(UIDVALIDITY)")[1][0].split()[-1].rstrip(b")"))
    return AppendUid(uidvalidity, w.provider.dovecot.append(PERSON, "Sent", octets, flags=flags))


async def upload(w: Watched, octets: bytes = message(), *, flags: str = "\\Seen", told: bool = True) -> int:
    verdict = await begin(w, octets, tuple(flags.split()))
    assert isinstance(verdict, PassOn)
    assert verdict.done is not None
    uid = arrive(w, octets, flags)
    await verdict.done(uid if told else None)
    return uid.uid


async def pass_time(w: Watched, seconds: float) -> None:
    """Time passes, and the watcher has had a look at what is due."""
    await w.parked()
    before = commands(w.provider).count("IDLE")
    await w.clock.advance(seconds)
    await until(lambda: commands(w.provider).count("IDLE") > before or None, "another IDLE")
    await w.parked()


def only(provider: Provider) -> Stored:
    (copy,) = copies(provider)
    return copy


def appends(provider: Provider) -> int:
    return sum(command.startswith("APPEND") for command in commands(provider))


@pytest.mark.parametrize("told", [True, False], ids=["APPENDUID", "no APPENDUID"])
@pytest.mark.parametrize("octets", [message(more=BCC), message(id="")], ids=["with Bcc", "without Message-ID"])
@on_the_loop
async def test_it_settles_before_its_time(tmp_path, provider: Provider, octets: bytes, told: bool) -> None:
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(octets.replace(BCC.encode(), b""))
        await waited_for(w)
        uid = await upload(w, octets, told=told)
        row = await w.settled(id)
        assert (row["by"], row["uid"], row["copies"], row["appended_uid"]) == ("client", uid, 1, None)
        await w.parked()
        await w.clock.advance(301)
        await w.parked()
        assert only(provider).octets == octets
        assert (w.copy(id)["by"], w.copy(id)["uid"]) == ("client", uid)
        assert appends(provider) == 0
        assert len(w.timeline()) == 1  # and is not logged as mail from elsewhere
        assert await w.journal.learned(PERSON, "files_sent") is None  # nor taken for the provider's


@on_the_loop
async def test_while_it_arrives_we_do_not_append(tmp_path, provider: Provider) -> None:
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w)
        await pass_time(w, 30)
        assert copies(provider) == []
        assert isinstance(verdict, PassOn)
        assert verdict.done is not None
        await verdict.done(arrive(w))
        assert (await w.settled(id))["by"] == "client"
        await w.clock.advance(301)
        await w.parked()
        assert only(provider).octets == message()
        assert appends(provider) == 0


@pytest.mark.parametrize("how", ["refused", "never heard of again"])
@on_the_loop
async def test_it_comes_to_nothing_and_ours_is_there(tmp_path, provider: Provider, how: str) -> None:
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w)
        await pass_time(w, 30)
        assert copies(provider) == []
        if how == "refused":
            assert isinstance(verdict, PassOn)
            assert verdict.lost is not None
            verdict.lost()
        else:
            await w.clock.advance(300)
            await w.parked()
            await w.clock.advance(300)
        assert (await w.settled(id))["by"] == "proxyd"
        assert only(provider).octets == message()


@on_the_loop
async def test_only_its_answer_was_lost(tmp_path, provider: Provider) -> None:
    async with watched(tmp_path, provider) as w:
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w)
        uid = arrive(w)
        assert isinstance(verdict, PassOn)
        assert verdict.lost is not None
        verdict.lost()
        row = await w.settled(id)
        assert (row["by"], row["uid"]) == ("client", uid.uid)
        assert only(provider).uid == uid.uid


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("octets", [message(more=BCC), message(id="")], ids=["with Bcc", "without Message-ID"])
@pytest.mark.parametrize("told", [True, False], ids=["APPENDUID", "no APPENDUID"])
@on_the_loop
async def test_ours_was_there_and_goes_at_once(
    tmp_path, provider: Provider, octets: bytes, tracked: bool, told: bool
) -> None:
    async with watched(tmp_path, provider) as w:
        if tracked:
            await w.add_contact(CUSTOMER)
        id = await w.sent(octets.replace(BCC.encode(), b""))
        await waited_for(w)
        ours = (await w.ripened(id))["appended_uid"]
        await w.parked()
        with provider.dovecot.imap(PERSON) as imap:  # the person answers what it finds in Sent
            imap.select("Sent")
            imap.uid("STORE", str(ours), "+FLAGS", "(\\Answered $Forwarded)")
        theirs = await upload(w, octets, flags="\\Flagged", told=told)
        await until(lambda: w.copy(id)["by"] == "client" or None, "theirs on record")
        left = only(provider)
        assert (left.uid, left.octets) == (theirs, octets)
        assert {"\\Flagged", "\\Answered", "$Forwarded"} <= left.flags
        row = w.copy(id)
        assert (row["uid"], row["appended_uid"], row["copies"]) == (theirs, None, 1)
        await w.parked()
        assert len(w.timeline()) == tracked


@on_the_loop
async def test_it_comes_while_we_append(tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our octets are on their way when the client's begin to come, and are there first."""
    under_way, go_on = threading.Event(), threading.Event()
    end = Connection.append_end

    def held(self: Connection):
        under_way.set()
        go_on.wait(60)
        return end(self)

    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        monkeypatch.setattr(Connection, "append_end", held)
        id = await w.sent(message())
        await waited_for(w)
        await w.clock.advance(21)
        await until(lambda: under_way.is_set() or None, "our APPEND under way")
        theirs = await upload(w, message(more=BCC))
        assert w.copy(id)["state"] == "waiting"
        go_on.set()
        await until(lambda: w.copy(id)["by"] == "client" or None, "theirs on record")
        assert only(provider).uid == theirs
        assert w.copy(id)["copies"] == 1


@on_the_loop
async def test_it_comes_after_our_append_was_cut_and_had_arrived(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Connection.append_end

    def cut(self: Connection):
        monkeypatch.setattr(Connection, "append_end", end)
        end(self)
        self.drop()
        raise Unreachable("the connection was lost (APPEND): cut by the test")

    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        monkeypatch.setattr(Connection, "append_end", cut)
        id = await w.sent(message())
        await waited_for(w)
        await w.clock.advance(21)
        await until(lambda: w.state() == "unreachable" or None, "the cut")
        theirs = await upload(w, message(more=BCC))
        assert len(copies(provider)) == 2
        await w.as_time_passes(2, lambda: w.copy(id)["by"] == "client", "theirs on record")
        assert only(provider).uid == theirs
        assert w.copy(id)["copies"] == 1


# --- where the provider files what it sends --------------------------------------------------------------------


def file(w: Watched, octets: bytes = message(), flags: str = "\\Seen") -> int:
    """The provider's own copy."""
    return w.provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + octets, flags=flags)


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@on_the_loop
async def test_the_providers_copy_comes_and_gets_the_clients_flags(tmp_path, provider: Provider, tracked: bool) -> None:
    async with watched(tmp_path, provider, files_sent="yes") as w:
        if tracked:
            await w.add_contact(CUSTOMER)
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w, message(more=BCC), ("\\Seen", "\\Flagged", "$Label1"))
        assert isinstance(verdict, Swallow)
        await w.parked()
        uid = file(w, flags="")
        answer = await verdict.answer
        assert answer is not None
        assert answer.uid == uid
        copy = only(provider)
        assert copy.flags - {LOGGED_MARK} == {"\\Seen", "\\Flagged", "$Label1"}  # when the client hears of it
        row = w.copy(id)
        assert (row["state"], row["by"], row["uid"], row["promised_flags"]) == ("present", "provider", uid, None)
        await w.parked()
        await w.clock.advance(400)
        await w.parked()
        assert appends(provider) == 0


@on_the_loop
async def test_the_first_one_is_held_back_until_the_providers_copy_comes(tmp_path, provider: Provider) -> None:
    """Nobody knows the provider's habit yet. Meanwhile we append nothing, though it would be time."""
    async with watched(tmp_path, provider) as w:
        id = await w.sent(message())
        await waited_for(w)
        await w.clock.advance(17)
        held = asyncio.ensure_future(begin(w, alone=0))
        await until(lambda: w.journal.uploads.since(id), "the upload held back")
        await w.parked()
        await pass_time(w, UPLOAD_HELD - 1)
        assert copies(provider) == []
        uid = file(w, flags="")
        verdict = await held
        assert isinstance(verdict, Swallow)
        answer = await verdict.answer
        assert answer is not None
        assert answer.uid == uid
        assert only(provider).flags == {"\\Seen"}
        assert w.journal.uploads.since(id) is None
        assert appends(provider) == 0


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("octets", [message(), message(id="")], ids=["with Message-ID", "without"])
@on_the_loop
async def test_the_providers_copy_was_there_first(tmp_path, provider: Provider, octets: bytes, tracked: bool) -> None:
    async with watched(tmp_path, provider, files_sent="yes") as w:
        if tracked:
            await w.add_contact(CUSTOMER)
        id = await w.sent(octets)
        await waited_for(w)
        filed = octets if b"Message-ID" in octets else b"Message-ID: <made@example.test>\r\n" + octets
        uid = file(w, filed, flags="")
        await w.settled(id)
        await w.parked()
        verdict = await begin(w, octets)
        assert isinstance(verdict, Swallow)
        answer = await verdict.answer
        assert answer is not None
        assert answer.uid == uid
        assert only(provider).flags - {LOGGED_MARK} == {"\\Seen"}  # what is logged gets that one at its own time


@on_the_loop
async def test_the_person_deleted_the_providers_copy_and_brings_it_back(tmp_path, provider: Provider) -> None:
    async with watched(tmp_path, provider, files_sent="yes") as w:
        id = await w.sent(message())
        await waited_for(w)
        uid = file(w)
        await w.settled(id)
        with provider.dovecot.imap(PERSON) as imap:
            imap.select("Sent")
            imap.uid("STORE", str(uid), "+FLAGS", "\\Deleted")
            imap.expunge()
        assert await begin(w) == PassOn()


@on_the_loop
async def test_the_providers_copy_never_comes_and_the_person_has_one_all_the_same(tmp_path, provider: Provider) -> None:
    async with watched(tmp_path, provider, files_sent="yes") as w:
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w, message(), ("\\Seen", "\\Flagged"))
        assert isinstance(verdict, Swallow)
        while not verdict.answer.done():  # type: ignore[attr-defined]
            await asyncio.sleep(0.02)
            await w.clock.advance(1)
        assert await verdict.answer is None
        assert w.clock.monotonic() >= PATIENCE
        for _ in range(5):
            assert copies(provider) == []
            await w.clock.advance(300)
            await w.parked()
    async with watched(tmp_path, provider, files_sent="yes", clock=w.clock) as w:  # not even a restart is in its way
        await w.as_time_passes(300, lambda: w.copy(id)["state"] != "waiting", "a copy of ours")
        row = await w.settled(id)
        assert (row["by"], row["copies"]) == ("proxyd", 1)
        await until(lambda: w.copy(id)["promised_flags"] is None or None, "the flags")
        assert only(provider).octets == message()
        assert only(provider).flags == {"\\Seen", "\\Flagged"}
        file(w)  # and now it comes: ours goes
        await until(lambda: w.copy(id)["by"] == "provider" or None, "the provider's on record")
        assert only(provider).octets.startswith(b"Received")


@on_the_loop
async def test_answered_and_the_daemon_is_killed_at_once(tmp_path, provider: Provider) -> None:
    async with watched(tmp_path, provider, files_sent="yes") as w:
        id = await w.sent(message())
        await waited_for(w)
        verdict = await begin(w, message(), ("\\Seen", "\\Flagged"))
        assert isinstance(verdict, Swallow)
        verdict.answer.cancel()  # type: ignore[attr-defined]
    uid = provider.dovecot.append(PERSON, "Sent", RECEIVED.encode() + message(), flags="")
    async with watched(tmp_path, provider, files_sent="yes", clock=w.clock) as w:
        row = await w.settled(id)
        assert (row["by"], row["uid"], row["promised_flags"]) == ("provider", uid, None)
        assert only(provider).flags == {"\\Seen", "\\Flagged"}


@on_the_loop
async def test_a_flag_that_the_server_refuses_is_not_asked_for_twice(
    tmp_path, make_provider: Callable[..., Provider]
) -> None:
    provider = make_provider(dovecot={"settings": "mail_max_keyword_length = 5\n"})
    async with watched(tmp_path, provider, files_sent="yes") as w:
        await w.sent(message())
        await waited_for(w)
        verdict = await begin(w, message(), ("\\Seen", "$MuchTooLong"))
        assert isinstance(verdict, Swallow)
        await w.parked()
        uid = file(w, flags="")
        answer = await verdict.answer
        assert answer is not None
        assert answer.uid == uid
