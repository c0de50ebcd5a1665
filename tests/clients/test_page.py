"""The page in a real Chromium, before the demo's daemon: what a person does there, from the link to the answer."""

from __future__ import annotations

import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.clients.browser import Browser, chromium

GRACE = "grace@customer.example"
ADA = "ada@proxyd.example"
DESK, PHONE = 1280, 390  # pixels


@dataclass
class Demo:
    """`proxyd demo` while it stays up."""

    folder: str
    password: str
    smtp: int

    def proxyd(self, *words: str) -> str:
        command = [sys.executable, "-m", "proxyd", *words, "--config", self.folder, "--data", self.folder]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.proxyd("timeline", GRACE, "--json"))["messages"]
        return found

    def grace_answers(self, text: str, to: str, html: str = "", subject: str = "Re: Offer: one compiler") -> None:
        """From her own mail program, to the mail with this Message-ID; "" = it names none."""
        message = EmailMessage()
        message["From"], message["To"] = f"Grace Hopper <{GRACE}>", ADA
        message["Subject"], message["Date"] = subject, formatdate()
        message["Message-ID"] = make_msgid(domain="customer.example")
        if to:
            message["In-Reply-To"] = to
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=120) as smtp:
            smtp.login(GRACE, self.password)
            smtp.send_message(message, GRACE, [ADA])


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        running = subprocess.Popen(
            [sys.executable, "-m", "proxyd", "demo"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": folder, "NO_COLOR": "1", "COLUMNS": "300"},
        )
        assert running.stderr is not None
        told = []
        for line in running.stderr:
            told.append(line)
            if "until Ctrl-C" in line:
                break
        words = "".join(told)
        try:
            house = re.search(r"--data (\S+)", words)
            password = re.search(rf"at the provider: .*{GRACE} (\S+)", words)
            port = re.search(r"sends on SMTP port\s+(\d+)", words)
            assert house, words
            assert password, words
            assert port, words
            yield Demo(house[1], password[1], int(port[1]))
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def browser(demo: Demo, window: Browser) -> Iterator[Browser]:
    """Signed in, at the contacts, on a desk. At the end nothing was found wrong by the browser itself."""
    window.shape(DESK, dark=False)
    window.go(demo.proxyd("web"))
    window.one(".bar")
    yield window
    assert window.complaints() == []


def open_grace(browser: Browser) -> None:
    browser.one(f'#list a[href="/contacts/{GRACE}"]').click()
    browser.sees("Grace Hopper", "h1")
    browser.until(lambda: browser.run("return document.body.dataset.live === 'yes'"), "the page listens for news")


def test_a_link_opens_the_page_and_opens_it_once(demo: Demo, window: Browser) -> None:
    link = demo.proxyd("web")
    window.go(link)
    window.sees("Grace Hopper", "#list")
    assert "login" not in window.driver.current_url
    window.one(".leave button").click()
    window.sees("Sign in", "h1")
    window.go(link)
    window.sees("no longer works", "h1")
    assert all("403" in each for each in window.complaints()), "the page says so by its status too"


def test_a_contact_is_found_as_one_types_and_by_keys(browser: Browser, demo: Demo) -> None:
    demo.proxyd("contact", "add", "alan@bletchley.example", "--name", "Alan Turing")
    browser.sees("Alan Turing", "#list")
    browser.press("/")
    browser.press("gra")
    browser.until(lambda: len(browser.every("#list .row")) == 1, "only Grace is listed")
    browser.sees("1 contact", "#list ~ *, body")
    browser.press(Keys.ARROW_DOWN)
    browser.press(Keys.ENTER)
    browser.sees("Grace Hopper", "h1")
    browser.press("j")
    focused = browser.run("return document.activeElement.textContent")
    assert "Alan Turing" in focused


def test_a_thread_is_read_its_quoted_part_folded_its_file_opened(browser: Browser) -> None:
    open_grace(browser)
    story = browser.text("#timeline")
    assert "here is our offer for one compiler" in story
    assert story.count("here is our offer for one compiler") == 1, "the quoted one is folded"
    browser.one("details.quoted summary").click()
    browser.sees("> here is our offer", "details.quoted")
    browser.one("details.facts summary").click()
    browser.sees("One copy in Sent, filed by proxyd.", "details.facts")
    before = browser.driver.current_window_handle
    browser.one(".file a").click()
    (tab,) = browser.until(lambda: [h for h in browser.driver.window_handles if h != before], "a tab for the file")
    browser.driver.switch_to.window(tab)
    assert browser.run("return document.contentType") == "application/pdf"
    browser.driver.close()
    browser.driver.switch_to.window(before)


def test_the_customers_answer_appears_without_reloading(browser: Browser, demo: Demo) -> None:
    open_grace(browser)
    browser.run("window.stayed = true")
    browser.one("details.quoted summary").click()
    (offer,) = (each for each in demo.messages() if each["direction"] == "outgoing" and each["source"] == "smtp")
    demo.grace_answers("When will it be ready?", offer["message_id"])
    browser.sees("When will it be ready?", "#timeline")
    browser.sees("New message from Grace Hopper", "body")
    assert browser.run("return window.stayed"), "it is the same page"
    assert browser.one("details.quoted").get_attribute("open"), "and as it was left"


def test_a_designed_message_is_shown_in_a_frame_in_which_nothing_runs_or_loads(browser: Browser, demo: Demo) -> None:
    open_grace(browser)
    tracker = '<img src="http://127.0.0.1:1/tracker.png" onerror="document.title=1">'
    html = f"<h1>Designed</h1><script>top.document.title='taken'</script>{tracker}<style>h1{{color:red}}</style>"
    demo.grace_answers("In plain words.", demo.messages()[0]["message_id"], html)
    browser.sees("In plain words.", "#timeline")
    browser.one("details.designed summary").click()
    frame = browser.one("details.designed iframe")
    browser.driver.switch_to.frame(frame)
    try:
        browser.until(lambda: "Designed" in browser.driver.page_source, "the frame shows it")
        assert "tracker" not in browser.driver.page_source
    finally:
        browser.driver.switch_to.default_content()
    assert browser.driver.title.startswith("Grace Hopper")


def test_an_answer_is_written_kept_over_a_reload_and_sent(browser: Browser, demo: Demo) -> None:
    with tempfile.NamedTemporaryFile(suffix=".txt", prefix="terms-") as file:
        file.write(b"thirty days")
        file.flush()
        open_grace(browser)
        browser.one('.thread a[href^="/compose?reply="]').click()
        text = browser.one("#composer textarea")
        browser.until(
            lambda: browser.run("return document.activeElement.tagName") == "TEXTAREA", "one can type at once"
        )
        browser.press("By the first of March.")
        browser.sees("Draft kept", "#composer .kept")
        browser.driver.refresh()
        text = browser.one("#composer textarea")
        assert (text.get_attribute("value") or "").startswith("By the first of March.")
        browser.one("#composer [name=files]").send_keys(file.name)
        browser.sees(Path(file.name).name, "#composer .attached")
        browser.driver.refresh()
        browser.sees(Path(file.name).name, "#composer .attached")
        assert browser.barriers() == [], "while one writes"
        browser.one("#composer .send").click()
        browser.sees("Sent.", "#composer")
        browser.sees("By the first of March.", "#timeline")
    newest = demo.messages()[0]
    assert (newest["state"], newest["source"], newest["subject"]) == ("sent", "api", "Re: Offer: one compiler")
    assert [each["name"] for each in newest["attachments"]] == [Path(file.name).name]
    assert newest["thread"] == demo.messages()[-1]["thread"]
    browser.driver.refresh()
    browser.sees("By the first of March.", "#timeline")
    assert not browser.one("body").find_elements("css selector", "#composer form"), "it is not written again"


def test_mail_that_names_no_other_is_accepted_or_refused(browser: Browser, demo: Demo) -> None:
    home = browser.home()
    for subject in ("Another question", "Lunch on Friday"):
        demo.grace_answers("In plain words.", "", subject=subject)

    def listed() -> bool:
        browser.go(f"{home}/suggestions")
        return {"Another question", "Lunch on Friday"} <= {each.text for each in browser.every(".suggestion h2")}

    browser.until(listed, "both wait for a word")
    assert browser.barriers() == []
    button(browser, "Lunch on Friday", "refuse").click()
    browser.until(lambda: len(browser.every(".suggestion")) == 1, "one is refused")
    button(browser, "Another question", "accept").click()
    browser.sees("Nothing to decide", "#suggestions")
    browser.go(f"{home}/contacts/{GRACE}")
    browser.sees("Another question", "#timeline")
    assert "Lunch on Friday" not in browser.text("#timeline")
    (accepted,) = (each for each in demo.messages() if each["subject"] == "Another question")
    assert accepted["thread"] in {each["thread"] for each in demo.messages() if each is not accepted}


def button(browser: Browser, subject: str, word: str) -> WebElement:
    (card,) = (each for each in browser.every(".suggestion") if subject in each.text)
    return card.find_element("css selector", f'form[action$="/{word}"] button')


def test_two_contacts_become_one_person_and_two_again(browser: Browser, demo: Demo) -> None:
    demo.proxyd("contact", "add", "rear.admiral@navy.example")
    open_grace(browser)
    browser.one(".change summary").click()
    browser.one('.change [name="address"]').send_keys("rear.admiral@navy.example" + Keys.ENTER)
    browser.sees("rear.admiral@navy.example", ".person .muted")
    browser.sees("Customer Inc.", ".person .muted")
    browser.one(".change summary").click()
    assert browser.barriers() == [], "while one changes"
    browser.one(".addresses button").click()
    browser.sees("rear.admiral@navy.example", "h1")
    browser.one('.person a[href^="/companies/"]').click()
    browser.sees("navy.example", "h1")
    browser.one('.places a[href="/companies"]').click()
    browser.sees("Customer Inc.", "main")


PAGES = (
    "/contacts",
    "/companies",
    f"/contacts/{GRACE}",
    "/contacts/nobody@else.example",
    f"/compose?to={GRACE}",
    "/search?q=compiler",
    "/suggestions",
    "/accounts",
    f"/clients/{ADA}",
    "/why",
)


@pytest.mark.parametrize("width", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_stops_anybody_and_nothing_sticks_out(browser: Browser, width: int, dark: bool) -> None:
    home = browser.home()
    browser.shape(width, dark=dark)
    for path in PAGES:
        browser.go(home + path)
        assert browser.barriers() == [], path
        assert not browser.overflows(), path
        dark_ground = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(17, 19, 24)"
        assert dark_ground is dark


def test_a_phone_shows_the_contacts_first_and_the_way_back(browser: Browser) -> None:
    browser.shape(PHONE, dark=False)
    open_grace(browser)
    assert not browser.every("#list")[0].is_displayed()
    browser.one(".back").click()
    browser.sees("Alan Turing", "#list")


def test_one_gets_to_the_content_past_everything_else(browser: Browser) -> None:
    open_grace(browser)
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"
    browser.press(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"
