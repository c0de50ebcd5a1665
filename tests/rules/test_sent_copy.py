"""What happens next with a Sent copy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.model import FiledBy, Heading
from proxyd.rules.sent_copy import (
    MISSING,
    TRIES,
    Action,
    Append,
    Copy,
    Facts,
    Failed,
    FilesSent,
    Look,
    RemoveOurs,
    Settled,
    Wait,
    learned,
    next_step,
    who_filed,
)

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SETTLE = 20.0
OURS = Copy(7, FiledBy.PROXYD)
CLIENTS = Copy(8, FiledBy.CLIENT)
PROVIDERS = Copy(9, FiledBy.PROVIDER)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def facts(
    now: float,
    copies: tuple[Copy, ...] | None = None,
    files_sent: FilesSent = "unknown",
    *,
    due: float | None = None,
    appending: float | None = None,
    attempts: int = 0,
) -> Facts:
    return Facts(
        accepted_at=START,
        now=at(now),
        settle=SETTLE,
        files_sent=files_sent,
        copies=copies,
        due=None if due is None else at(due),
        appending_since=None if appending is None else at(appending),
        attempts=attempts,
        last_error="the server said no" if attempts else "",
    )


@pytest.mark.parametrize(
    ("known", "action"),
    [
        pytest.param(facts(1), Wait, id="within settle: wait"),
        pytest.param(facts(1, ()), Wait, id="within settle, looked already: wait"),
        pytest.param(facts(20), Look, id="settle is over: look"),
        pytest.param(facts(20, ()), Append, id="nothing found: append"),
        pytest.param(facts(20, (), "no"), Append, id="the provider does not file: append"),
        pytest.param(facts(30, due=60), Wait, id="a later moment was named"),
        pytest.param(facts(60, due=60), Look, id="which has come"),
        pytest.param(facts(20, (), "yes"), Wait, id="the provider files: never append"),
        pytest.param(facts(100, (), "yes"), Wait, id="nor after a minute"),
        pytest.param(facts(1799, (), "yes"), Wait, id="nor after half an hour"),
        pytest.param(facts(1800, (), "yes"), Failed, id="then it is missing"),
        pytest.param(facts(30, appending=25), Look, id="after an unknown APPEND: look"),
        pytest.param(facts(30, (), appending=25), Wait, id="and not at once append again"),
        pytest.param(facts(35, (), appending=25), Append, id="but after a while"),
        pytest.param(facts(20, (), attempts=3), Append, id="after errors: again"),
        pytest.param(facts(20, (), attempts=TRIES), Failed, id="not for ever"),
        pytest.param(facts(1, (CLIENTS,)), Settled, id="the client's own, at once"),
        pytest.param(facts(1, (PROVIDERS,), "yes"), Settled, id="the provider's"),
        pytest.param(facts(40, (OURS,)), Settled, id="ours"),
        pytest.param(facts(40, (OURS, CLIENTS)), RemoveOurs, id="ours and a late client's: ours goes"),
        pytest.param(facts(40, (OURS, PROVIDERS)), RemoveOurs, id="ours and the provider's: ours goes"),
        pytest.param(facts(40, (CLIENTS, PROVIDERS)), Settled, id="two of others': none is ours to remove"),
        pytest.param(facts(40, (OURS, Copy(10, FiledBy.PROXYD))), RemoveOurs, id="two of ours: one goes"),
    ],
)
def test_next_step(known: Facts, action: type[Action]) -> None:
    step = next_step(known)
    assert type(step) is action
    assert step.because


@pytest.mark.parametrize(
    ("copies", "step"),
    [
        pytest.param((OURS,), Settled(FiledBy.PROXYD, 1, 7, "our copy is there"), id="ours"),
        pytest.param(
            (CLIENTS, PROVIDERS),
            Settled(FiledBy.PROVIDER, 2, 9, "the provider's copy is there"),
            id="the provider's counts",
        ),
        pytest.param(
            (OURS, CLIENTS),
            RemoveOurs(
                (7,), Settled(FiledBy.CLIENT, 1, 8, "the client's copy is there"), "the client's own copy came too"
            ),
            id="ours goes, the client's counts",
        ),
    ],
)
def test_what_is_left(copies: tuple[Copy, ...], step: Action) -> None:
    assert next_step(facts(40, copies)) == step


def test_a_provider_that_files_is_looked_at_after_settle_and_1_5_and_30_minutes() -> None:
    looks, now = [], 0.0
    while True:
        step = next_step(facts(now, None, "yes"))
        if isinstance(step, Look):
            looks.append(now)
            step = next_step(facts(now, (), "yes"))
        if isinstance(step, Failed):
            break
        assert isinstance(step, Wait)
        now = (step.until - START).total_seconds()
    assert looks == [20, 60, 300, 1800]
    assert step.error == MISSING


COPIES = st.one_of(
    st.none(), st.lists(st.builds(Copy, st.integers(1, 9), st.sampled_from(list(FiledBy))), max_size=4).map(tuple)
)
ANY = st.builds(
    facts,
    st.floats(0, 4000),
    COPIES,
    st.sampled_from(["yes", "no", "unknown"]),
    due=st.one_of(st.none(), st.floats(0, 4000)),
    appending=st.one_of(st.none(), st.floats(0, 4000)),
    attempts=st.integers(0, 200),
)


@given(ANY)
def test_what_must_hold_whatever_the_facts(known: Facts) -> None:
    step = next_step(known)
    match step:
        case Append():
            assert known.copies == (), "an APPEND follows a look that found nothing"
            assert known.files_sent != "yes", "a provider that files is never appended to"
            assert known.now >= at(SETTLE)
        case RemoveOurs(uids=uids):
            ours = {copy.uid for copy in known.copies or () if copy.by is FiledBy.PROXYD}
            assert set(uids) <= ours, "only what we appended is ever removed"
            assert len(known.copies or ()) > len(uids), "and one copy stays"
        case Wait(until=until):
            assert until > known.now, "waiting makes progress"
        case _:
            pass


@pytest.mark.parametrize(
    ("heading", "same_ids", "by"),
    [
        pytest.param(Heading(message_id="1@x"), True, FiledBy.CLIENT, id="as it was composed"),
        pytest.param(Heading(filed_by_transport=True), True, FiledBy.PROVIDER, id="a server handled it"),
        pytest.param(Heading(original_ids=("1@x",)), True, FiledBy.PROVIDER, id="the original id beside it"),
        pytest.param(Heading(message_id="2@y"), False, FiledBy.PROVIDER, id="an id that nobody here made"),
    ],
)
def test_who_filed(heading: Heading, same_ids: bool, by: FiledBy) -> None:
    assert who_filed(heading, same_ids) is by


@pytest.mark.parametrize(
    ("known", "copies", "after"),
    [
        pytest.param("", (PROVIDERS,), "once B", id="seen filing once"),
        pytest.param("once A", (PROVIDERS,), "yes", id="seen filing twice: it files"),
        pytest.param("once B", (PROVIDERS,), "once B", id="the same copy looked at again"),
        pytest.param("", (CLIENTS,), "", id="the client's copy says nothing"),
        pytest.param("once A", (), "once A", id="none says nothing"),
        pytest.param("yes", (CLIENTS,), "yes", id="known is known"),
    ],
)
def test_learned(known: str, copies: tuple[Copy, ...], after: str) -> None:
    assert learned(known, "B", copies) == after
