"""A message as a page of its own, and what an invitation in it says."""

from __future__ import annotations

from pathlib import Path

from proxyd.model import Sent, SmtpReply
from tests.formats import hostile
from tests.formats.test_invitation import MEETING
from tests.looping import on_the_loop
from tests.rigged import GRACE, message
from tests.web.served import Served, served


async def log(s: Served, octets: bytes) -> str:
    await s.desk.add_contact(GRACE)
    begun = await s.desk.begin(octets)
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
    return begun.id


@on_the_loop
async def test_html_is_shown_with_nothing_that_runs_or_loads(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        body = "<p>the text</p><script>alert(1)</script><img src=https://x.test/a.png>\r\n"
        id = await log(s, message(more="Content-Type: text/html\r\n", body=body))
        shown = await s.client.get(f"/api/v1/messages/{id}/html")
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'; img-src data:;" in shown.headers["content-security-policy"]
        assert "sandbox" in shown.headers["content-security-policy"]
        assert shown.headers["x-blocked-images"] == "1"
        assert "<p>the text</p>" in shown.text
        assert "script" not in shown.text
        assert "x.test" not in shown.text
        asked = await s.client.get(f"/api/v1/messages/{id}/html", params={"images": "1"})
        assert "https://x.test/a.png" in asked.text
        assert (await s.client.get("/api/v1/messages/01NONE/html")).status_code == 404


@on_the_loop
async def test_plain_text_is_shown_too(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await log(s, message(body="1 < 2\r\n  indented\r\n"))
        assert "<pre>1 &lt; 2\n  indented\n</pre>" in (await s.client.get(f"/api/v1/messages/{id}/html")).text


@on_the_loop
async def test_an_invitation_is_told_in_words(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        calendar = MEETING.decode()
        body = (
            "--b\r\nContent-Type: text/plain\r\n\r\ncome\r\n"
            f"--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\n{calendar}--b--\r\n"
        )
        more = "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n"
        id = await log(s, message(more=more, body=body))
        (said,) = (await s.get(f"/api/v1/messages/{id}"))[1]["invitations"]
        assert (said["method"], said["start"], said["where"]) == ("REQUEST", "2026-11-23T09:00:00Z", "Raum 3")
        plain = await log(s, message(id="m2@example.test"))
        assert (await s.get(f"/api/v1/messages/{plain}"))[1]["invitations"] == []


@on_the_loop
async def test_a_hostile_message_is_logged_read_and_shown(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        octets = hostile.many_parts(1500).replace(b"To: ada@example.test", f"To: {GRACE}".encode())
        id = await log(s, octets.replace(b"eve@evil.test", b"ada@example.test"))
        _, told = await s.get(f"/api/v1/messages/{id}")
        assert told["text"].strip() == "the text"
        assert len(told["attachments"]) < 1000
        assert "the text" in (await s.client.get(f"/api/v1/messages/{id}/html")).text
