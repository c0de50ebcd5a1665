"""The hostile corpus: safe, its text readable, bounded in time and memory; html.parser judges what is left."""

from __future__ import annotations

import time
import tracemalloc
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.message_html import message_html
from proxyd.formats.safe_html import _STYLES, _TAGS, MOST_SOURCE, safe_html
from tests.formats import hostile

SECONDS = 30.0  # of processor time; a bomb that works takes minutes
OCTETS = 200 * 1024 * 1024


class Judge(HTMLParser):
    """What a document has in it, by another's reading."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def judged(document: str) -> Judge:
    judge = Judge()
    judge.feed(document)
    judge.close()
    return judge


def assert_safe(document: str, *, remote: bool = False) -> Judge:
    judge = judged(document)
    assert judge.tags <= _TAGS
    for tag, name, value in judge.attributes:
        assert not name.startswith("on")
        assert name not in ("srcset", "background", "action", "ping", "id", "class", "name", "xlink:href")
        if name == "src":
            assert (
                value.startswith(("data:image/png", "data:image/jpeg", "data:image/gif", "data:image/webp")) or remote
            )
        if name == "href":
            assert value.lower().startswith(("https://", "http://", "mailto:", "tel:"))
        if name == "style":
            assert {each.partition(":")[0].strip() for each in value.split(";") if each.strip()} <= _STYLES
            assert not any(word in value.lower() for word in ("url", "expression", "import", "\\"))
        if tag == "a":
            assert (tag, "rel", "noopener noreferrer nofollow") in judge.attributes
    return judge


@pytest.mark.parametrize("name", hostile.HTML)
def test_nothing_of_it_is_left_and_its_text_is(name: str) -> None:
    judge = assert_safe(safe_html(hostile.HTML[name], {}).html)
    if name not in ("mutation", "svg", "math", "conditional comment"):
        assert "the text" in "".join(judge.text)
    assert_safe(safe_html(hostile.HTML[name], {}, remote=True).html, remote=True)


@pytest.mark.parametrize("name", hostile.BOMBS)
def test_no_document_takes_long_or_much(name: str) -> None:
    began = time.thread_time()
    tracemalloc.start()
    try:
        shown = safe_html(hostile.BOMBS[name], {})
        assert tracemalloc.get_traced_memory()[1] < OCTETS
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < SECONDS
    assert "the text" in shown.html
    assert len(shown.html) < 10 * MOST_SOURCE


STRANGE = {
    "50 deep": hostile.nested(50),
    "1,000 parts": hostile.many_parts(1000),
    "3,000 parts": hostile.many_parts(3000),
    "RFC 2231": hostile.parameters(5000),
    "zip of a bomb": hostile.zip_of_a_bomb(),
    "wrong charset": hostile.whole("the text\udce9", "text/html; charset=utf-16"),
    "no such charset": hostile.whole("the text", "text/html; charset=x-evil"),
    "utf-7": hostile.whole("the text+ADw-script+AD4-alert(1)+ADw-/script+AD4-", "text/html; charset=utf-7"),
    "no boundary": hostile.whole("the text<script>alert(1)</script>", "multipart/alternative"),
    "plain": hostile.whole("the text <script>alert(1)</script> & more", "text/plain"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_message_is_shown_safely_with_its_text(name: str) -> None:
    said = message_html([STRANGE[name][at : at + 65536] for at in range(0, len(STRANGE[name]), 65536)])
    judge = assert_safe(safe_html(said.source, said.pictures).html)
    if name != "wrong charset":  # read as what it says, it is other letters
        assert "the text" in "".join(judge.text)


def shown(octets: bytes) -> str:
    said = message_html([octets])
    return safe_html(said.source, said.pictures).html


def test_a_picture_of_the_message_itself_stands_in_the_page() -> None:
    assert '<img src="data:image/png;base64,iVBOR' in shown(hostile.picture("logo@x"))
    assert '<img src="data:image/jpeg;base64,' in shown(hostile.picture("logo@x", "image/jpg"))


@pytest.mark.parametrize(
    "octets",
    [
        hostile.picture("logo@x", "image/svg+xml", b"<svg onload=alert(1)>"),
        hostile.picture("logo@x", "text/html", b"<script>"),
        hostile.picture("logo@x", shown="other@x"),
        hostile.picture("logo@x", octets=bytes(5 * 1024 * 1024)),
    ],
    ids=["svg", "html", "another's id", "too large"],
)
def test_what_is_no_picture_of_it_is_not_shown(octets: bytes) -> None:
    assert "src=" not in shown(octets)
    assert "the text" in shown(octets)


def test_the_richest_alternative_is_shown_and_nothing_twice() -> None:
    parts = (
        "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n--b--\r\n"
    )
    assert shown(hostile.whole(parts, "multipart/alternative; boundary=b")) == "<b>rich</b>"
    mixed = parts.replace("text/plain", "text/plain; charset=utf-8")
    both = shown(hostile.whole(mixed, "multipart/mixed; boundary=b"))
    assert "<pre>plain" in both
    assert "<b>rich</b>" in both


def test_pictures_from_elsewhere_wait_until_they_are_asked_for() -> None:
    source = "<img src='http://x.test/a.png' alt=A><img src=//x.test/b.png><img src='HTTPS://x.test/c'>"
    assert safe_html(source, {}).blocked == 3
    assert "x.test" not in safe_html(source, {}).html
    asked = safe_html(source, {}, remote=True)
    assert asked.blocked == 0
    assert asked.html.count("x.test") == 3


def test_how_mail_looks_is_kept() -> None:
    source = (
        "<body bgcolor='#eee' style='color:#333;position:absolute'><table width=600 cellpadding=0><tr>"
        "<td align=center style=\"padding:10px; font-family: Arial, 'Helvetica Neue'\">5 &lt; 6 &amp; "
        "<font color=red>red</font></td></tr>"
    )
    html = safe_html(source, {}).html
    for kept in (
        'bgcolor="#eee"',
        "color:#333",
        'width="600"',
        'align="center"',
        "padding:10px",
        "Arial",
        "5 &lt; 6 &amp; ",
    ):
        assert kept in html
    assert "position" not in html


@given(st.text(alphabet="<>/='\" abpimgscrit&;:-!\\", max_size=400))
def test_whatever_is_written_is_safe(source: str) -> None:
    assert_safe(safe_html(source, {}).html)
