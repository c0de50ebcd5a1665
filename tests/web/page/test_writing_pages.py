"""Writing on the page: the form, the draft that is kept, the letter that goes out."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from proxyd.formats.message import heading
from proxyd.model import NotAccepted, SmtpReply
from proxyd.store.tables import draft_files, drafts
from proxyd.web.page import writing
from tests.looping import on_the_loop
from tests.web.page.shown import ADA, GRACE, Browser, Shown, shown

BOB = "bob@example.test"
REFUSED = NotAccepted(SmtpReply(550, ("5.1.1 no such user",)))


def fields(html: str) -> dict[str, str]:
    """What stands in the form."""
    found = dict(re.findall(r'<input [^>]*?name="(\w+)" value="([^"]*)"', html))
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", html, re.DOTALL)
    assert text is not None, html
    return {name: unescape(value) for name, value in (found | {"text": text[1]}).items()}


async def post(browser: Browser, path: str, letter: dict[str, str], **files: tuple[str, bytes, str]) -> Any:
    """As a browser posts a form with files."""
    origin = str(browser.client.base_url).rstrip("/")
    parts: list[Any] = [(name, (None, value)) for name, value in letter.items()]
    parts += [("files", file) for file in files.values()]
    headers = {"sec-fetch-site": "same-origin", "origin": origin}
    return await browser.client.post(path, files=parts, headers=headers)


async def written(s: Shown, browser: Browser, **more: str) -> dict[str, str]:
    """The form to Grace, filled in."""
    await s.desk.add_contact(GRACE)
    form = fields((await browser.get(f"/compose?to={GRACE}")).text)
    return form | {"subject": "Offer", "text": "Dear Grace,\r\n\r\nhere it is: äöü.\r\n"} | more


@on_the_loop
async def test_a_letter_with_a_file_goes_through_the_provider_and_is_in_the_story(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        form = await written(s, browser)
        answer = await post(browser, "/compose", form, one=("Angebot ä.txt", b"octets", "text/plain"))
        assert (answer.status_code, answer.headers["location"]) == (303, f"/contacts/{GRACE}")
        (octets,) = s.provider.messages
        said = heading(octets)
        assert (said.from_[0].name, said.from_[0].address, said.subject) == ("Ada Lovelace", ADA, "Offer")
        await s.desk.settled()
        text = (await browser.get(f"/contacts/{GRACE}")).text
        assert "Dear Grace,\n\nhere it is: äöü." in text
        assert "Angebot ä.txt" in text
        (path,) = re.findall(r'href="(/messages/\w+/attachments/0)" download', text)[:1]
        assert (await browser.get(path)).content == b"octets"


@on_the_loop
async def test_a_second_press_of_the_button_sends_no_second_letter(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        form = await written(s, browser)
        for _ in range(2):
            assert (await post(browser, "/compose", form)).status_code == 303
        assert len(s.provider.messages) == 1


@on_the_loop
async def test_an_answer_quotes_and_goes_into_the_thread(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        id = await s.sent()
        browser = await s.browser()
        form = fields((await browser.get(f"/compose?reply={id}")).text)
        assert (form["to"], form["subject"]) == (GRACE, "Re: Offer")
        assert re.fullmatch(
            r"\n\nOn \d+ \w+ 2026 at [\d:]+, ada@example.test wrote:\n> Dear Grace,\n> .*\n", form["text"]
        )
        assert (await post(browser, "/compose", form | {"text": "Well?" + form["text"]})).status_code == 303
        said = heading(s.provider.messages[0])
        assert said.in_reply_to == ("m1@example.test",)
        assert said.references == ("m1@example.test",)
        assert (await browser.get("/compose?reply=01NOBODY")).status_code == 404


@on_the_loop
async def test_what_the_provider_refuses_comes_back_as_it_was_written_with_the_reason(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        form = await written(s, browser)
        s.provider.script.append(REFUSED)
        answer = await post(browser, "/compose?part=form", form)
        assert answer.status_code == 422
        assert "550 5.1.1 no such user" in answer.text
        assert "<html" not in answer.text
        assert fields(answer.text)["text"].replace("\r\n", "\n") == form["text"].replace("\r\n", "\n")
        assert (await post(browser, "/compose", form)).status_code == 303, "the provider changed its mind"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"to": ""}, "nobody is named"),
        ({"to": "nobody"}, "names nobody"),
        ({"author": "eve@else.test"}, "not clear which account"),
        ({"reply": "01NOBODY"}, "no logged message"),
        ({"to": f"{GRACE}\r\nBcc: eve@else.test"}, "names nobody"),
    ],
    ids=["nobody", "no address", "somebody else's name", "an answer to nothing", "a field of one's own"],
)
@on_the_loop
async def test_what_is_no_letter_is_not_sent(tmp_path: Path, wrong: dict[str, str], why: str) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        answer = await post(browser, "/compose", await written(s, browser) | wrong)
        assert answer.status_code == 422
        assert why in answer.text
        assert s.provider.messages == []


@on_the_loop
async def test_nobody_writes_in_a_colleagues_name(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        s.desk.accounts[BOB] = s.desk.accounts[ADA].model_copy(update={"address": BOB, "aliases": ()})
        bob = await s.browser(BOB)
        form = await written(s, bob)
        assert form["author"] == BOB
        assert (await post(bob, "/compose", form | {"author": ADA})).status_code == 422
        assert s.provider.messages == []


@pytest.mark.parametrize("path", ["/compose", "/drafts", "/drafts/discard"])
@on_the_loop
async def test_only_our_own_page_posts(tmp_path: Path, path: str) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        form = await written(s, browser)
        assert (await post(browser, path, form | {"token": ""})).status_code == 403
        forged = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
        assert (await browser.client.post(path, data=form, headers=forged)).status_code == 403
        assert s.provider.messages == []
        assert s.desk.rows(drafts) == []


@on_the_loop
async def test_a_draft_is_there_again_for_its_author_alone_until_it_is_sent_or_discarded(
    tmp_path: Path,
) -> None:
    async with shown(tmp_path) as s:
        s.desk.accounts[BOB] = s.desk.accounts[ADA].model_copy(update={"address": BOB, "aliases": ()})
        browser, bob = await s.browser(ADA), await s.browser(BOB)
        form = await written(s, browser, text="Dear Grace, half", cc="lin@customer.test")
        assert (await post(browser, "/drafts", form)).status_code == 204
        again = fields((await browser.get(f"/compose?to={GRACE}")).text)
        assert (again["text"], again["cc"]) == ("Dear Grace, half", "lin@customer.test")
        assert fields((await bob.get(f"/compose?to={GRACE}")).text)["text"] == ""
        assert fields((await browser.get("/compose?to=lin@customer.test")).text)["text"] == ""
        assert (await post(browser, "/drafts", form | {"text": " "})).status_code == 204
        assert s.desk.rows(drafts) == [], "nothing is left of what was taken back"
        await post(browser, "/drafts", form)
        assert (await post(browser, "/drafts/discard", form)).status_code == 303
        assert s.desk.rows(drafts) == []
        await post(browser, "/drafts", form)
        assert (await post(browser, "/compose", form)).status_code == 303
        assert s.desk.rows(drafts) == []


@on_the_loop
async def test_files_are_kept_with_the_draft_sent_with_it_and_gone_with_it(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser, path = await s.browser(), f"/compose?to={GRACE}"
        form = await written(s, browser, text="")
        part = await post(browser, "/drafts?part=files", form, one=("a.txt", b"one", "text/plain"))
        assert (part.status_code, "<form" in part.text, "a.txt" in part.text) == (200, False, True)
        form |= {"text": "See there", "subject": "Offer"}
        assert (await post(browser, "/drafts", form)).status_code == 204, "who types takes no file off"
        await post(browser, "/drafts", form, two=("b.txt", b"two", "text/plain"))
        first, second = ids(await browser.get(path))
        gone = await post(browser, "/drafts/detach", form | {"detach": first})
        assert ("a.txt" in gone.text, ids(gone)) == (False, [second])
        s.provider.script.append(REFUSED)
        refused = await post(browser, "/compose", form | {"kept": second}, three=("c.txt", b"three", "text/plain"))
        assert refused.status_code == 422
        kept, form = ids(refused), form | {"key": fields(refused.text)["key"]}  # it may be changed and sent again
        assert len(kept) == 2, "what came with it is kept too"
        sent = await post(browser, "/compose", form | {"kept": kept[0]}, more=("d.txt", b"four", "text/plain"))
        assert sent.status_code == 303, sent.text
        _refused, octets = s.provider.messages
        assert [each in octets for each in (b"a.txt", b"b.txt", b"c.txt", b"d.txt")] == [False, True, False, True]
        assert s.desk.rows(draft_files) == s.desk.rows(drafts) == []
        again = await post(browser, "/compose", form | {"kept": kept[0]})
        assert "kept no longer" in again.text
        assert len(s.provider.messages) == 2
        await post(browser, "/drafts", form, one=("a.txt", b"one", "text/plain"))
        await post(browser, "/drafts/discard", form)
        assert s.desk.rows(draft_files) == []


@on_the_loop
async def test_a_drafts_files_have_their_bounds_and_belong_to_its_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_KEPT", 1000)
    async with shown(tmp_path) as s:
        s.desk.accounts[BOB] = s.desk.accounts[ADA].model_copy(update={"address": BOB, "aliases": ()})
        ada, bob = await s.browser(ADA), await s.browser(BOB)
        form = await written(s, ada)
        await post(ada, "/drafts", form, one=("a.txt", b"x" * 600, "text/plain"))
        more = await post(ada, "/drafts", form, two=("b.txt", b"x" * 600, "text/plain"))
        assert (more.status_code, "MB of files are kept" in more.text) == (413, True)
        (kept,) = ids(await ada.get(f"/compose?to={GRACE}"))
        stolen = await post(bob, "/compose", await written(s, bob, kept=kept))
        assert (stolen.status_code, s.provider.messages) == (422, [])
        await post(bob, "/drafts/detach", await written(s, bob, detach=kept))
        assert ids(await ada.get(f"/compose?to={GRACE}")) == [kept]


def ids(answer: Any) -> list[str]:
    """Of the files that the form has."""
    return re.findall(r'name="kept" value="(\w+)"', answer.text)


@on_the_loop
async def test_drafts_that_nobody_came_back_to_are_forgotten(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        form = await written(s, browser, text="old")
        await post(browser, "/drafts", form)
        await s.desk.clock.advance(61 * 86400)
        browser = await s.browser()
        await post(browser, "/drafts", await written(s, browser, about="reply 01X", text="new"))
        assert [row["about"] for row in s.desk.rows(drafts)] == ["reply 01X"]


@on_the_loop
async def test_a_form_that_no_browser_sends_is_refused(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        browser = await s.browser()
        token = await browser.token()
        head = {"sec-fetch-site": "same-origin", "content-type": "multipart/form-data; boundary=b"}
        body = f'--b\r\ncontent-disposition: form-data; name="token"\r\n\r\n{token}\r\n'.encode()
        many = body * 300 + b"--b--\r\n"
        for octets in (many, body + b"--b\r\nbroken", b"", b"--b"):
            answer = await browser.client.post("/drafts", content=octets, headers=head)
            assert answer.status_code in (400, 403)


@on_the_loop
async def test_the_mail_programs_settings_are_shown_to_whom_they_concern_without_the_password(tmp_path: Path) -> None:
    async with shown(tmp_path) as s:
        s.desk.accounts[BOB] = s.desk.accounts[ADA].model_copy(update={"address": BOB})
        ada, bob = await s.browser(ADA), await s.browser(BOB)
        assert (await ada.get(f"/clients/{ADA}")).status_code == 409, "nothing listens"
        s.listening["smtps"] = "127.0.0.1:1465"
        text = (await ada.get(f"/clients/{ADA}")).text
        assert "1465" in text
        assert "Thunderbird" in text
        assert "THE PASSWORD" in text, "in a muttrc, in its place"
        assert (await bob.get(f"/clients/{ADA}")).status_code == 404
