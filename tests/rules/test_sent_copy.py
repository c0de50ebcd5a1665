"""What happens next with a Sent copy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.model import CopyState, FiledBy, Heading
from proxyd.rules.sent_copy import (
    ALONE,
    MISSING,
    TRIES,
    UPLOAD_TAKES,
    UPLOAD_WITHIN,
    Action,
    AnswerInstead,
    Append,
    Copy,
    Facts,
    Failed,
    FilesSent,
    HoldBack,
    LetPass,
    Look,
    RemoveOurs,
    Settled,
    UploadFacts,
    Wait,
    habit,
    learned,
    next_step,
    upload,
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
    uploading: float | None = None,
    promised: bool = False,
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
        uploading_since=None if uploading is None else at(uploading),
        promised=promised,
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
        pytest.param(facts(20, (), uploading=15), Wait, id="the client's upload is arriving: wait"),
        pytest.param(facts(20, uploading=15), Wait, id="without a look"),
        pytest.param(facts(20, (CLIENTS,), uploading=15), Settled, id="and settled as soon as it is there"),
        pytest.param(facts(14 + UPLOAD_TAKES, (), uploading=15), Wait, id="for minutes"),
        pytest.param(facts(15 + UPLOAD_TAKES, (), uploading=15), Append, id="not for ever"),
        pytest.param(facts(1799, (), "yes", promised=True), Wait, id="promised to the client: the provider's, first"),
        pytest.param(
            facts(1800, (), "yes", promised=True), Append, id="promised, and the provider's did not come: ours"
        ),
        pytest.param(facts(1800, (), "yes", promised=True, appending=1799), Wait, id="once"),
        pytest.param(facts(1800, (), "yes", promised=True, attempts=TRIES), Failed, id="promised, and not for ever"),
        pytest.param(facts(20, (), "unknown", promised=True), Append, id="promised, and the setting was taken back"),
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
    uploading=st.one_of(st.none(), st.floats(0, 4000)),
    promised=st.booleans(),
)


@given(ANY)
def test_what_must_hold_whatever_the_facts(known: Facts) -> None:
    step = next_step(known)
    match step:
        case Append():
            assert known.copies == (), "an APPEND follows a look that found nothing"
            if known.files_sent == "yes":
                assert known.promised, "a provider that files is never appended to, but to keep a promise"
                assert known.now >= at(1800)
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
        pytest.param(Heading(), False, FiledBy.CLIENT, id="no id at all: a server would have kept ours"),
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


@pytest.mark.parametrize(
    ("setting", "known", "files"),
    [("yes", None, "yes"), ("no", "yes", "no"), ("unknown", "yes", "yes"), ("unknown", "once A", "unknown")],
)
def test_habit(setting: FilesSent, known: str | None, files: FilesSent) -> None:
    assert habit(setting, known) == files


WAITING, PRESENT, FAILED = CopyState.WAITING, CopyState.PRESENT, CopyState.FAILED
PROVIDER, CLIENT, PROXYD = FiledBy.PROVIDER, FiledBy.CLIENT, FiledBy.PROXYD


def uploads(
    state: CopyState,
    files_sent: FilesSent = "unknown",
    by: FiledBy | None = None,
    *,
    relayed: bool = True,
    held: bool = True,
    age: float = 5,
    appending: bool = False,
    alone: int = ALONE,
) -> UploadFacts:
    return UploadFacts(relayed, state, files_sent, held, age, by, appending, alone)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        pytest.param(uploads(PRESENT, by=CLIENT, relayed=False), "pass", id="sent from elsewhere"),
        pytest.param(uploads(PRESENT, "yes", PROVIDER, relayed=False), "pass", id="elsewhere, the provider files"),
        pytest.param(uploads(CopyState.NOT_WANTED, "yes"), "pass", id="its copy is not our business"),
        pytest.param(uploads(WAITING), "pass, settles", id="the client's is waited for"),
        pytest.param(uploads(WAITING, alone=0), "hold back", id="the first upload: the provider's may be on its way"),
        pytest.param(uploads(WAITING, alone=ALONE - 1), "hold back", id="the last one that is held back"),
        pytest.param(uploads(WAITING, "no", alone=0), "pass, settles", id="known not to file: never held back"),
        pytest.param(uploads(WAITING, alone=0, held=False), "pass, settles", id="held back only with a copy at hand"),
        pytest.param(uploads(WAITING, alone=0, appending=True), "pass, settles", id="nor while ours is under way"),
        pytest.param(uploads(FAILED, alone=0), "pass, settles", id="nor when all is over"),
        pytest.param(uploads(PRESENT, by=PROVIDER), "answer once seen", id="not known to file, and has"),
        pytest.param(uploads(PRESENT, "no", by=PROVIDER), "pass", id="set not to file: the person's word"),
        pytest.param(uploads(WAITING, "no"), "pass, settles", id="the provider does not file"),
        pytest.param(uploads(WAITING, appending=True), "pass, settles", id="ours is under way"),
        pytest.param(uploads(WAITING, "yes", appending=True), "pass, settles", id="even where the provider files"),
        pytest.param(uploads(PRESENT, by=PROXYD), "pass, settles", id="ours is there, and goes"),
        pytest.param(uploads(PRESENT, "yes", PROXYD), "pass, settles", id="ours is there, the provider files"),
        pytest.param(uploads(PRESENT, by=CLIENT), "pass", id="a second upload of the client's"),
        pytest.param(uploads(FAILED), "pass, settles", id="given up, and here it comes"),
        pytest.param(uploads(WAITING, "yes"), "answer", id="the provider files, and we hold the message"),
        pytest.param(uploads(WAITING, "yes", held=False), "pass, settles", id="the provider files, we hold nothing"),
        pytest.param(uploads(FAILED, "yes"), "pass, settles", id="the provider files, and did not this time"),
        pytest.param(uploads(PRESENT, "yes", PROVIDER), "answer once seen", id="the provider's was there"),
        pytest.param(
            uploads(PRESENT, "yes", PROVIDER, held=False), "answer once seen", id="was there, we hold nothing"
        ),
        pytest.param(uploads(PRESENT, "yes", CLIENT), "answer once seen", id="somebody's was there"),
        pytest.param(uploads(PRESENT, "yes", PROVIDER, age=UPLOAD_WITHIN + 1), "pass", id="long ago"),
        pytest.param(uploads(WAITING, "yes", age=UPLOAD_WITHIN + 1), "pass, settles", id="long ago, still waited for"),
    ],
)
def test_what_becomes_of_an_upload(known: UploadFacts, wanted: str) -> None:
    match upload(known):
        case LetPass(settles=settles, because=because):
            assert wanted == ("pass, settles" if settles else "pass")
        case AnswerInstead(once_seen=once_seen, because=because):
            assert wanted == ("answer once seen" if once_seen else "answer")
        case HoldBack(because=because):
            assert wanted == "hold back"
    assert because
