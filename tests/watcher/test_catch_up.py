"""Catching up where the server or we ourselves stumble: nothing is passed over in silence, nothing is logged twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.message import heading
from proxyd.provider.imap import Connection, Unreachable
from proxyd.provider.imap_lines import checked
from proxyd.watcher import batch, catch_up
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, commands, from_stranger, reply, until, watched


def withhold(monkeypatch: pytest.MonkeyPatch, uid: int, times: int) -> list[int]:
    """FETCH of this UID delivers nothing, so many times."""
    fields = Connection.fields
    withheld: list[int] = []

    def some(self: Connection, uids: Any, names: Any) -> dict[int, bytes]:
        found = fields(self, uids, names)
        if uid in found and len(withheld) < times:
            withheld.append(uid)
            del found[uid]
        return found

    monkeypatch.setattr(Connection, "fields", some)
    return withheld


async def turn(w: Watched, look: Callable[[], Any], what: str) -> None:
    """Until `look()`, while time passes quickly."""
    for _ in range(400):
        if look():
            return
        await w.clock.advance(0.5)
        await asyncio.sleep(0.02)
    raise AssertionError(what)


@pytest.mark.parametrize("times", [1, 3, 6], ids=["once", "three times", "six times"])
@on_the_loop(timeout=60)
async def test_announced_and_not_delivered_holds_the_position_back(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch, times: int
):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        withheld = withhold(monkeypatch, 1, times)
        provider.dovecot.deliver(PERSON, reply(1))
        provider.dovecot.deliver(PERSON, reply(2))
        if times == 6:
            await turn(w, lambda: len(w.timeline()) == 2, "the other reply")
            await until(lambda: len(withheld) >= 4 or None, "the first tries")
            position = await w.journal.position(PERSON, "INBOX")
            assert position is not None
            assert position.uidnext == 1
        await turn(w, lambda: len(w.timeline()) == 3, "both replies")
        assert len(withheld) == times
        bodies = [command for command in commands(provider) if command.startswith("UID FETCH 2 (BODY.PEEK[]")]
        assert len(bodies) == 1


@on_the_loop(timeout=60)
async def test_what_never_comes_is_passed_over_after_an_hour_and_loudly(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(catch_up, "GIVE_UP", catch_up.timedelta(seconds=30))
    async with watched(tmp_path, provider) as w:
        withhold(monkeypatch, 1, 10_000)
        provider.dovecot.deliver(PERSON, reply(1))
        places = w.mailbox._catch_up._withheld

        await turn(w, lambda: places, "withheld")
        for _ in range(4):
            await w.clock.advance(10)

        async def at() -> int:
            position = await w.journal.position(PERSON, "INBOX")
            return 0 if position is None else position.uidnext

        for _ in range(400):
            if await at() == 2:
                break
            await w.clock.advance(1)
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("still held back")
        assert "announced and never delivered" in capsys.readouterr().out


@on_the_loop(timeout=60)
async def test_a_message_that_we_stumble_over_keeps_no_other_out(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        take_in = w.journal._take_in

        async def stumbles(seen: Any) -> Any:
            if seen.heading.message_id == "r1@customer.test":
                raise ValueError("a fault of ours")
            return await take_in(seen)

        monkeypatch.setattr(w.journal, "_take_in", stumbles)
        provider.dovecot.deliver(PERSON, reply(1))
        provider.dovecot.deliver(PERSON, reply(2))
        await turn(w, lambda: len(w.timeline()) == 2, "the other reply")
        provider.dovecot.deliver(PERSON, reply(3))
        await turn(w, lambda: len(w.timeline()) == 3, "a later reply")
        assert {each["message_id"] for each in w.timeline()} == {
            "<m1@example.test>",
            "<r2@customer.test>",
            "<r3@customer.test>",
        }


@on_the_loop
async def test_lost_in_the_middle_of_a_message_it_is_read_again(
    tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    part = Connection.part
    cut = []

    def once(self: Connection, uid: int, offset: int, size: int = catch_up.PART) -> bytes | None:
        if offset and not cut:
            cut.append(offset)
            self.drop()
            raise Unreachable("cut by the test")
        return part(self, uid, offset, size)

    monkeypatch.setattr(Connection, "part", once)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
        provider.dovecot.deliver(PERSON, reply(body="0123456789abcdef\r\n" * 80_000))
        await turn(w, lambda: len(w.timeline()) == 2, "the big reply")
        assert cut


@on_the_loop
async def test_more_than_a_batch_and_more_than_a_handful(tmp_path, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch, "SIZE", 200)
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
    with provider.dovecot.imap(PERSON) as imap:
        for n in range(420):
            octets = reply(n) if n % 20 == 7 else from_stranger(n)
            imap.append("INBOX", "", "", octets)
    async with watched(tmp_path, provider) as w:
        await until(lambda: len(w.timeline()) == 22 or None, "every reply")
        fetches = [command for command in commands(provider) if "IN-REPLY-TO" in command and "FETCH" in command]
        asked = [command.split()[2] for command in fetches]
        assert asked[:3] == ["1:200", "201:400", "401:420"]  # then the newest, by which the folder is known again


@on_the_loop
async def test_replies_to_replies_in_one_batch_whatever_their_order(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await w.add_contact(CUSTOMER)
        await w.sent(message())
    for n, to in ((3, "r2@customer.test"), (2, "r1@customer.test"), (1, "m1@example.test"), (9, "r8@customer.test")):
        provider.dovecot.deliver(PERSON, reply(n, to=to))
    async with watched(tmp_path, provider) as w:
        await until(lambda: len(w.timeline()) == 4 or None, "the three of the thread")
        assert len({each["thread"] for each in w.timeline()}) == 1


@given(st.binary(max_size=300))
def test_ids_of_any_header_can_be_searched_for(header: bytes) -> None:
    """No reading of a header gives an id that could not stand in a command."""
    for id in batch.ids_of(heading(b"Message-ID: <" + header + b">\r\nReferences: " + header + b"\r\n")):
        checked(id)
