"""The API as a token's bearer has it: who is let in, who sees what, pages, and what is told live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from twisted.logger import globalLogPublisher

from proxyd.model import Sent, SmtpReply
from proxyd.web import answers_tokens
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, account, message
from tests.web.served import Served, served

BOB = "bob@example.test"


def with_colleague(s: Served, visible_to: str = "team") -> None:
    """A second account beside Ada's."""
    s.desk.accounts[BOB] = s.desk.accounts[ADA].model_copy(update={"address": BOB, "visible_to": visible_to})


async def logged(s: Served, id: str = "m1@example.test", of: str = ADA) -> str:
    await s.desk.add_contact(GRACE)
    begun = await s.desk.begin(message(id=id), account=of)
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
    return begun.id


@on_the_loop
async def test_without_a_token_nothing_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await logged(s)
        async with httpx.AsyncClient(base_url=s.web, trust_env=False) as client:
            for path in ("accounts", "messages", "openapi.json", "nothing"):
                for wrong in ({}, {"authorization": "Bearer proxyd_x"}, {"authorization": "Basic YTpi"}):
                    answer = await client.get(f"/api/v1/{path}", headers=wrong)
                    assert answer.status_code == (404 if path == "nothing" else 401)
                    assert answer.headers["content-type"] == "application/problem+json"
            assert (await client.get("/api/v1/accounts")).headers["www-authenticate"].startswith("Bearer")


@on_the_loop
async def test_a_path_that_is_no_text_is_a_problem_too(tmp_path: Path) -> None:
    async with served(tmp_path) as s, await s.token() as client:
        answer = await client.get("/api/v1/contacts/%FF/timeline")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert (await client.get("/api/v1/contacts/gr%C3%A4ce@x.example/timeline")).status_code == 200


