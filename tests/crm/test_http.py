"""Every answer of a CRM's server is one that was asked for, or says who must act."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from proxyd.crm.http import LARGEST, LONGEST_PAUSE, Http, Pace, retry_after, said
from proxyd.errors import Refused, SignInRefused, TryLater
from tests.clock import ManualClock
from tests.crm.fake import FakeCrm, Reply, Request
from tests.looping import on_the_loop
from tests.servers.processes import free_port


class Answering(FakeCrm):
    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    def answer(self, request: Request) -> Reply:
        return self.reply


async def ask(crm: FakeCrm, **options):
    http = Http(crm.url, Pace(1000, ManualClock()), **options)
    try:
        return await http.request("POST", "/x", json={"a": 1})
    finally:
        await http.close()


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(401, {"message": "no such key"}), SignInRefused, "401 Unauthorized: no such key"),
        (Reply(403, {"error": "MISSING_SCOPES"}), SignInRefused, "MISSING_SCOPES"),
        (Reply(302, b"", {"Location": "https://elsewhere.example"}), SignInRefused, "another address"),
        (Reply(400, [{"message": "bad field"}]), Refused, "bad field"),
        (Reply(404), Refused, "404"),
        (Reply(429, {}, {"Retry-After": "7"}), TryLater, "429"),
        (Reply(500, b"\x00\x1b[31mboom\r\n" * 100), TryLater, "[31mboom"),
        (Reply(503, b"<!DOCTYPE html><html>down"), TryLater, "a web page"),
        (Reply(200, b"  <!DOCTYPE html><html>down"), TryLater, "maintained"),
        (Reply(200, b"x" * (LARGEST + 1)), TryLater, "larger than"),
    ],
    ids=["key", "right", "redirect", "field", "missing", "pace", "fault", "page", "page for data", "endless"],
)
@on_the_loop
async def test_who_must_act(reply, error, words):
    with Answering(reply) as crm, pytest.raises(error) as raised:
        await ask(crm)
    assert words in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
    if reply.status == 429:
        assert raised.value.after == 7


@on_the_loop
async def test_no_answer_is_no_knowledge():
    with Answering(Reply()) as crm:
        for fault, words in (("cut", "closed"), ("hold", "no answer in 0.2 s")):
            crm.fault = lambda request, fault=fault: fault
            with pytest.raises(TryLater, match=words):
                await ask(crm, patience=0.2)
    http = Http(f"http://127.0.0.1:{free_port()}", Pace(1000, ManualClock()))
    with pytest.raises(TryLater, match="refused"):
        await http.request("GET", "/")
    await http.close()


@on_the_loop
async def test_an_answer_that_is_not_json():
    with Answering(Reply(200, b"OK")) as crm:
        answer = await ask(crm)
        assert answer.body == b"OK"
        with pytest.raises(TryLater, match="not JSON"):
            answer.json()


@on_the_loop
async def test_requests_keep_the_pace_of_their_place():
    clock = ManualClock()
    pace = Pace(10, clock)
    for _ in range(10):
        await pace.turn()  # a second's worth at once
    assert clock.monotonic() == 0
    import asyncio

    eleventh = asyncio.ensure_future(pace.turn())
    await clock.sleeper()
    assert not eleventh.done()
    await clock.advance(0.1)
    await eleventh


def test_retry_after() -> None:
    now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "120"}, now) == 120
    assert retry_after({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT"}, now) == 30
    assert retry_after({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT"}, now) == 0
    assert retry_after({"retry-after": "99999999999999"}, now) == LONGEST_PAUSE
    assert retry_after({"retry-after": "soon"}, now) is None
    assert retry_after({}, now) is None


def test_what_a_server_says_is_one_line() -> None:
    assert said(json.dumps({"detail": "a\nb\x07c"}).encode()) == "a b c"
    assert said(b"<html>") == "a web page"
    assert len(said(b"x" * 5000)) < 400
