"""The page as a browser gets it: who is let in, what it is told to forbid, and what stands on it."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxyd.journal.changes import What
from proxyd.model import HealthCause, HealthEvent
from proxyd.store.tables import sent_copies
from proxyd.web.page.sessions import IDLE
from tests.cli.test_copies import given_up
from tests.cli.test_copies import states as copy_states
from tests.cli.test_crm import refused, states
from tests.cli.test_suggestions import suggested
from tests.looping import on_the_loop
from tests.rigged import message
from tests.web.page.shown import ADA, GRACE, shown

PAGES = ("/", "/contacts", f"/contacts/{GRACE}", "/accounts", "/why", "/messages/01ABC/attachments/0")


def letter(name: str, type: str, octets: bytes, text: str = "Dear Grace") -> bytes:
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n").decode()
    return message(
        more="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n",
        body=f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
        f"--b\r\nContent-Type: {type}\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n{encoded}\r\n--b--\r\n',
    )


# --- who is let in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
@on_the_loop
async def test_nobody_sees_anything_without_a_session(tmp_path: Path, path: str) -> None:
    async with shown(tmp_path) as s:
        await s.sent()
        answer = await (await s.stranger()).get(path)
        assert answer.status_code == 403
        assert "proxyd web" in answer.text
        assert GRACE not in answer.text


@on_the_loop
async def test_a_link_lets_in_once_by_a_cookie_that_scripts_and_other_sites_do_not_get(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        link = f"/login?link={s.sessions.link(None)}"
        browser = await s.stranger()
        answer = await browser.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/contacts")
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith(f"proxyd-{s.port}=")
        assert {"httponly", "samesite=strict", "path=/"} <= {each.strip() for each in cookie.split(";")}
        assert (await browser.get("/contacts")).status_code == 200
        again = await (await s.stranger()).get(link)
        assert again.status_code == 403
        assert "no longer works" in again.text
        assert "set-cookie" not in again.headers


@on_the_loop
async def test_a_link_that_another_site_leads_to_asks_first(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        secret = s.sessions.link(None)
        browser = await s.stranger()
        navigating = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        asked = await browser.get(f"/login?link={secret}", site="cross-site", **navigating)
        assert (asked.status_code, "set-cookie" in asked.headers) == (200, False)
        assert "Did you ask for this" in asked.text
        forged = await browser.client.post("/login", data={"link": secret}, headers={"origin": "http://evil.example"})
        assert forged.status_code == 403
        assert (await browser.client.post("/login", data={"link": secret})).status_code == 403, "from nowhere"
        assert (await browser.post("/login", token="", link=secret)).status_code == 303
        assert (await browser.get("/contacts")).status_code == 200


@on_the_loop
async def test_signing_out_ends_the_session_and_not_only_the_cookie(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        kept = dict(browser.client.cookies)
        assert (await browser.post("/logout")).status_code == 303
        assert (await browser.get("/contacts")).status_code == 403
        browser.client.cookies.update(kept)
        assert (await browser.get("/contacts")).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "proxyd.example:1780", "localhost.evil.example", "192.168.1.2"])
@on_the_loop
async def test_a_host_that_is_not_this_machine_is_answered_nothing(tmp_path: Path, host: str) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        answer = await browser.get("/contacts", host=host)
        assert answer.status_code == 421
        assert "Contacts" not in answer.text


@on_the_loop
async def test_a_person_sees_their_own_account_and_the_owner_every_one(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA]
        owner, bob = await s.browser(), await s.browser("bob@example.test")
        assert ADA in (await owner.get("/accounts")).text
        seen = (await bob.get("/accounts")).text
        assert "bob@example.test" in seen
        assert ADA not in seen


@on_the_loop
async def test_a_colleague_sees_nothing_of_an_account_that_is_its_owners_alone(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        id = await s.sent(letter("a.txt", "text/plain", b"xyzzy", "Dear xyzzy"))
        await s.desk.settled()
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        bob, ada = await s.browser("bob@example.test"), await s.browser(ADA)
        paths = (f"/contacts/{GRACE}", "/contacts", "/search?q=dear", f"/messages/{id}/html", f"/compose?reply={id}")
        files = (f"/messages/{id}/attachments/0", f"/messages/{id}/attachments/0/preview")
        for audience, sees in (("team", True), ("owner", False)):
            s.desk.accounts[ADA] = s.desk.accounts[ADA].model_copy(update={"visible_to": audience})
            for path in (*paths, *files):
                assert ("xyzzy" in (await bob.get(path)).text) is sees, path
                assert "xyzzy" in (await ada.get(path)).text, path


# --- what a browser is told, and what it must bring ------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/static/page.css", "/static/nothing"])
@on_the_loop
async def test_every_answer_forbids_what_is_not_ours(tmp_path: Path, path: str) -> None:
    async with shown(tmp_path) as s:
        for browser in (await s.browser(), await s.stranger()):
            headers = (await browser.get(path)).headers
            policy = dict(each.strip().partition(" ")[::2] for each in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store" or "/static/page" in path


@on_the_loop
async def test_nothing_inline_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        await s.sent()
        browser = await s.browser()
        for path in ("/contacts", f"/contacts/{GRACE}", "/accounts", "/why?message_id=m1@example.test"):
            text = (await browser.get(path)).text
            for word in ("http://", "https://", " style=", "<style", "onclick", "javascript:"):
                assert word not in text, (path, word)
            assert text.count("<script") == text.count('<script src="/static/page.js')


POSTED = ("/contacts", "/logout")


@pytest.mark.parametrize("path", POSTED)
@on_the_loop
async def test_what_is_posted_comes_from_our_own_page_or_nothing_happens(tmp_path: Path, path: str) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        token, ours = await browser.token(), f"http://localhost:{s.port}"
        fields = {"token": token, "email": "new@customer.test"}
        for fetched in (
            {},
            {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
            {"origin": "http://localhost:1", "sec-fetch-site": "same-site"},
            {"origin": "null"},
            {"origin": ours, "sec-fetch-site": "same-site"},
        ):
            assert (await browser.client.post(path, data=fields, headers=fetched)).status_code == 403, fetched
        assert (await browser.post(path, token="", email="new@customer.test")).status_code == 403
        assert (await browser.post(path, token="0" * 64, email="new@customer.test")).status_code == 403
        assert (await browser.get("/contacts")).text.count("new@customer.test") == 0
        assert (await browser.post(path, email="new@customer.test")).status_code == 303


@on_the_loop
async def test_another_page_gets_nothing_even_with_the_cookie(tmp_path: Path) -> None:
    """A page of another port is the same site, and the browser sends it our cookie."""
    async with shown(tmp_path) as s:
        id = await s.sent(letter("a.png", "image/png", b"\x89PNG"))
        browser = await s.browser()
        for path in ("/contacts", f"/messages/{id}/attachments/0/preview"):
            answer = await browser.get(
                path, site="same-site", **{"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
            )
            assert answer.status_code == 403
        navigating = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert (await browser.get("/contacts", site="same-site", **navigating)).status_code == 200
        assert (await browser.get("/contacts", site="cross-site", **navigating)).status_code == 403


@on_the_loop
async def test_a_body_is_kept_for_whoever_is_signed_in_and_never_without_end(tmp_path: Path) -> None:
    from proxyd.web.page import routes

    async with shown(tmp_path) as s:
        stranger = await s.stranger()
        answer = await stranger.client.post(
            "/login", data={"link": "x" * 1000}, headers={"sec-fetch-site": "same-origin"}
        )
        assert answer.status_code == 403
        browser = await s.browser()
        before, routes.MOST_POSTED = routes.MOST_POSTED, 1000
        try:
            assert (await browser.post("/contacts", email="n@customer.test", name="x" * 2000)).status_code == 413
        finally:
            routes.MOST_POSTED = before


# --- what stands on it -------------------------------------------------------------------------------------------


@on_the_loop
async def test_contacts_are_listed_searched_and_added(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        assert "No contacts yet" in (await browser.get("/contacts")).text
        answer = await browser.post("/contacts", email="lin@customer.test", name="Lin <b>", company="Customer")
        assert answer.headers["location"] == "/contacts/lin@customer.test"
        assert (await browser.post("/contacts", email="nobody")).status_code == 422
        await s.sent()
        listed = (await browser.get("/contacts")).text
        assert listed.index(GRACE) < listed.index("lin@customer.test"), "who was heard of last comes first"
        assert "Lin &lt;b&gt;" in listed
        part = (await browser.get("/contacts?part=list&q=LIN")).text
        assert "lin@customer.test" in part
        assert GRACE not in part
        assert "<html" not in part
        assert "Nobody here is called" in (await browser.get("/contacts?q=zzz")).text


@on_the_loop
async def test_everything_is_searched_and_what_was_asked_for_is_marked(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        id = await s.sent(message(body="Dear Grace,\r\nthe <compiler> is ready.\r\n"))
        await s.desk.settled()
        browser = await s.browser()
        assert "Nothing is found" in (await browser.get("/search?q=nowhere")).text
        text = (await browser.get("/search?q=Compiler")).text
        assert "&lt;<mark>compiler</mark>&gt; is ready" in text
        assert f"/contacts/{GRACE}#m-{id}" in text
        assert "Search all messages for “comp”" in (await browser.get("/contacts?part=list&q=comp")).text
        assert (await browser.get("/search?q=x&cursor=y")).status_code == 422


@on_the_loop
async def test_an_account_is_signed_in_anew_by_whom_it_belongs_to(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        bob, ada = await s.browser("bob@example.test"), await s.browser(ADA)
        assert (await bob.post(f"/accounts/{ADA}/reconnect")).status_code == 404
        assert (await ada.post(f"/accounts/{ADA}/reconnect", token="")).status_code == 403
        assert s.reconnected == []
        assert (await ada.post(f"/accounts/{ADA}/reconnect")).status_code == 303
        assert s.reconnected == [ADA]


@on_the_loop
async def test_what_a_crm_refused_is_shown_and_tried_again(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        await refused(s, 1, "hub answered 400: no <b>such</b> owner")
        ada = await s.browser(ADA)
        text = (await ada.get("/accounts")).text
        assert "The CRM hubspot refused 1 message: hub answered 400: no &lt;b&gt;such&lt;/b&gt; owner." in text
        path = f"/accounts/{ADA}/crm/hubspot/retry"
        assert f'action="{path}"' in text
        assert (await ada.post(path, token="")).status_code == 403
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        assert (await (await s.browser("bob@example.test")).post(path)).status_code == 404
        assert states(s) == ["failed"]
        assert (await ada.post(path)).status_code == 303
        assert states(s) == ["waiting"]


@on_the_loop
async def test_copies_that_were_given_up_are_shown_and_tried_again(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        s.desk.clock.set_by((datetime.now(UTC) - s.desk.clock.now()).total_seconds())  # it is told for a week
        await given_up(s, 1)
        ada = await s.browser(ADA)
        text = (await ada.get("/accounts")).text
        assert (
            "1 Sent copy could not be filed in the last 7 days; the last time: the server said NO [OVERQUOTA]" in text
        )
        path = f"/accounts/{ADA}/copies/sent_copies/retry"
        assert f'action="{path}"' in text
        assert (await ada.post(path, token="")).status_code == 403
        assert (await ada.post(path)).status_code == 303
        assert copy_states(s, sent_copies) == ["waiting"]
        assert s.desk.journal.wakes.copies(ADA).is_set()


@on_the_loop
async def test_suggestions_wait_for_the_word_of_whom_they_concern(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        await suggested(s, 1, 2)
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        ada, bob = await s.browser(ADA), await s.browser("bob@example.test")
        assert "2 mails may belong to a conversation" in (await ada.get("/contacts")).text
        text = (await ada.get("/suggestions")).text
        first, other = re.findall(r'action="/suggestions/(\w+)/accept"', text)
        assert "Nothing to decide" in (await bob.get("/suggestions")).text
        assert (await bob.post(f"/suggestions/{first}/accept")).status_code == 404
        assert (await ada.post(f"/suggestions/{first}/accept", token="")).status_code == 403
        assert (await ada.post(f"/suggestions/{first}/forget")).status_code == 404
        assert (await ada.post(f"/suggestions/{first}/accept")).status_code == 303
        assert [each.id for each in await s.desk.journal.suggestions.waiting(ADA)] == [first]
        assert (await ada.post(f"/suggestions/{other}/refuse")).status_code == 303
        assert (await ada.post(f"/suggestions/{other}/refuse")).status_code == 404
        assert "Nothing to decide" in (await ada.get("/suggestions?part=suggestions")).text


@on_the_loop
async def test_a_story_is_told_with_its_words_and_its_files(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        id = await s.sent(letter("a & b.txt", "text/plain", b"plain", "Dear <script>alert(1)</script> Grace"))
        browser = await s.browser()
        text = (await browser.get(f"/contacts/{GRACE}")).text
        assert "<h2 id=" in text
        assert "Dear &lt;script&gt;alert(1)&lt;/script&gt; Grace" in text
        assert "a &amp; b.txt" in text
        assert f"/messages/{id}/attachments/0/preview" in text
        assert ">Sent<" in text
        assert "Waiting to see who files the copy in Sent." in text
        part = (await browser.get(f"/contacts/{GRACE}?part=timeline")).text
        assert "<html" not in part
        assert "Dear &lt;script" in part


@on_the_loop
async def test_a_long_story_has_pages_and_a_long_list_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyd.web.page import people_pages

    monkeypatch.setattr(people_pages, "AT_ONCE", 2)
    monkeypatch.setattr(people_pages, "LISTED", 2)
    async with shown(tmp_path) as s:
        for n in range(3):
            await s.sent(message(f"Number {n}", id=f"n{n}@example.test"))
        await s.desk.add_contact("lin@customer.test", "zoe@customer.test")
        browser = await s.browser()
        newest = (await browser.get(f"/contacts/{GRACE}")).text
        assert re.search(r'1 more: <a[^>]+href="/contacts\?listed=10"', newest)
        assert "zoe@customer.test" not in newest
        assert "zoe@customer.test" in (await browser.get("/contacts?listed=10")).text
        (link,) = re.findall(r'href="(/contacts/[^"]+before=[^"]+)"', newest)
        earlier = (await browser.get(link)).text
        pages = [[n for n in range(3) if f"Number {n}</h2>" in text] for text in (newest, earlier)]
        assert sorted(pages[0] + pages[1]) == [0, 1, 2]
        assert "Newest messages" in earlier
        assert (await browser.get(f"/contacts/{GRACE}?before=x")).status_code == 422


@on_the_loop
async def test_an_address_of_any_kind_has_its_page(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        answer = await browser.get("/contacts/a%2Fb%3Cc@customer.test")
        assert answer.status_code == 200
        assert "a/b&lt;c@customer.test is no contact" in answer.text


@on_the_loop
async def test_an_attachment_is_saved_or_shown_where_it_can_do_nothing(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        shown_as = {
            "image/png": "image/png",
            "application/pdf": "application/pdf",
            "text/plain": "text/plain; charset=utf-8",
            "text/html": None,
            "image/svg+xml": None,
        }
        browser = await s.browser()
        for n, (type, served) in enumerate(shown_as.items()):
            octets = letter("x", type, b"octets").replace(b"m1@example", f"m{n}x@example".encode())
            path = f"/messages/{await s.sent(octets)}/attachments/0"
            saved = await browser.get(path)
            assert saved.content == b"octets"
            assert saved.headers["content-type"] == "application/octet-stream"
            assert saved.headers["content-disposition"].startswith("attachment;")
            seen = await browser.get(f"{path}/preview")
            if served is None:
                assert seen.status_code == 415
                continue
            assert (seen.status_code, seen.headers["content-type"], seen.content) == (200, served, b"octets")
            assert seen.headers["content-disposition"].startswith("inline;")
            policy = seen.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "script-src" not in policy
            assert ("sandbox" in policy) is (type != "application/pdf")
        assert (await browser.get(f"{path}9")).status_code == 404


HTML = (
    "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n",
    '<h1 onclick="alert(1)">Dear Grace</h1><script>alert(2)</script><img src="https://tracker.test/x.png">\r\n',
)


@on_the_loop
async def test_a_message_is_shown_as_it_was_designed_where_it_can_do_nothing(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        id = await s.sent(message(more=HTML[0], body=HTML[1]))
        browser = await s.browser()
        story = (await browser.get(f"/contacts/{GRACE}")).text
        (frame,) = re.findall(r"<iframe [^>]*>", story)
        assert f'src="/messages/{id}/html"' in frame
        assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame
        answer = await browser.get(f"/messages/{id}/html")
        for word in ("script", "onclick", "tracker.test"):
            assert word not in answer.text
        assert "Dear Grace" in answer.text
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert "sandbox allow-popups" in policy
        assert "tracker.test" in (await browser.get(f"/messages/{id}/html?images=yes")).text
        assert (await (await s.stranger()).get(f"/messages/{id}/html")).status_code == 403
        assert (await browser.get("/messages/01NONE/html")).status_code == 404


@on_the_loop
async def test_an_invitation_is_readable(tmp_path: Path) -> None:
    calendar = (
        b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:Bearing <review>\r\nLOCATION:Room 2\r\n"
        b"DTSTART;VALUE=DATE:20261201\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    async with shown(tmp_path) as s:
        await s.sent(letter("invite.ics", "text/calendar", calendar))
        text = (await (await s.browser()).get(f"/contacts/{GRACE}")).text
        assert "Bearing &lt;review&gt;" in text
        assert "Tuesday, 1 December 2026; Room 2" in text


@on_the_loop
async def test_accounts_say_how_they_are_and_what_to_do(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        assert "Connected" in (await browser.get("/accounts")).text
        s.event = HealthEvent(HealthCause.MISCONFIGURED, "IMAP", "certificate <expired>")
        text = (await browser.get("/accounts")).text
        assert "certificate &lt;expired&gt;" in text
        assert "What to do" in text


@on_the_loop
async def test_why_is_told_of_what_was_logged_and_of_what_was_not(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        await s.sent()
        await s.desk.begin(message(id="private@example.test", to="sister@family.test"), ["sister@family.test"])
        browser = await s.browser()
        told = (await browser.get("/why?message_id=<m1@example.test>")).text
        assert f"Recipient {GRACE} is a contact" in told
        told = (await browser.get("/why?message_id=private@example.test")).text
        assert "Not logged" in told
        assert "Nothing is known" in (await browser.get("/why?message_id=else@example.test")).text
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA]
        s.desk.accounts[ADA] = s.desk.accounts[ADA].model_copy(update={"visible_to": "owner"})
        other = await s.browser("bob@example.test")
        assert "Nothing is known" in (await other.get("/why?message_id=private@example.test")).text


@on_the_loop
async def test_what_is_not_there_is_said_on_a_page_and_a_fault_tells_nothing(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        answer = await browser.get("/nothing")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        s.event = None  # type: ignore[assignment]
        answer = await browser.get("/accounts")
        assert answer.status_code == 500
        assert "a fault of proxyd" in answer.text.lower()
        assert "NoneType" not in answer.text


@on_the_loop
async def test_who_signed_out_or_stayed_away_or_is_gone_hears_nothing_more(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        for ends in ("closed", "unused", "no account of ours any more"):
            browser = await s.browser(ADA)
            async with browser.client.stream("GET", "/events", headers={"sec-fetch-site": "same-origin"}) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: ready"
                if ends == "closed":
                    await browser.post("/logout")
                elif ends == "no account of ours any more":
                    del s.desk.accounts[ADA]
                    s.desk.journal.changes.tell(What.RIGHTS, "")  # as a reload does
                else:
                    await s.desk.clock.advance(IDLE.total_seconds() + 1)
                rest = [line async for line in lines]  # which has an end
                assert not [line for line in rest if line.startswith("event:")]
            assert (await browser.get("/events")).status_code == 403