@on_the_loop
async def test_a_token_opens_what_its_person_sees_and_is_over_when_revoked(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await logged(s)
        async with await s.token() as client:
            assert (await client.get(f"/api/v1/messages/{id}")).json()["id"] == id
            assert (await client.get("/api/v1/accounts", headers={"host": "evil.example"})).status_code == 421
            (listed,) = (await s.client.get("/api/v1/tokens")).json()["tokens"]
            assert listed == {"name": "crm", "person": ADA, "may": "send", "made": listed["made"]}
            assert (await s.client.post("/api/v1/tokens", json={"name": "crm"})).status_code == 422
            assert (await client.get("/api/v1/tokens")).status_code == 404  # the daemon's own user's alone
            assert (await s.client.delete("/api/v1/tokens/crm")).status_code == 200
            assert (await client.get(f"/api/v1/messages/{id}")).status_code == 401
            assert (await s.client.delete("/api/v1/tokens/crm")).status_code == 404


@on_the_loop
async def test_a_token_is_kept_as_a_keyed_hash_and_known_again_after_a_start(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        made = answers_tokens.make(s.desk.database, "crm", ADA, "read", s.desk.clock.now())
        tokens = answers_tokens.Tokens(s.desk.database, lambda: s.desk.accounts)
        assert tokens.viewer(made["token"]) is None
        tokens.load()
        viewer = tokens.viewer(made["token"])
        assert viewer is not None
        assert (viewer.person, viewer.may) == (ADA, "read")
        with s.desk.database.reading() as connection:
            kept = str(connection.exec_driver_sql("SELECT * FROM tokens").all())
        assert made["token"] not in kept
        assert made["token"].removeprefix("proxyd_") not in kept
        s.desk.accounts.clear()
        assert tokens.viewer(made["token"]) is None  # nobody's account is left that it could belong to


@on_the_loop
async def test_a_read_only_token_changes_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as s, await s.token(may="read") as client:
        answer = await client.post("/api/v1/contacts", json={"email": GRACE})
        assert (answer.status_code, answer.json()["detail"]) == (403, "this token may read only")
        assert (await client.post(f"/api/v1/accounts/{ADA}/reconnect")).status_code == 403
        assert s.reconnected == []


@on_the_loop
async def test_an_account_is_signed_in_anew_by_its_own_person_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s)
        async with await s.token() as ada, await s.token("b", BOB) as bob:
            assert (await bob.post(f"/api/v1/accounts/{ADA}/reconnect")).status_code == 403
            assert (await ada.post("/api/v1/accounts/nobody@example.test/reconnect")).status_code == 404
            assert (await ada.post(f"/api/v1/accounts/{ADA.upper()}/reconnect")).json()["address"] == ADA
        assert s.reconnected == [ADA]


@on_the_loop
async def test_what_an_owner_keeps_to_themselves_no_colleague_sees_by_any_way(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s, "owner")
        id = await logged(s, "b1@example.test", BOB)
        async with await s.token() as ada, await s.token("b", BOB) as bob:
            for path in (f"messages/{id}", f"messages/{id}/raw", "explain?message_id=b1@example.test"):
                assert (await bob.get(f"/api/v1/{path}")).status_code == 200
                assert (await ada.get(f"/api/v1/{path}")).status_code == 404
            for path in ("messages", f"contacts/{GRACE}/timeline", f"messages?account={BOB}"):
                assert len((await bob.get(f"/api/v1/{path}")).json()["messages"]) == 1
                assert (await ada.get(f"/api/v1/{path}")).json()["messages"] == []
            (seen,) = (await ada.get("/api/v1/contacts")).json()["contacts"]
            assert (seen["messages"], seen["last"]) == (0, None)
            assert (await bob.get("/api/v1/contacts")).json()["contacts"][0]["messages"] == 1


@on_the_loop
async def test_one_message_of_two_colleagues_is_one_entry_with_both(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s, "owner")
        first, _ = await logged(s), await logged(s, of=BOB)
        await logged(s, "m2@example.test")
        _, listed = await s.get("/api/v1/messages")
        assert [each["accounts"] for each in listed["messages"]] == [[ADA], [ADA, BOB]]
        assert listed["messages"][1]["id"] == first
        _, timeline = await s.get(f"/api/v1/contacts/{GRACE}/timeline")
        assert len(timeline["messages"]) == 2
        assert (await s.get("/api/v1/contacts"))[1]["contacts"][0]["messages"] == 2
        async with await s.token() as ada, await s.token("b", BOB) as bob:
            seen = (await ada.get("/api/v1/messages")).json()["messages"]
            assert [each["accounts"] for each in seen] == [[ADA], [ADA]]
            seen = (await bob.get("/api/v1/messages")).json()["messages"]
            assert [each["accounts"] for each in seen] == [[ADA], [ADA, BOB]]


@on_the_loop
async def test_pages_hold_every_message_once(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        made = [await logged(s, f"m{n}@example.test") for n in range(7)]  # all of one instant
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(10):
            _, page = await s.get(f"/api/v1/contacts/{GRACE}/timeline", limit="2", **cursor)
            found += [each["id"] for each in page["messages"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == made[::-1]
        _, contacts = await s.get("/api/v1/contacts", limit="1")
        assert contacts["next"] is None
        await s.desk.add_contact("lin@customer.test")
        _, contacts = await s.get("/api/v1/contacts", limit="1")
        assert [each["email"] for each in contacts["contacts"]] == [GRACE]
        _, contacts = await s.get("/api/v1/contacts", cursor=contacts["next"])
        assert [each["email"] for each in contacts["contacts"]] == ["lin@customer.test"]


WRONG: list[Any] = [
    ("/api/v1/messages?cursor=x", "the cursor is none"),
    ("/api/v1/messages?cursor=1e99.x", "the cursor is none"),
    (f"/api/v1/messages?cursor={'9' * 400}.x", "the cursor is none"),
    ("/api/v1/messages?lmit=1", "query.lmit"),
    ("/api/v1/accounts?x=1", "nothing is known by the name 'x'"),
    ("/api/v1/messages?limit=10001", "query.limit"),
]


@pytest.mark.parametrize(("path", "says"), WRONG)
@on_the_loop
async def test_what_is_not_understood_is_said(tmp_path: Path, path: str, says: str) -> None:
    async with served(tmp_path) as s:
        answer = await s.client.get(path)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]


@on_the_loop
async def test_a_strangers_body_is_not_kept_and_a_long_one_of_a_friend_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxyd.web.public.MOST_POSTED", 1000)
    async with served(tmp_path) as s, httpx.AsyncClient(base_url=s.web, trust_env=False) as stranger:
        posted = json.dumps({"email": GRACE, "name": "x" * 900})
        assert (await stranger.post("/api/v1/contacts", content=posted)).status_code == 401
        async with await s.token() as client:
            assert (await client.post("/api/v1/contacts", content=posted)).status_code == 201
            assert (await client.post("/api/v1/contacts", content=posted + " " * 200)).status_code == 413
            typed = {"content-type": "text/plain"}
            assert (await client.post("/api/v1/contacts", content=posted, headers=typed)).status_code == 415


async def heard(lines: Any) -> tuple[str, Any]:
    name = ""
    async for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


async def turn(s: Served) -> None:
    while True:
        await s.desk.clock.sleeper()
        await s.desk.clock.advance(16)


@on_the_loop
async def test_what_changes_is_told_live_to_whoever_sees_it(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s, "owner")
        async with await s.token() as ada, ada.stream("GET", "/api/v1/events") as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            lines = stream.aiter_lines()
            assert await heard(lines) == ("ready", {})
            await logged(s, "b1@example.test", BOB)  # not hers to see
            await s.desk.begin(message(id="private@example.test", to="aunt@else.test"), ["aunt@else.test"])
            id = await logged(s)
            async with asyncio.timeout(60):
                assert await heard(lines) == ("message", {"id": id, "account": ADA})
                await s.client.post("/api/v1/contacts", json={"email": "lin@customer.test"})
                while (event := await heard(lines))[0] == "message":
                    assert event[1]["id"] == id
                assert event == ("contact", {"email": "lin@customer.test"})
                turning = asyncio.ensure_future(turn(s))
                async for line in lines:
                    if line == ": still here":
                        break
                turning.cancel()


@on_the_loop
async def test_a_listener_that_goes_is_no_fault(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        faults: list[Any] = []
        globalLogPublisher.addObserver(faults.append)
        try:
            async with s.client.stream("GET", "/api/v1/events") as stream:
                assert await heard(stream.aiter_lines()) == ("ready", {})
            async with asyncio.timeout(60):
                while s.desk.journal.changes.heard_by:
                    assert (await s.get("/healthz"))[0] == 200
                assert (await s.get("/healthz"))[0] == 200  # a fault would have been told by now
        finally:
            globalLogPublisher.removeObserver(faults.append)
        assert [each for each in faults if each.get("log_failure") or each.get("isError")] == []


@on_the_loop
async def test_a_listener_whose_token_is_revoked_or_whose_account_is_gone_hears_no_more(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        for n, end in enumerate((s.client.delete("/api/v1/tokens/0"), forgotten(s))):
            async with await s.token(str(n)) as ada, ada.stream("GET", "/api/v1/events") as stream:
                lines = stream.aiter_lines()
                assert await heard(lines) == ("ready", {})
                await end
                async with asyncio.timeout(60):
                    assert [line async for line in lines if line] == []
        assert s.desk.journal.changes.heard_by == 0


async def forgotten(s: Served) -> None:
    """Ada's account is taken out of the configuration."""
    del s.desk.accounts[ADA]
    await s.client.post("/api/v1/reload")


@on_the_loop
async def test_a_listener_that_hears_too_late_is_told_to_read_everything(tmp_path: Path) -> None:
    async with served(tmp_path) as s, s.client.stream("GET", "/api/v1/events") as stream:
        lines = stream.aiter_lines()
        assert await heard(lines) == ("ready", {})
        for _ in range(2000):
            s.desk.journal.changes.tell("account", ADA)  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            while (await heard(lines))[0] != "ready":
                pass


def test_the_fixtures_account_is_visible_to_the_team(tmp_path: Path) -> None:
    assert account(tmp_path).visible_to == "team"
