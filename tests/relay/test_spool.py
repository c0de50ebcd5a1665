"""What waits here goes out in order, one at a time, once; with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from proxyd.model import HealthCause, HealthEvent, NotAccepted, NotHandedOver, OutcomeUnknown, SmtpReply, State
from proxyd.store.tables import spool, submissions
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.relay.house import MESSAGE, House, Talk, account, house

AWAY = NotHandedOver("no route", HealthEvent(HealthCause.UNREACHABLE, "SMTP", "no route"))
BACK = HealthEvent(HealthCause.SIGNED_IN, "SMTP")
LATER = NotAccepted(SmtpReply(450, ("4.7.1 greylisted",)))
NEVER = NotAccepted(SmtpReply(550, ("5.1.1 no such user",)))
ADA = "ada@example.com"
PATIENCE = 60.0  # seconds


def spools(**more: Any) -> Any:
    return account(on_outage="spool", **more)


def mail(number: int) -> bytes:
    return MESSAGE.replace(b"<1@", b"<%d@" % number).replace(b"Subject:", b"Bcc: eve@example.org\r\nSubject:")


def numbers(here: House) -> list[int]:
    """Of the messages that the provider was given, in order; those it refused too."""
    return [int(each.partition(b"Message-ID: <")[2].partition(b"@")[0]) for each in here.provider.messages]


def rows(here: House, table: Any) -> list[Any]:
    with here.database.reading() as connection:
        return list(connection.execute(table.select().order_by(table.c.id)))


def states(here: House) -> list[str]:
    return [each.state for each in rows(here, submissions)]


async def sent(here: House, *wanted: int) -> None:
    """Each by a client of its own; each hears 250."""
    for number in wanted:
        client = await here.signed_in()
        assert (await client.send(mail(number))).startswith("250 2.0.0 Kept by proxyd")
        client.close()


async def hangs(here: House, clock: ManualClock) -> Talk:
    """A client that has sent its last dot, and waits; so does whoever is to answer it in time."""
    client = await here.signed_in()
    await client.mail()
    client.writer.write(mail(1) + b".\r\n")
    await here.provider.asked.wait()
    await so(lambda: clock.sleeping("answer within"))
    return client


async def so(what: Callable[[], Any], clock: ManualClock | None = None, step: float = 1.0) -> None:
    """Until it is so; with `clock`, as time passes."""

    end = monotonic() + PATIENCE
    while not what():
        assert monotonic() < end, "not so"
        if clock is not None:
            await clock.advance(step)
        await asyncio.sleep(0.02)


@on_the_loop
async def test_kept_while_the_provider_is_away_and_sent_in_order_when_it_is_back(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([AWAY] * 3)
        await here.journal.health(ADA, AWAY.event)
        await sent(here, 1, 2, 3)
        assert states(here) == [State.SUBMITTING] * 3
        assert numbers(here) == [1, 2, 3]
        await here.journal.health(ADA, BACK)  # no time has passed: it is heard at once
        await so(lambda: states(here) == [State.SENT] * 3)
        assert numbers(here) == [1, 2, 3, 1, 2, 3]
        assert here.provider.messages[3:] == here.provider.messages[:3], "octet for octet"
        assert here.provider.envelopes[3:] == here.provider.envelopes[:3]
        assert not any(b"Bcc" in each for each in here.provider.messages)
        assert rows(here, spool) == []


@on_the_loop
async def test_a_refused_sign_in_is_an_outage_until_it_counts_as_a_wrong_password(tmp_path: Path) -> None:
    clock = ManualClock()
    refused = HealthEvent(HealthCause.SIGN_IN_REFUSED, "SMTP", "535 5.7.8 no")
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([NotHandedOver("sign-in: 535", refused)] * 20)
        await here.journal.health(ADA, refused)
        await sent(here, 1)
        for _ in range(3):
            await clock.advance(61)
            await here.journal.health(ADA, refused)
        client = await here.signed_in()
        assert (await client.send(mail(2))).startswith("454 4.7.0 "), "who can help is there, and is to know it now"
        assert states(here) == [State.SUBMITTING, State.REFUSED]
        here.provider.script.clear()
        await here.journal.health(ADA, BACK)  # the person has mended it
        await so(lambda: states(here) == [State.SENT, State.REFUSED])
        client.close()


@on_the_loop
async def test_one_that_is_refused_for_now_lets_the_others_pass(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([AWAY, AWAY, LATER])
        await here.journal.health(ADA, AWAY.event)
        await sent(here, 1, 2)
        await here.journal.health(ADA, BACK)
        await so(lambda: states(here) == [State.SUBMITTING, State.SENT])
        assert [(each.error, each.attempts) for each in rows(here, spool)] == [("450 4.7.1 greylisted", 1)]
        here.journal.wakes.spool.set()
        await so(lambda: not here.journal.wakes.spool.is_set() and clock.sleeping("spool clock"))
        assert numbers(here)[2:] == [1, 2], "its time has not come"
        await so(lambda: states(here) == [State.SENT, State.SENT], clock)
        assert numbers(here)[2:] == [1, 2, 1]


@on_the_loop
async def test_a_provider_that_lets_us_in_and_then_hangs_up_is_left_alone_longer_each_time(tmp_path: Path) -> None:
    """That it lets us in is no news then, or it would be asked every second for days."""
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([AWAY] * 50)
        await sent(here, 1)
        for _ in range(100):
            await here.journal.health(ADA, BACK)
            await clock.advance(1)
            await asyncio.sleep(0.01)
        assert 4 <= len(numbers(here)) <= 9
        here.provider.script.clear()
        await so(lambda: states(here) == [State.SENT], clock, 10)


@on_the_loop
async def test_refused_for_good_later_is_given_up_and_kept_until_a_person_decides(tmp_path: Path) -> None:
    async with house(tmp_path, spools()) as here:
        here.provider.script.extend([LATER, NEVER])
        await sent(here, 1)
        await so(lambda: states(here) == [State.REFUSED])
        (row,) = rows(here, spool)
        assert (row.state, row.error, row.reply_code, row.report) == ("failed", "550 5.1.1 no such user", 550, "owed")
        (owed,) = await here.journal.spool.owed_reports()
        assert owed.filed is not None
        assert b"".join([chunk async for chunk in owed.filed.chunks()]).endswith(b"Hello\r\n")


@on_the_loop
async def test_what_nobody_takes_for_so_long_is_given_up(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(spool_for=6 * 3600.0), clock=clock) as here:
        here.provider.script.extend([AWAY] * 5000)
        await here.journal.health(ADA, AWAY.event)
        await sent(here, 1)
        await so(lambda: states(here) == [State.REFUSED], clock, 600)
        assert 6 * 3600 <= clock.monotonic() <= 7 * 3600
        (row,) = rows(here, spool)
        assert row.error == "the provider did not take it for 6 hours; the last time: no route"
        here.provider.script.clear()
        here.provider.script.extend([LATER] * 5000)
        await here.journal.health(ADA, BACK)
        await sent(here, 2)
        await so(lambda: states(here) == [State.REFUSED] * 2, clock, 600)
        assert rows(here, spool)[1].error.endswith("for 6 hours; the last time: 450 4.7.1 greylisted")


@on_the_loop
async def test_an_outcome_that_nobody_knows_is_not_tried_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([LATER, OutcomeUnknown("cut")])
        await sent(here, 1)
        await so(lambda: states(here) == [State.UNKNOWN], clock)
        (row,) = rows(here, spool)
        assert (row.state, row.trying_since is not None) == ("unknown", True)
        for _ in range(50):
            await clock.advance(60)
        assert numbers(here) == [1, 1]


@on_the_loop
async def test_a_client_that_is_kept_waiting_hears_250_and_the_same_try_goes_on(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(answer_within=10), clock=clock) as here:
        here.provider.door.clear()
        client = await hangs(here, clock)
        await clock.advance(10)
        assert (await client.hear()).startswith("250 2.0.0 Kept by proxyd: the provider has not answered yet")
        for _ in range(20):  # the spool does not begin a second one beside it
            await clock.advance(10)
        here.provider.door.set()
        await so(lambda: states(here) == [State.SENT])
        assert numbers(here) == [1]
        client.close()


@on_the_loop
async def test_who_joined_it_hears_250_too(tmp_path: Path) -> None:
    """A second connection with the same mail, while the first is waiting."""
    clock = ManualClock()
    async with house(tmp_path, spools(answer_within=10), clock=clock) as here:
        here.provider.door.clear()
        first = await hangs(here, clock)
        await clock.advance(5)
        second = await here.signed_in()
        await second.mail()
        second.writer.write(mail(1) + b".\r\n")
        await so(lambda: clock.sleeping("wait settled"))
        await clock.advance(5)
        assert (await first.hear()).startswith("250 2.0.0 Kept by proxyd: the provider has not answered yet")
        assert (await second.hear()).startswith("250 2.0.0 Kept by proxyd since before")
        here.provider.door.set()
        await so(lambda: states(here) == [State.SENT])
        assert numbers(here) == [1]
        first.close()
        second.close()


@on_the_loop
async def test_behind_the_final_dot_no_250_is_made_up(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(answer_within=10), clock=clock) as here:
        here.provider.gate.clear()
        client = await hangs(here, clock)
        await clock.advance(10)
        assert (await client.hear()).startswith("451 4.4.7 ")
        here.provider.gate.set()
        await so(lambda: states(here) == [State.SENT])
        client.close()


@on_the_loop
async def test_refused_in_the_moment_in_which_the_client_must_be_answered(tmp_path: Path) -> None:
    """Whoever hears 250 must have it in the spool: what is being recorded as refused is no longer to be had."""
    clock = ManualClock()
    async with house(tmp_path, spools(answer_within=10), clock=clock) as here:
        here.provider.gate.clear()
        here.provider.at_the_end = False
        here.provider.script.append(NEVER)
        client = await hangs(here, clock)
        here.provider.gate.set()
        await clock.advance(10)
        assert not (await client.hear()).startswith("250")
        await so(lambda: states(here) == [State.REFUSED])
        assert rows(here, spool) == []
        client.close()


@on_the_loop
async def test_refused_for_good_behind_our_250_is_told_the_person_not_the_client(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(answer_within=10), clock=clock) as here:
        here.provider.door.clear()
        here.provider.script.append(NEVER)
        client = await hangs(here, clock)
        await clock.advance(10)
        assert (await client.hear()).startswith("250 ")
        here.provider.door.set()
        await so(lambda: [each.state for each in rows(here, spool)] == ["failed"])
        client.close()


@on_the_loop
async def test_the_same_mail_from_a_client_that_was_gone_before_its_answer_hears_the_first_outcome(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([AWAY] * 9)
        await here.journal.health(ADA, AWAY.event)
        here.provider.gate.clear()
        client = await hangs(here, clock)
        client.writer.transport.abort()
        here.provider.gate.set()
        await so(lambda: len(rows(here, spool)) == 1)
        again = await here.signed_in()
        assert (await again.send(mail(1))).startswith("250 2.0.0 Kept by proxyd since before")
        assert len(rows(here, submissions)) == 1
        again.close()


@on_the_loop
async def test_a_restart_finds_what_waits_and_sends_it(tmp_path: Path) -> None:
    """Also where the machine was off for a week meanwhile."""
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.extend([AWAY] * 9)
        await here.journal.health(ADA, AWAY.event)
        await sent(here, 1)
    await clock.advance(7 * 86400)
    async with house(tmp_path, spools(), clock=clock) as here:
        await so(lambda: states(here) == [State.SENT], clock)


@on_the_loop
async def test_stopped_while_it_is_handed_over_and_certainly_not_sent(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.append(LATER)
        await sent(here, 1)
        here.provider.at_the_end = False
        here.provider.gate.clear()
        await so(lambda: [each.trying_since is not None for each in rows(here, spool)] == [True], clock)
        await here.spool.stop(0.1)
        assert [(each.state, each.trying_since) for each in rows(here, spool)] == [("waiting", None)]
        here.provider.gate.set()
    async with house(tmp_path, spools(), clock=clock) as here:
        await so(lambda: states(here) == [State.SENT], clock)


@on_the_loop
async def test_taken_out_by_a_person_while_a_connection_is_waited_for(tmp_path: Path) -> None:
    from proxyd.web import answers_spool

    clock = ManualClock()
    async with house(tmp_path, spools(), clock=clock) as here:
        here.provider.script.append(AWAY)
        await here.journal.health(ADA, AWAY.event)
        await sent(here, 1)
        here.provider.door.clear()
        here.provider.asked.clear()
        await here.journal.health(ADA, BACK)
        await here.provider.asked.wait()
        (row,) = rows(here, spool)
        answers_spool.drop(here.database, [row.id], clock.now())
        here.provider.door.set()
        await so(lambda: not here.journal.spool.in_hand)
        assert numbers(here) == [1], "only what the client's own try was"
        assert states(here) == [State.REFUSED]
