"""The sending sandwich: begun, handed over, recorded, answered; with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxyd.model import (
    Accepted,
    HealthCause,
    HealthEvent,
    LookedFor,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    Sent,
    SmtpReply,
    State,
)
from proxyd.store.tables import submissions
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.relay.house import MESSAGE, House, Talk, account, house

LOST = OutcomeUnknown("the connection was lost behind the final dot")
QUEUED = "250 2.0.0 OK queued as 4711"


def rows(here: House) -> list[tuple[str, str]]:
    with here.database.reading() as connection:
        found = connection.execute(sa.select(submissions.c.id, submissions.c.state).order_by(submissions.c.begun_at))
        return [(row.id, row.state) for row in found]


async def begin(here: House, message: bytes = MESSAGE) -> Talk:
    """A client that has sent its last dot, and whose message has reached the provider."""
    here.provider.asked.clear()
    client = await here.signed_in()
    await client.mail()
    client.writer.write(message + b".\r\n")
    await here.provider.asked.wait()
    return client


@on_the_loop
async def test_on_record_before_the_provider_sees_it_and_before_the_client_hears(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.provider.gate.clear()
        client = await begin(here)
        assert [state for _, state in rows(here)] == [State.SUBMITTING]
        here.provider.gate.set()
        assert await client.hear() == QUEUED
        assert [state for _, state in rows(here)] == [State.SENT]
        client.close()


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        pytest.param(
            NotHandedOver("provider.example: no route", HealthEvent(HealthCause.UNREACHABLE, "SMTP", "no route")),
            r"451 4\.4\.1 Provider unreachable by SMTP since \d\d:\d\d: no route",  # as `status` says it
            id="unreachable",
        ),
        pytest.param(
            NotHandedOver("busy", HealthEvent(HealthCause.THROTTLED, "SMTP"), SmtpReply(421, ("4.7.0 Try again",))),
            r"451 4\.3\.2 The provider said: 421 4\.7\.0 Try again",
            id="throttled",
        ),
    ],
)  # fmt: skip
@on_the_loop
async def test_not_handed_over_is_said_and_may_be_tried_again(outcome: Outcome, answer: str, tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.provider.script.append(outcome)
        client = await here.signed_in()
        assert re.fullmatch(answer, await client.send())
        assert await client.send() == QUEUED
        assert [state for _, state in rows(here)] == [State.REFUSED, State.SENT]
        client.close()


@on_the_loop
async def test_a_refused_sign_in_never_sounds_like_the_clients_own(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        event = HealthEvent(HealthCause.SIGN_IN_REFUSED, "SMTP", "535 5.7.8 Username and Password not accepted")
        here.provider.script.append(NotHandedOver("the sign-in was refused", event, SmtpReply(535, ("5.7.8 no",))))
        client = await here.signed_in()
        answer = await client.send()
        await here.journal.health("ada@example.com", event)
        sentence = here.journal.condition("ada@example.com").sentence
        assert answer == f"454 4.7.0 {sentence}"[: len(answer)]
        assert "535 5.7.8 Username and Password not accepted" in answer
        client.close()


@on_the_loop
async def test_an_unknown_outcome_is_waited_for_and_found_in_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        here.provider.script.append(LOST)
        client = await begin(here)
        await carried(here)
        await here.journal.record(Sent(rows(here)[0][0], SmtpReply(250, ("2.0.0 found in Sent",)), clock.now()))
        assert await client.hear() == "250 2.0.0 found in Sent"
        assert len(here.provider.messages) == 1
        client.close()


async def carried(here: House) -> None:
    """Until every message has come to its outcome, and whoever waits for one has heard of it."""
    while here.relay._desk.submissions._under_way:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)


async def answer(client: Talk, clock: ManualClock) -> str:
    """The next reply, the clock turned until it comes."""
    asked = asyncio.ensure_future(client.hear())
    while not asked.done():
        await clock.advance(1)
        await asyncio.sleep(0)
    return asked.result()


async def left_unknown(here: House, clock: ManualClock) -> str:
    """A message whose outcome nobody knows after 75 s; its id."""
    here.provider.script.append(LOST)
    client = await begin(here)
    await carried(here)
    assert (await answer(client, clock)).startswith("451 4.4.2 ")
    client.close()
    return rows(here)[0][0]


@on_the_loop
async def test_sent_again_while_unknown_it_is_found_and_goes_out_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        id = await left_unknown(here, clock)
        await here.journal.record(Sent(id, SmtpReply(250, ("2.0.0 found in Sent",)), clock.now()))
        client = await here.signed_in()
        assert await client.send() == "250 2.0.0 found in Sent"
        assert len(here.provider.messages) == 1
        client.close()


@on_the_loop
async def test_sent_again_when_it_was_looked_for_in_vain_it_goes_out(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        id = await left_unknown(here, clock)
        await here.journal.record(LookedFor(id, "Sent", clock.now()))
        client = await here.signed_in()
        assert await client.send() == QUEUED
        assert len(here.provider.messages) == 2
        client.close()


@on_the_loop
async def test_a_slow_provider_goes_on_and_the_retry_hears_its_answer(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        here.provider.gate.clear()
        client = await begin(here)
        await clock.sleeper()
        await clock.advance(74)
        assert not client.reader._buffer  # type: ignore[attr-defined]
        await clock.advance(1)
        assert (await client.hear()).startswith("451 4.4.7 ")
        here.provider.gate.set()
        assert await client.send() == QUEUED
        assert len(here.provider.messages) == 1
        assert [state for _, state in rows(here)] == [State.SENT]
        client.close()


@on_the_loop
async def test_a_retry_while_it_is_still_on_its_way_waits_with_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, account(answer_within=10), clock=clock) as here:
        here.provider.gate.clear()
        client = await begin(here)
        await clock.sleeper()
        await clock.advance(10)
        assert (await client.hear()).startswith("451 4.4.7 ")
        await client.mail()
        client.writer.write(MESSAGE + b".\r\n")
        await clock.sleeper()
        here.provider.gate.set()
        assert await client.hear() == QUEUED
        assert len(here.provider.messages) == 1
        client.close()


@on_the_loop
@pytest.mark.parametrize("settled", [False, True], ids=["under way", "settled"])
async def test_the_client_leaves_and_the_message_still_goes(tmp_path: Path, settled: bool) -> None:
    """It has heard nothing, so the same mail again is the same mail."""
    async with house(tmp_path) as here:
        here.provider.gate.clear()
        client = await begin(here)
        client.writer.transport.abort()
        again = await here.signed_in()
        here.provider.gate.set()
        while settled and rows(here)[0][1] != State.SENT:
            await asyncio.sleep(0.01)
        assert await again.send() == QUEUED
        assert len(here.provider.messages) == 1
        again.close()


@on_the_loop
async def test_the_same_mail_behind_its_250_is_a_second_mail(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client, other = await here.signed_in(), await here.signed_in()
        for each in (client, client, other, client):
            assert await each.send() == QUEUED
        assert here.provider.messages == [MESSAGE] * 4
        client.close()
        other.close()


@on_the_loop
async def test_a_store_that_takes_nothing_sends_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        with here.database.writing() as connection:
            connection.execute(sa.text("ALTER TABLE submissions RENAME TO gone"))
        client = await here.signed_in()
        assert (await client.send()).startswith("452 4.3.1 ")
        assert here.provider.messages == []
        with here.database.writing() as connection:
            connection.execute(sa.text("ALTER TABLE gone RENAME TO submissions"))
        assert await client.send() == QUEUED
        client.close()


@on_the_loop
async def test_a_250_that_cannot_be_recorded_is_still_a_250_and_is_recorded_later(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:

        def taken_while_the_store_breaks() -> Outcome:
            with here.database.writing() as connection:
                connection.execute(sa.text("ALTER TABLE sent_copies RENAME TO gone"))
            return Accepted(SmtpReply(250, ("2.0.0 OK queued as 4711",)))

        here.provider.script.append(taken_while_the_store_breaks)
        client = await here.signed_in()
        assert await client.send() == QUEUED
        assert [state for _, state in rows(here)] == [State.SUBMITTING]
        with here.database.writing() as connection:
            connection.execute(sa.text("ALTER TABLE gone RENAME TO sent_copies"))
        while rows(here)[0][1] != State.SENT:
            await clock.advance(1)
        client.close()


@pytest.mark.parametrize(
    ("error", "heard"),
    [(OSError("disk unplugged"), "452 4.3.1 "), (RuntimeError("our bug"), "451 4.4.2 ")],
    ids=["octets not readable: surely not sent", "our own fault: nobody knows"],
)
@on_the_loop
async def test_a_provider_side_that_raises(error: Exception, heard: str, tmp_path: Path) -> None:
    def raising() -> Outcome:
        raise error

    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        here.provider.script.append(raising)
        client = await begin(here)
        await carried(here)
        assert (await answer(client, clock)).startswith(heard)
        client.close()


@on_the_loop
async def test_mail_for_the_log_alone_goes_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        assert (await client.send(MESSAGE, "log@crm.localhost")).startswith("250 2.0.0 ")
        assert (await client.send(MESSAGE, "bob@example.net", "log@crm.localhost")) == QUEUED
        [envelope] = here.provider.envelopes
        assert [each.address for each in envelope.recipients] == ["bob@example.net"]
        client.close()


@on_the_loop
async def test_stopping_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.provider.gate.clear()
        client, idle = await begin(here), await here.connect()
        closing = asyncio.ensure_future(here.relay.close(5.0))
        assert (await idle.hear()).startswith("421 ")
        assert await idle.hear() == ""
        here.provider.gate.set()
        assert await client.hear() == QUEUED
        await closing
        client.close()
        idle.close()
