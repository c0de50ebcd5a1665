"""The HTTP API as it is served: routes, documents, and problem documents for everything else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from proxyd.model import CopyPresent, FiledBy, Found, Sent, SmtpReply
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served

PDF = b"%PDF-1.4 an offer\r\n" * 40_000  # several chunks


def with_attachment() -> bytes:
    import base64

    encoded = base64.encodebytes(PDF).replace(b"\n", b"\r\n").decode()
    return message(
        more="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n",
        body="--b\r\nContent-Type: text/plain\r\n\r\nDear Grace\r\n"
        "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment; filename*=UTF-8''%C3%A4ngebot.pdf\r\n\r\n{encoded}\r\n--b--\r\n",
    )


async def sent_to_grace(s: Served, octets: bytes | None = None) -> str:
    await s.desk.add_contact(GRACE)
    begun = await s.desk.begin(octets or message())
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
    return begun.id


@on_the_loop
async def test_a_logged_message_is_told_in_every_way(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await sent_to_grace(s)
        status, listed = await s.get("/api/v1/messages")
        assert status == 200
        (one,) = listed["messages"]
        assert (one["id"], one["subject"], one["text"].split()[-1]) == (id, "Offer", "is.")
        assert (await s.get("/api/v1/messages", account=ADA.upper()))[1] == listed
        assert (await s.get("/api/v1/messages", account="else@example.test"))[1] == {"messages": [], "next": None}
        assert (await s.get("/api/v1/messages", limit="0"))[1] == {"messages": [], "next": None}
        assert (await s.get(f"/api/v1/contacts/{GRACE.title()}/timeline"))[1] == listed
        assert (await s.get(f"/api/v1/messages/{id}"))[1] == one | {"invitations": []}
        assert await s.get("/api/v1/contacts/a%2Fb@customer.test/timeline") == (200, {"messages": [], "next": None})


@on_the_loop
async def test_octets_and_attachments_come_as_they_were_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        octets = with_attachment()
        id = await sent_to_grace(s, octets)
        raw = await s.client.get(f"/api/v1/messages/{id}/raw")
        assert raw.headers["content-type"] == "message/rfc822"
        assert raw.content == octets
        (listed,) = (await s.get(f"/api/v1/messages/{id}"))[1]["attachments"]
        assert (listed["name"], listed["size"]) == ("ängebot.pdf", len(PDF))
        file = await s.client.get(f"/api/v1/messages/{id}/attachments/0")
        assert hashlib.sha256(file.content).hexdigest() == listed["sha256"] == hashlib.sha256(PDF).hexdigest()
        assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4ngebot.pdf"
        assert (await s.get(f"/api/v1/messages/{id}/attachments/1"))[0] == 404


@on_the_loop
async def test_whoever_stops_reading_stops_the_sending(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await sent_to_grace(s, message(body="x" * 78 + "\r\n" * 2 + ("y" * 78 + "\r\n") * 200_000))
        async with s.client.stream("GET", f"/api/v1/messages/{id}/raw") as response:
            async for _ in response.aiter_raw(1024):
                break
        assert (await s.get("/healthz"))[0] == 200


@on_the_loop
async def test_contacts_are_added_listed_and_imported(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        posted = {"email": GRACE, "name": "Grace"}
        first = await s.client.post("/api/v1/contacts", json=posted)
        assert (first.status_code, first.json()["new"]) == (201, True)
        again = await s.client.post("/api/v1/contacts", json=posted)
        assert (again.status_code, again.json()["new"]) == (200, False)
        book = b"email,name\nlin@customer.test,Lin\nnobody,\n"
        outcome = await s.client.post("/api/v1/contacts/import", params={"kind": "csv"}, content=book)
        assert outcome.json() == {
            "new": 1,
            "updated": 0,
            "unchanged": 0,
            "problems": [{"line": 3, "why": '"nobody" is not an e-mail address'}],
            "remarks": [],
        }
        emails = [each["email"] for each in (await s.get("/api/v1/contacts"))[1]["contacts"]]
        assert emails == [GRACE, "lin@customer.test"]
        assert [each["name"] for each in (await s.get("/api/v1/contacts", q="LIN"))[1]["contacts"]] == ["Lin"]


@on_the_loop
async def test_status_tells_what_the_daemon_and_the_store_know(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await sent_to_grace(s)
        status, document = await s.get("/api/v1/status")
        assert status == 200
        assert document["daemon"]["listening"] == {"smtp": "127.0.0.1:1587"}
        (account,) = document["accounts"]
        assert account["waiting"] == {"sent_copies": 1, "crm": 0, "spool": 0}
        assert set(account) >= {"address", "state", "since", "because", "evidence", "last_seen", "waiting"}
        assert account["unknown"] == []
        (bare,) = (await s.get("/api/v1/accounts"))[1]["accounts"]
        assert bare["address"] == ADA


@on_the_loop
async def test_explain_by_an_id_with_or_without_brackets(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await sent_to_grace(s)
        await s.desk.journal.record(CopyPresent(id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, s.desk.clock.now()))
        status, told = await s.get("/api/v1/explain", message_id="<m1@example.test>")
        assert status == 200
        assert told["logged"] is True
        assert told["because"] == f"recipient {GRACE} is a contact"
        assert told["steps"][0]["what"] == "begun"
        assert (await s.get("/api/v1/explain", message_id=" m1@example.test "))[1]["at"] == told["at"]


@on_the_loop
async def test_reload_hands_back_the_problems(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        assert (await s.client.post("/api/v1/reload")).json() == {"problems": []}
        s.problems.append("proxyd.yaml:1:1: no")
        answer = await s.client.post("/api/v1/reload")
        assert (answer.status_code, answer.json()["problems"]) == (409, ["proxyd.yaml:1:1: no"])


WRONG: list[Any] = [
    ("GET", "/api/v1/nothing", {}, 404),
    ("GET", "/", {}, 404),
    ("DELETE", "/api/v1/contacts", {}, 405),
    ("GET", "/api/v1/messages/01ABC", {}, 404),
    ("GET", "/api/v1/messages/01ABC/raw", {}, 404),
    ("GET", "/api/v1/messages/01ABC/attachments/0", {}, 404),
    ("GET", "/api/v1/messages/01ABC/attachments/x", {}, 404),
    ("GET", "/api/v1/messages", {"params": {"limit": "-1"}}, 422),
    ("GET", "/api/v1/explain", {}, 422),
    ("GET", "/api/v1/explain", {"params": {"message_id": "x@y"}}, 404),
    ("POST", "/api/v1/contacts", {"content": b"{"}, 400),
    ("POST", "/api/v1/contacts", {"json": ["grace"]}, 400),
    ("POST", "/api/v1/contacts", {"json": {"email": 1}}, 422),
    ("POST", "/api/v1/contacts", {"json": {"email": "grace"}}, 422),
    ("POST", "/api/v1/contacts/import", {"params": {"kind": "ldif"}, "content": b""}, 422),
]


@pytest.mark.parametrize(("method", "path", "more", "status"), WRONG)
@on_the_loop
async def test_what_is_wrong_is_a_problem_document(
    tmp_path: Path, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    async with served(tmp_path) as s:
        response = await s.client.request(method, path, **more)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]


@on_the_loop
async def test_a_fault_of_ours_is_a_problem_without_its_inside(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.broken = True
        answer = await s.client.get("/api/v1/accounts")
        assert (answer.status_code, answer.json()["detail"]) == (500, "a fault of proxyd; see its log")


@on_the_loop
async def test_the_daemon_is_healthy(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        assert await s.get("/healthz") == (200, {"status": "ok", "version": "0.1.0"})
