"""Every entry of the corpus: once by the rules alone, and all of them together in one mailbox on real Dovecot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxyd.formats import reports
from proxyd.formats.message import heading
from proxyd.formats.reply_ids import ids_in_reply
from proxyd.model import CopyPresent, FiledBy, Found, Heading, SmtpReply
from proxyd.reported import NO_REPORT, Report
from proxyd.rules import notices, threads
from proxyd.rules.threads import KnownMessage, id_key
from proxyd.store import tables
from tests.corpus.reading import KINDS, Answer, answers
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.watcher.elsewhere import Elsewhere
from tests.watcher.watched import Watched, commands, until, watched

OFFER = KnownMessage("offer", "thread")
BY_SERVER = ("bounces", "mangled", "odd_bounces", "receipts")  # families that lean on what the server can tell
WITH_ID = [each for each in answers() if each.must != "nothing"]


def test_the_corpus_is_large_and_says_why() -> None:
    assert len(answers()) >= 120
    assert len({each.name for each in answers()}) == len(answers())
    assert all(each.why and each.return_path.startswith("<") for each in answers())
    assert {each.must for each in answers()} == {"nothing", *KINDS}


def found(answer: Answer) -> tuple[Heading, Report, bool]:
    """(header section, report, is the offer named?): what the watcher sees, in its order."""
    own = {id_key(each) for each in (answer.id, answer.sent_copy, *ids_in_reply([answer.reply], "", answer.to))}
    octets = f"Return-Path: {answer.return_path}\r\n".encode() + answer.octets
    said = heading(octets)

    def known(ids: Any) -> dict[str, KnownMessage]:
        return {id: OFFER for id in ids if id_key(id) in own}

    report = reports.read(octets) if notices.may_report(said) else NO_REPORT
    if threads.match(said, known(threads.named_ids(said))):
        return said, report, True
    return said, report, bool(known(report.ids or report.ids_in_text))


@pytest.mark.parametrize("answer", answers(), ids=lambda each: each.name)
def test_by_the_rules(answer: Answer) -> None:
    said, report, named = found(answer)
    assert named is (answer.must != "nothing"), answer.why
    if named:
        notice = notices.notice(said, report)
        assert (notice.kind, notice.what or None) == KINDS[answer.must], (answer.why, notice)


async def send(w: Watched, answer: Answer) -> str:
    octets = message(id=answer.id, to=", ".join(answer.to))
    id = await w.sent(octets, *answer.to, taken=SmtpReply(250, (answer.reply,)))
    if answer.sent_copy:
        place = Found("Sent", 1, 1)
        await w.journal.record(
            CopyPresent(id, place, FiledBy.PROVIDER, 1, w.clock.now(), (answer.sent_copy, answer.id))
        )
    return id


def logged_as(answer: Answer, timeline: list[dict[str, Any]]) -> dict[str, Any] | None:
    said = heading(answer.octets)
    for each in timeline:
        if each["direction"] == "incoming" and (
            each["message_id"] == f"<{said.message_id}>" if said.message_id else each["subject"] == said.subject
        ):
            return each
    return None


async def judged(tmp_path: Path, server: Any, name: str, deliver: Callable[[Answer], None]) -> list[str]:
    """Send every offer, deliver every answer, let the watcher read; what is wrong then."""
    shown = [
        answer
        for answer in answers()
        if name not in answer.hidden_by and (name == "dovecot" or answer.name.startswith(BY_SERVER))
    ]
    naming = [answer for answer in shown if answer.must != "nothing"]
    settings = "sent_copy: {of: nothing}\nsuggestions: false\n"
    async with watched(tmp_path, server, settings, started=False) as w:
        await w.add_contact("grace@customer.test", "mary@customer.test")
        w.mailbox.start()
        await until(lambda: w.rows(tables.positions) or None, "a position", within=100)
        offers = {answer.name: await send(w, answer) for answer in shown}
    for answer in shown:
        deliver(answer)
    async with watched(tmp_path, server, settings, started=False) as w:
        w.mailbox.start()

        def incoming() -> list[dict[str, Any]]:
            return [each for each in w.timeline() if each["direction"] == "incoming"]

        with contextlib.suppress(AssertionError):  # which ones are missing is said below
            await until(lambda: len(incoming()) >= len(naming) or None, "every answer", within=150)
        await until(lambda: all(row["body"] for row in w.rows(tables.messages)) or None, "every text", within=100)
        everything = w.timeline()
        wrong = [problem for answer in shown for problem in problems(answer, offers[answer.name], everything)]
        if len(incoming()) != len(naming):
            wrong.append(f"{len(incoming())} are logged, {len(naming)} name a tracked message")
        return wrong


@on_the_loop(timeout=400)
async def test_all_of_them_in_one_mailbox(tmp_path: Path, provider: Provider):
    wrong = await judged(
        tmp_path,
        provider,
        "dovecot",
        lambda answer: provider.dovecot.deliver(PERSON, answer.octets, answer.return_path),
    )
    assert not wrong, "\n".join(wrong)
    whole = {each.split()[2] for each in commands(provider) if "BODY.PEEK[]" in each}
    assert len(whole) == len(WITH_ID), "nothing of other mail is asked for"
    assert not any(each.flags for each in provider.dovecot.messages(PERSON))


@pytest.mark.servers
@on_the_loop(timeout=400)
async def test_all_of_them_at_courier(tmp_path: Path, server_folder: Path):
    with Courier(server_folder / "courier", users={PERSON: PASSWORD}, folders=("Sent",)) as courier:
        at: Any = Elsewhere(courier, tmp_path)

        def deliver(answer: Answer) -> None:
            courier.deliver(PERSON, f"Return-Path: {answer.return_path}\r\n".encode() + answer.octets)

        wrong = await judged(tmp_path, at, "courier", deliver)
    assert not wrong, "\n".join(wrong)


@pytest.mark.servers
@on_the_loop(timeout=400)
async def test_all_of_them_at_cyrus(tmp_path: Path, server_folder: Path):
    with Cyrus(server_folder / "cyrus", users={PERSON: PASSWORD}, folders={"Sent": "sent"}) as cyrus:
        at: Any = Elsewhere(cyrus, tmp_path)
        wrong = await judged(
            tmp_path, at, "cyrus", lambda answer: cyrus.deliver(PERSON, answer.octets, answer.return_path)
        )
    assert not wrong, "\n".join(wrong)


def problems(answer: Answer, offer: str, timeline: list[dict[str, Any]]) -> list[str]:
    logged = logged_as(answer, timeline)
    if (logged is not None) is not (answer.must != "nothing"):
        return [f"{answer.name}: {'logged' if logged else 'not logged'}; {answer.why}"]
    if logged is None:
        return []
    (sent,) = (each for each in timeline if each["id"] == offer)
    wrong = []

    def expect(what: str, seen: Any, wanted: Any) -> None:
        if seen != wanted:
            wrong.append(f"{answer.name}: {what} is {seen!r}, not {wanted!r}; {answer.why}")

    expect("thread", logged["thread"], offer)
    expect("kind", (logged["kind"], logged["notice"]), KINDS[answer.must])
    delivery = {(each["address"], each["state"], each["status"]) for each in sent["delivery"]}
    expect("delivery", delivery, set(answer.delivery))
    expect("state", sent["state"], "bounced" if answer.must == "bounce" else "sent")
    if answer.must == "answer":
        expect("participant", logged["participant"], "unknown" if answer.stranger else "known")
    types = [each["type"] for each in logged["attachments"]]
    expect("attachments", [each for each in answer.attachments if each not in types], [])
    return wrong
