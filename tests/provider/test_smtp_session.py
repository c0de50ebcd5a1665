"""One message over one connection: what each way that a server or a network can end it comes to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable

import pytest

from proxyd.model import (
    Accepted,
    Envelope,
    HealthCause,
    NotAccepted,
    NotHandedOver,
    OutcomeUnknown,
    Recipient,
)
from proxyd.provider.smtp import Limits
from proxyd.workers import start
from tests.looping import on_the_loop
from tests.provider.scripted_smtp import OFFER, Peer, Script, scripted
from tests.provider.submitting import (
    CHUNKING,
    LETTER,
    SECRET,
    Broken,
    Octets,
    client,
    cut,
    envelope,
    garbage,
    goodbye,
    hang_up,
    hold,
)

# --- one message


@on_the_loop
async def test_one_flight_and_the_providers_own_words() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.hear("MAIL", "RCPT", "RCPT", "DATA") == [
            f"MAIL FROM:<ada@a> SIZE={len(LETTER)}",
            "RCPT TO:<bob@b>",
            "RCPT TO:<carl@c>",
            "DATA",
        ]
        await peer.say("250 a", "250 b", "251 c", "354 go")
        assert await peer.until_dot() == LETTER
        await peer.say("250-2.0.0 taken", "250 as <new@id>")
        await peer.hear("QUIT")

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit("bob@b", "carl@c")
        assert isinstance(outcome, Accepted)
        assert outcome.reply.text == "250 2.0.0 taken as <new@id>"
        assert ada.causes == [HealthCause.SIGNED_IN]
        assert ada.health[0].evidence == "235 2.7.0 welcome"
        offer = ada.submitter.offer
        assert offer is not None
        assert offer.size == 60_000_000
    await server.ended.get()
    auth = base64.b64encode(f"\0ada@a\0{SECRET}".encode())
    assert bytes(server.peers[0].heard).startswith(b"EHLO [127.0.0.1]\r\nAUTH PLAIN " + auth + b"\r\nMAIL")


@on_the_loop
async def test_content_and_commands_in_one_flight_where_chunking_is_offered() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(CHUNKING)
        await peer.hear("MAIL", "RCPT", f"BDAT {len(LETTER)} LAST")
        assert await peer.octets(len(LETTER)) == LETTER  # all of it before we have said anything
        await peer.say("250 a", "250 b", "250 2.0.0 taken")
        await peer.take(rcpts=2)

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit(), Accepted)
        assert isinstance(await ada.submit("bob@b", "carl@c"), Accepted)


@on_the_loop
async def test_step_by_step_without_pipelining() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(("AUTH LOGIN PLAIN",))
        for verb, answer in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            await peer.hear(verb)
            assert not peer.reader._buffer  # type: ignore[attr-defined]  # nothing is sent ahead
            await peer.say(answer)
        assert await peer.until_dot() == LETTER
        await peer.say("250 ok")

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit("bob@b", "carl@c"), Accepted)


@on_the_loop
async def test_every_octet_of_an_answer_in_a_packet_of_its_own() -> None:
    class Slow(Peer):
        async def say(self, *lines: str | bytes) -> None:
            for line in lines:
                for octet in line.encode() if isinstance(line, str) else line:
                    self.writer.write(bytes([octet]))
                    await asyncio.sleep(0)
                self.writer.write(b"\n")  # and the line ends in a lone LF

    async def script(peer: Peer) -> None:
        slow = Slow(peer.reader, peer.writer)
        await slow.greet()
        await slow.take(rcpts=3)
        await slow.take()

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit("a@a", "b@b", "c@c"), Accepted)
        assert isinstance(await ada.submit(), Accepted)


CORPUS = {
    "empty": b"",
    "no header": b"\r\nbody\r\n",
    "leading dots": b"A: b\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n",
    "no final newline": b"A: b\r\n\r\nend",
    "ends in a dot": b"A: b\r\n\r\n.",
    "8-bit": b"A: b\r\n\r\n" + bytes(octet for octet in range(256) if octet not in (10, 13)) * 5 + b"\r\n",
    "long line": b"A: b\r\n\r\n" + b"x" * 200_000 + b"\r\n",
    "many dots": b"A: b\r\n\r\n" + b".\r\n" * 50_000,
    "5 MB": b"A: b\r\n\r\n" + b".0123456789\r\n" * 400_000,
}


@pytest.mark.parametrize("octets", CORPUS.values(), ids=CORPUS.keys())
@pytest.mark.parametrize("offer", [OFFER, CHUNKING], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("step", [256 * 1024, 65_537, 7], ids=["large chunks", "odd chunks", "tiny chunks"])
@on_the_loop
async def test_octets_arrive_as_they_are(octets: bytes, offer: tuple[str, ...], step: int) -> None:
    if step == 7:
        octets = octets[:100_000].removesuffix(b"\r")
    arrived: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        await peer.hear("MAIL", "RCPT")
        if offer is CHUNKING:
            (line,) = await peer.hear("BDAT")
            arrived.append(await peer.octets(int(line.split()[1])))
            await peer.say("250 ok", "250 ok", "250 taken")
        else:
            await peer.hear("DATA")
            await peer.say("250 ok", "250 ok", "354 go")
            lines = (await peer.until_dot()).split(b"\r\n")
            arrived.append(b"\r\n".join(line.removeprefix(b".") for line in lines))
            await peer.say("250 taken")

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submitter.submit(envelope(), Octets(octets, step)), Accepted)
    whole = octets if offer is CHUNKING or not octets or octets.endswith(b"\r\n") else octets + b"\r\n"
    assert len(arrived[0]) == len(whole)
    assert hashlib.sha256(arrived[0]).digest() == hashlib.sha256(whole).digest()


# --- all or none


@on_the_loop
async def test_one_of_three_refused_and_nothing_is_sent_to_anybody() -> None:
    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "RCPT", "RCPT", "DATA")
        await peer.say("250 ok", "250 ok", "450 4.2.0 later", "550 5.1.1 never", "354 go")
        sent = await peer.rest()
        assert sent.endswith(b"DATA\r\n"), sent  # not even the dot of an empty message

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.take()

    async with scripted(first, second) as server, client(server) as ada:
        outcome = await ada.submit("a@a", "b@b", "c@c")
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.text == "550 5.1.1 never"
        assert [(who, reply.code) for who, reply in outcome.about] == [("b@b", 450), ("c@c", 550)]
        await server.ended.get()
        assert isinstance(await ada.submit(), Accepted)


@pytest.mark.parametrize("offer", [OFFER, ("AUTH PLAIN",), CHUNKING], ids=["pipelined", "step by step", "BDAT offered"])
@on_the_loop
async def test_the_refusal_of_an_optional_recipient_keeps_it_from_nobody(offer: tuple[str, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        answers = {"MAIL": "250 ok", "bob": "250 ok", "box": "552 5.2.3 too big", "DATA": "354 go"}
        for word in answers:
            assert word in await peer.line()
            if offer is not OFFER and offer is not CHUNKING:
                await peer.say(answers[word])
        if offer is OFFER or offer is CHUNKING:
            await peer.say(*answers.values())
        assert await peer.until_dot() == LETTER
        await peer.say("250 taken")
        await peer.hear("QUIT")

    async with scripted(script) as server, client(server) as ada:
        recipients = (Recipient("bob@b"), Recipient("box@crm", ("NOTIFY=NEVER",), optional=True))
        outcome = await ada.submitter.submit(Envelope("ada@a", recipients), Octets(LETTER))
        assert isinstance(outcome, Accepted)
        assert [(who, reply.code) for who, reply in outcome.without] == [("box@crm", 552)]


@pytest.mark.parametrize("offer", [OFFER, ("AUTH PLAIN",), CHUNKING], ids=["pipelined", "step by step", "BDAT"])
@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA", "content"])
@on_the_loop
async def test_a_refusal_is_told_and_the_connection_goes_on(where: str, offer: tuple[str, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        pipelined, chunked = offer is not None and "PIPELINING" in offer, "CHUNKING" in offer
        refused = False
        for step in ("MAIL", "RCPT", "BDAT" if chunked else "DATA"):
            if refused and not pipelined:
                break
            (line,) = await peer.hear(step)
            if step == "BDAT":
                await peer.octets(int(line.split()[1]))
                step = "content" if where == "content" else "DATA"
            if step == where:
                refused = True
                await peer.say("554-5.7.1 not", "554 today")
            else:
                await peer.say("503 out of order" if refused else "354 go" if step == "DATA" else "250 ok")
        if where == "content" and not chunked:
            await peer.until_dot()
            await peer.say("554-5.7.1 not", "554 today")
        await peer.hear("RSET")
        await peer.say("250 ok")
        if pipelined:
            await peer.take(rcpts=2)

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.lines == ("5.7.1 not", "today")
        assert [who for who, _ in outcome.about] == (["bob@b"] if where == "RCPT" else [])
        if "PIPELINING" in offer:
            assert isinstance(await ada.submit("a@a", "b@b"), Accepted)
        assert len(server.peers) == 1
        assert ada.causes == [HealthCause.SIGNED_IN]


@on_the_loop
async def test_refused_before_the_server_is_asked() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(("AUTH PLAIN", "SIZE 10"))
        assert await peer.line() == "QUIT"

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.text == f"552 5.3.4 The message has {len(LETTER)} octets, the provider takes at most 10"


@pytest.mark.parametrize("goodbye", [False, True], ids=["stays", "hangs up"])
@pytest.mark.parametrize("offer", [OFFER, CHUNKING], ids=["DATA", "BDAT"])
@on_the_loop
async def test_a_server_that_gives_up_in_the_middle_of_the_content(offer: tuple[str, ...], goodbye: bool) -> None:
    large = b"A: b\r\n\r\n" + b"0123456789\r\n" * 2_000_000

    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        await peer.hear("MAIL", "RCPT", "BDAT" if "CHUNKING" in offer else "DATA")
        await peer.say("250 ok", "250 ok", *(() if "CHUNKING" in offer else ("354 go",)))
        await peer.octets(300_000)
        await peer.say("552 5.3.4 too big after all")
        if goodbye:
            peer.writer.write_eof()
        sent = await peer.rest()
        assert len(sent) < len(large)

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit(octets=large)
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.text == "552 5.3.4 too big after all"


# --- cut, silent or saying goodbye at every step

ENDS = {"cut": cut, "hung up": hang_up, "silent": hold, "421": goodbye, "garbage": garbage}
LARGE = b"A: b\r\n\r\n" + b"0123456789\r\n" * 100_000
HUGE = LARGE * 20  # more than the kernel takes from us on loopback while nobody reads
STEPS = ("connect", "half greeting", "EHLO", "half EHLO", "AUTH", "MAIL", "RCPT", "DATA", "content")


def ends_at(step: str, end: Callable[[Peer], object], offer: tuple[str, ...]) -> Script:
    """A server that behaves until `step`, then `end`s."""

    async def script(peer: Peer) -> None:
        if step == "connect":
            return await end(peer)  # type: ignore[no-any-return, misc]
        if step == "half greeting":
            await peer.say(b"220 mail.exa")
            return await end(peer)  # type: ignore[no-any-return, misc]
        await peer.say("220 mail.example")
        await peer.hear("EHLO")
        if step == "EHLO":
            return await end(peer)  # type: ignore[no-any-return, misc]
        if step == "half EHLO":
            await peer.say("250-mail.example")
            return await end(peer)  # type: ignore[no-any-return, misc]
        await peer.say("250-mail.example", *(f"250-{line}" for line in offer), "250 HELP")
        await peer.hear("AUTH")
        if step == "AUTH":
            return await end(peer)  # type: ignore[no-any-return, misc]
        await peer.say("235 ok")
        await peer.hear("MAIL", "RCPT", "DATA")
        for verb, answer in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            if step == verb:
                return await end(peer)  # type: ignore[no-any-return, misc]
            await peer.say(answer)
        await peer.octets(400_000)
        return await end(peer)  # type: ignore[no-any-return, misc]

    return script


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("step", STEPS)
@on_the_loop
async def test_lost_before_the_dot_is_certainly_not_sent(step: str, end: Callable[[Peer], object]) -> None:
    waits = end is hold or step == "half greeting"
    limits = Limits(connect=1, reply=0.2 if waits else 5, final=5)
    async with scripted(ends_at(step, end, OFFER)) as server, client(server, limits=limits) as ada:
        outcome = await ada.submit(octets=HUGE if step == "content" else LARGE)
        assert isinstance(outcome, NotHandedOver), outcome
        threw = end is goodbye and step != "half greeting"
        assert outcome.event.cause is (HealthCause.THROTTLED if threw else HealthCause.UNREACHABLE)
        assert (outcome.reply is not None) == threw
        assert outcome.event == ada.health[-1]
        assert outcome.why.isprintable()
        assert len(server.peers) == 1  # a connection that was new is not tried again


@pytest.mark.parametrize("end", [cut, hang_up, hold, garbage], ids=["cut", "hung up", "silent", "garbage"])
@pytest.mark.parametrize("offer", [OFFER, CHUNKING], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("octets", [LETTER, LARGE], ids=["small", "large"])
@on_the_loop
async def test_lost_behind_the_dot_is_unknown(
    octets: bytes, offer: tuple[str, ...], end: Callable[[Peer], object]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        if "CHUNKING" in offer:
            await peer.hear("MAIL", "RCPT", "BDAT")
            await peer.octets(len(octets))
            await peer.say("250 ok", "250 ok")
        else:
            await peer.hear("MAIL", "RCPT", "DATA")
            await peer.say("250 ok", "250 ok", "354 go")
            await peer.until_dot()
        await end(peer)  # type: ignore[misc]

    limits = Limits(connect=1, reply=5, final=0.2)
    async with scripted(script) as server, client(server, limits=limits) as ada:
        assert isinstance(await ada.submit(octets=octets), OutcomeUnknown)
        assert len(server.peers) == 1


@pytest.mark.parametrize("known", [0, 1, 2], ids=["nothing", "MAIL", "MAIL and RCPT"])
@on_the_loop
async def test_bdat_without_its_answer_is_unknown_however_much_was_answered(known: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(CHUNKING)
        await peer.hear("MAIL", "RCPT", "BDAT")
        await peer.octets(len(LETTER))
        await peer.say(*(["250 ok"] * known))
        peer.writer.close()

    async with scripted(script) as server, client(server) as ada:
        await ada.warmed()
        assert isinstance(await ada.submit(), OutcomeUnknown)
        assert len(server.peers) == 1


@pytest.mark.parametrize(("mail", "about"), [("550 no", 0), ("250 ok", 1)], ids=["MAIL", "RCPT"])
@on_the_loop
async def test_bdat_behind_a_refusal_is_certain_even_if_cut(mail: str, about: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(CHUNKING)
        await peer.hear("MAIL", "RCPT", "BDAT")
        await peer.octets(len(LETTER))
        await peer.say(mail, "550 no")
        peer.writer.close()

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotAccepted)
        assert len(outcome.about) == about


@on_the_loop
async def test_a_421_to_the_dot_is_a_refusal_for_now() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.take(done="421 4.3.2 going down")
        await peer.rest()

    async with scripted(script) as server, client(server) as ada:
        outcome = await ada.submit()
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.code == 421


@pytest.mark.parametrize("answers", [("354 go",), ("250 ok", "354 go"), ("250 ok", "250 ok", "250 ok")])
@on_the_loop
async def test_a_server_out_of_step(answers: tuple[str, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        await peer.say(*answers)
        assert (await peer.rest()).endswith(b"DATA\r\n")

    async with scripted(script) as server, client(server) as ada:
        assert isinstance(await ada.submit(), NotHandedOver)


# --- our own faults


@pytest.mark.parametrize("offer", [OFFER, CHUNKING], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("fault", ["disk", "too short", "too long", "lone LF", "lone CR at the end"])
@on_the_loop
async def test_content_that_fails_leaves_nothing_sent(fault: str, large: bool, offer: tuple[str, ...]) -> None:
    octets = LARGE if large else LETTER
    content = {
        "disk": Broken(octets, 300_000 if large else 5),
        "too short": Octets(octets, says=len(octets) + 1),
        "too long": Octets(octets, says=len(octets) - 1),
        "lone LF": Octets(octets + b"a\nb\r\n"),
        "lone CR at the end": Octets(octets + b"a\r"),
    }[fault]

    async def script(peer: Peer) -> None:
        await peer.greet(offer)
        if offer is OFFER:
            await peer.hear("MAIL", "RCPT", "DATA")
            await peer.say("250 ok", "250 ok", "354 go")
        sent = (await peer.rest()).partition(b"MAIL")[2]
        assert not sent.endswith(b"\r\n.\r\n")
        if b"BDAT" in sent:
            _, _, behind = sent.partition(b"BDAT ")
            size, _, octets = behind.partition(b" LAST\r\n")
            assert len(octets) < int(size)

    async with scripted(script) as server, client(server) as ada:
        if fault.startswith("lone"):
            outcome = await ada.submitter.submit(envelope(), content)
            assert isinstance(outcome, NotAccepted)
            assert outcome.reply.text == "554 5.6.0 The message cannot be sent: content with a lone CR or LF"
        else:
            with pytest.raises((OSError, RuntimeError)):
                await ada.submitter.submit(envelope(), content)
        await server.ended.get()


@on_the_loop
async def test_a_large_message_is_never_held_whole() -> None:
    go = asyncio.Event()
    started = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await peer.say("250 ok", "250 ok", "354 go")
        started.set()
        await go.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.until_dot()
        await peer.say("250 taken")

    content = Octets(b"A: b\r\n\r\n" + b"0123456789\r\n" * 2_500_000)
    async with scripted(script) as server, client(server) as ada:
        sending = start(ada.submitter.submit(envelope(), content), "sending")
        await started.wait()
        given = -1
        while given != content.given:
            given = content.given
            for _ in range(50):
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
        assert 0 < given < 12_000_000  # the kernel's own buffers for loopback hold several megabytes
        go.set()
        assert isinstance(await sending, Accepted)
