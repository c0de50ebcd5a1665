"""What is started and awaited later, and what is told without a task that waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxyd.workers import Signal, SystemClock, Workers, begin
from tests.looping import on_the_loop


async def fails() -> None:
    raise ValueError("in the task")


@on_the_loop
async def test_what_a_begun_task_raises_is_heard_where_it_is_awaited() -> None:
    task = begin(fails(), "test")
    with pytest.raises(ValueError, match="in the task"):
        await task


@on_the_loop
async def test_a_begun_task_that_is_given_up_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    given_up, failed = begin(asyncio.Event().wait(), "test"), begin(fails(), "test")
    given_up.cancel()
    await asyncio.wait([given_up, failed])
    assert caplog.records == []


@on_the_loop
async def test_a_signal_wakes_all_that_wait_and_stays_until_it_is_cleared() -> None:
    signal = Signal()
    waiting = [begin(signal.wait(), "test") for _ in range(2)]
    given_up = begin(signal.wait(), "test")
    await asyncio.sleep(0)
    given_up.cancel()
    signal.set()
    await asyncio.gather(*waiting)
    await signal.wait()
    assert signal.is_set()
    signal.clear()
    assert not signal.is_set()


@on_the_loop
async def test_a_signal_calls_whoever_hears_it_each_time_until_he_does_not_want_it() -> None:
    signal, heard = Signal(), []
    signal.set()
    signal.heard_by = lambda: heard.append("set")
    for _ in range(2):
        signal.set()
        await asyncio.sleep(0)
        signal.clear()
    signal.set()
    signal.heard_by = None
    await asyncio.sleep(0)
    assert heard == ["set", "set"]


@on_the_loop
async def test_a_call_that_is_due_later_can_be_taken_back() -> None:
    called = asyncio.Event()
    SystemClock().call_later(0.0, called.set, "test")
    await called.wait()
    called.clear()
    SystemClock().call_later(0.01, called.set, "test").cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(called.wait(), 0.1)


@on_the_loop
async def test_calls_that_wait_for_one_other_side_leave_threads_for_all_others() -> None:
    workers, answered = Workers(6), threading.Event()

    async def asks() -> bool:
        async with workers.few("a server"):
            return await workers.run(answered.wait)

    waiting = [begin(asks(), "test") for _ in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(60), workers.few("another"):
        assert await workers.run(lambda: "done") == "done"
    assert not any(each.done() for each in waiting)
    answered.set()
    assert all(await asyncio.gather(*waiting))
    workers.close()


@on_the_loop
async def test_calls_come_in_the_order_asked_and_one_that_is_given_up_takes_no_turn() -> None:
    workers, free, called = Workers(1), threading.Event(), list[int]()
    first = begin(workers.run(free.wait), "test")
    others = [begin(workers.run(called.append, n), "test") for n in range(4)]
    await asyncio.sleep(0)
    others[1].cancel()
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, others[0], others[2], others[3])
    assert called == [0, 2, 3]
    workers.close()
