"""What a signed-in client says, as far as somebody has to know: uploads above all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from proxyd.relay.imap_uploads import HEADER_LIMIT, AppendUid, PassOn, Swallow
from tests.looping import on_the_loop
from tests.relay.imap_house import OFFERED, PlayedProvider, Talk, imap_house

MESSAGE = b"Message-ID: <1@x>\r\nSubject: Offer\r\n\r\nHello\r\n"


@dataclass
class Judge:
    """Says of every upload to `folder` what `verdict` is."""

    verdict: PassOn | Swallow | Exception = field(default_factory=PassOn)
    folder: str = "Sent"
    asked: list[tuple[str, tuple[str, ...], str | None, int, bytes]] = field(default_factory=list)

    def concerns(self, mailbox: str) -> bool:
        return mailbox == self.folder

    async def arriving(
        self, mailbox: str, flags: tuple[str, ...], internaldate: str | None, size: int, header: bytes
    ) -> PassOn | Swallow:
        self.asked.append((mailbox, flags, internaldate, size, header))
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def lost_or_done() -> tuple[PassOn, asyncio.Future[str]]:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def done(uid: AppendUid | None) -> None:
        outcome.set_result("done")

    return PassOn(done, lambda: outcome.set_result("lost")), outcome


async def read(talk: Talk, size: int) -> bytes:
    return await talk.reader.readexactly(size)


ANNOUNCED = {
    "waits": (f"2 APPEND Sent (\\Seen) {{{len(MESSAGE)}}}\r\n".encode(), True),
    "does not wait": (f"2 APPEND Sent (\\Seen) {{{len(MESSAGE)}+}}\r\n".encode(), False),
    "mailbox in quotes": (f'2 append "Sent" (\\Seen) {{{len(MESSAGE)}+}}\r\n'.encode(), False),
}


async def upload(client: Talk, announced: bytes, waits: bool, message: bytes = MESSAGE) -> None:
    client.writer.write(announced)
    if waits:
        assert await client.hear() == "+ OK"
    client.writer.write(message + b"\r\n")


@pytest.mark.parametrize("after", [OFFERED, "IMAP4rev1 UIDPLUS", "IMAP4rev1 LITERAL-"], ids=["LITERAL+", "none", "-"])
@pytest.mark.parametrize(("announced", "waits"), ANNOUNCED.values(), ids=ANNOUNCED)
@on_the_loop
async def test_an_upload_that_passes(tmp_path, announced: bytes, waits: bool, after: str):
    done: asyncio.Future[AppendUid | None] = asyncio.get_running_loop().create_future()

    async def note(uid: AppendUid | None) -> None:
        done.set_result(uid)

    judge = Judge(PassOn(note))
    async with imap_house(tmp_path, uploads=lambda _: judge, provider=PlayedProvider(after=after)) as here:
        client, provider = await here.signed_in()
        await upload(client, announced, waits)
        line = await provider.hear()
        assert line.rpartition("{")[0].encode() == announced.rpartition(b"{")[0]
        if line.endswith("+}"):
            assert "LITERAL" in after
        else:
            assert "LITERAL" not in after
            provider.say("+ go on")
        assert await read(provider, len(MESSAGE) + 2) == MESSAGE + b"\r\n"
        provider.say("2 OK [APPENDUID 7 42] filed")
        assert await client.hear() == "2 OK [APPENDUID 7 42] filed"
        assert await done == AppendUid(7, 42)
    assert judge.asked == [("Sent", ("\\Seen",), None, len(MESSAGE), MESSAGE[: MESSAGE.index(b"Hello")])]


@pytest.mark.parametrize(
    ("answer", "uid"),
    [("2 OK filed", None), ("2 OK [UIDNOTSTICKY] filed", None), ("2 ok [appenduid 1 2] x", AppendUid(1, 2))],
)
@on_the_loop
async def test_done_is_told_where_the_message_lies(tmp_path, answer: str, uid: AppendUid | None):
    told: list[AppendUid | None] = []

    async def note(where: AppendUid | None) -> None:
        told.append(where)

    async with imap_house(tmp_path, uploads=lambda _: Judge(PassOn(note))) as here:
        client, provider = await here.signed_in()
        await upload(client, *ANNOUNCED["does not wait"])
        await provider.hear()
        provider.say(answer)
        assert await client.hear() == answer
        await client.ask("3 ID NIL")  # by then it has been told
    assert told == [uid]


@on_the_loop
async def test_a_refused_upload_is_lost(tmp_path):
    verdict, outcome = lost_or_done()
    async with imap_house(tmp_path, uploads=lambda _: Judge(verdict)) as here:
        client, provider = await here.signed_in()
        await upload(client, *ANNOUNCED["does not wait"])
        assert await provider.hear() == "2 APPEND Sent (\\Seen) {44+}"
        provider.say("2 NO [OVERQUOTA] full")
        assert await client.hear() == "2 NO [OVERQUOTA] full"
        assert await outcome == "lost"


@on_the_loop
async def test_an_upload_refused_at_its_announcement_is_lost(tmp_path):
    verdict, outcome = lost_or_done()
    judge, played = Judge(verdict), PlayedProvider(after="IMAP4rev1")
    async with imap_house(tmp_path, uploads=lambda _: judge, provider=played) as here:
        client, provider = await here.signed_in()
        await upload(client, *ANNOUNCED["waits"])
        assert await provider.hear() == "2 APPEND Sent (\\Seen) {44}"
        provider.say("2 NO [TRYCREATE] no such folder")
        assert await client.hear() == "2 NO [TRYCREATE] no such folder"
        assert await outcome == "lost"
        client.say("3 NOOP")
        assert await provider.hear() == "3 NOOP"


@pytest.mark.parametrize("who", ["provider", "client"])
@pytest.mark.parametrize("whole", [True, False], ids=["all of it sent", "a part of it sent"])
@on_the_loop
async def test_an_upload_without_an_answer_is_lost(tmp_path, who: str, whole: bool):
    verdict, outcome = lost_or_done()
    async with imap_house(tmp_path, uploads=lambda _: Judge(verdict)) as here:
        client, provider = await here.signed_in()
        client.writer.write(ANNOUNCED["does not wait"][0] + (MESSAGE + b"\r\n" if whole else MESSAGE[:-5]))
        assert await provider.hear() == "2 APPEND Sent (\\Seen) {44+}"
        await read(provider, len(MESSAGE) - 5)
        (provider if who == "provider" else client).close()
        if who == "client" and whole:  # the provider may still have its say
            assert (await read(provider, 7))[5:] == b"\r\n"
            assert await provider.hear() == "proxyd.1 LOGOUT"
            provider.close()
        assert await outcome == "lost"


@pytest.mark.parametrize(("announced", "waits"), ANNOUNCED.values(), ids=ANNOUNCED)
@on_the_loop
async def test_an_upload_that_ends_here(tmp_path, announced: bytes, waits: bool):
    async def answer() -> AppendUid | None:
        return AppendUid(7, 42)

    async with imap_house(tmp_path, uploads=lambda _: Judge(Swallow(answer()))) as here:
        client, provider = await here.signed_in()
        await upload(client, announced, waits)
        assert await client.hear() == "2 OK [APPENDUID 7 42] APPEND completed"
        client.say("3 NOOP")
        assert await provider.hear() == "3 NOOP"


async def nothing() -> AppendUid | None:
    return None


async def fails() -> AppendUid | None:
    raise RuntimeError("a fault")


@pytest.mark.parametrize("answer", [nothing, fails])
@on_the_loop
async def test_an_upload_whose_place_is_not_known(tmp_path, answer: Callable[[], Awaitable[AppendUid | None]]):
    async with imap_house(tmp_path, uploads=lambda _: Judge(Swallow(answer()))) as here:
        client, _ = await here.signed_in()
        await upload(client, *ANNOUNCED["waits"])
        assert await client.hear() == "2 OK APPEND completed"


@on_the_loop
async def test_the_answer_waits_and_what_is_behind_the_upload_too(tmp_path):
    known: asyncio.Future[AppendUid | None] = asyncio.get_running_loop().create_future()
    async with imap_house(tmp_path, uploads=lambda _: Judge(Swallow(known))) as here:
        client, provider = await here.signed_in()
        await upload(client, *ANNOUNCED["does not wait"])
        client.say("3 NOOP")
        provider.say("* 5 EXISTS")
        assert await client.hear() == "* 5 EXISTS"
        known.set_result(AppendUid(1, 5))
        assert await client.hear() == "2 OK [APPENDUID 1 5] APPEND completed"
        assert await provider.hear() == "3 NOOP"


@on_the_loop
async def test_two_messages_at_once_where_one_ends_here(tmp_path):
    async with imap_house(tmp_path, uploads=lambda _: Judge(Swallow(nothing()))) as here:
        client, provider = await here.signed_in()
        client.writer.write(ANNOUNCED["does not wait"][0] + MESSAGE + b" (\\Seen) {3+}\r\nabc\r\n3 NOOP\r\n")
        assert await client.hear() == "2 NO [CANNOT] Only one message at a time is taken"
        assert await provider.hear() == "3 NOOP"


@on_the_loop
async def test_a_fault_of_ours_lets_the_upload_pass(tmp_path):
    async with imap_house(tmp_path, uploads=lambda _: Judge(RuntimeError("a fault"))) as here:
        client, provider = await here.signed_in()
        await upload(client, *ANNOUNCED["waits"])
        assert await provider.hear() == "2 APPEND Sent (\\Seen) {44+}"
        assert await read(provider, len(MESSAGE) + 2) == MESSAGE + b"\r\n"


@pytest.mark.parametrize("waits", [True, False], ids=["waits", "does not wait"])
@pytest.mark.parametrize("concern", [True, False], ids=["of concern", "of none"])
@on_the_loop
async def test_the_mailbox_as_a_literal(tmp_path, waits: bool, concern: bool):
    sign = "" if waits else "+"
    judge = Judge(folder="Sent" if concern else "another")
    async with imap_house(tmp_path, uploads=lambda _: judge) as here:
        client, provider = await here.signed_in()
        client.say(f"2 APPEND {{4{sign}}}")
        if waits:
            assert await client.hear() == "+ OK"
        client.say(f"Sent {{{len(MESSAGE)}{sign}}}")
        if concern and waits:
            assert await client.hear() == "+ OK"
        if concern or not waits:
            client.writer.write(MESSAGE + b"\r\n")
        assert await provider.hear() == "2 APPEND {4+}"
        line = await provider.hear()
        assert line == ("Sent {44}" if waits and not concern else "Sent {44+}")
        if waits and not concern:
            provider.say("+ go on")
            assert await client.hear() == "+ go on"
            client.writer.write(MESSAGE + b"\r\n")
        assert await read(provider, len(MESSAGE) + 2) == MESSAGE + b"\r\n"
        provider.say("2 OK filed")
        assert await client.hear() == "2 OK filed"
    assert [asked[0] for asked in judge.asked] == ["Sent"] * concern


@pytest.mark.parametrize(
    "command",
    [
        "APPEND Elsewhere {5+}\r\nabcde",
        "APPEND Sent CATENATE (TEXT {5+}\r\nabcde)",
        "APPEND Sent UTF8 (~{5+}\r\nabcde)",
        "APPEND Sent ~{5+}\r\nabcde",
        "APPEND",
        "APPEND Sent",
        "APPEND Sent (\\Seen {5+}\r\nabcde",
    ],
)
@on_the_loop
async def test_what_is_not_asked_about(tmp_path, command: str):
    judge = Judge()
    async with imap_house(tmp_path, uploads=lambda _: judge) as here:
        client, provider = await here.signed_in()
        client.say(f"2 {command}", "3 NOOP")
        for line in f"2 {command}".split("\r\n"):
            assert await provider.hear() == line
        assert await provider.hear() == "3 NOOP"
    assert judge.asked == []


@pytest.mark.parametrize(
    ("message", "header"),
    [
        (b"", b""),
        (b"Subject: no body", b"Subject: no body"),
        (b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
        (b"Subject: x\r\n\r\n" + b"y" * 300_000, b"Subject: x\r\n\r\n"),
    ],
    ids=["nothing", "no blank line", "no body", "a long body"],
)
@on_the_loop
async def test_header_sections(tmp_path, message: bytes, header: bytes):
    judge = Judge()
    async with imap_house(tmp_path, uploads=lambda _: judge) as here:
        client, provider = await here.signed_in()
        await upload(client, b"2 APPEND Sent {%d+}\r\n" % len(message), False, message)
        await provider.hear()
        assert await read(provider, len(message) + 2) == message + b"\r\n"
    assert [(size, said) for *_, size, said in judge.asked] == [(len(message), header)]


@on_the_loop
async def test_a_header_section_without_end_passes_unread(tmp_path):
    judge = Judge()
    message = b"X: y\r\n" * (HEADER_LIMIT // 6 + 20_000)
    async with imap_house(tmp_path, uploads=lambda _: judge) as here:
        client, provider = await here.signed_in()
        await upload(client, b"2 APPEND Sent {%d+}\r\n" % len(message), False, message)
        await provider.hear()
        assert await read(provider, len(message) + 2) == message + b"\r\n"
    assert judge.asked == []


@on_the_loop
async def test_the_client_goes_in_the_middle_of_an_upload(tmp_path):
    judge = Judge(Swallow(nothing()))
    async with imap_house(tmp_path, uploads=lambda _: judge) as here:
        client, provider = await here.signed_in()
        client.writer.write(ANNOUNCED["does not wait"][0] + MESSAGE[:-5])
        client.close()
        assert await provider.ended()
        judge.verdict.answer.close()


@on_the_loop
async def test_the_client_goes_in_the_middle_of_an_upload_that_passes(tmp_path):
    """What was announced to the server cannot be ended by a command: the connection ends."""
    async with imap_house(tmp_path) as here:
        client, provider = await here.signed_in()
        client.writer.write(ANNOUNCED["does not wait"][0] + MESSAGE[:-5])
        assert await provider.hear() == "2 APPEND Sent (\\Seen) {44+}"
        client.close()
        assert await provider.reader.read() == MESSAGE[:-5]
