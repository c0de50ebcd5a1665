"""HTML mail as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.html import html_to_text, references


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("Hello", "Hello", id="no tags"),
        pytest.param("<p>one</p><p>two</p>", "one\n\ntwo", id="paragraphs"),
        pytest.param("one<br>two<BR/>three<br />four", "one\ntwo\nthree\nfour", id="line breaks"),
        pytest.param("<div>one</div><div>two</div>", "one\ntwo", id="Gmail's lines"),
        pytest.param("<div>one</div><div><br></div><div>two</div>", "one\n\ntwo", id="Gmail's empty line"),
        pytest.param("a <b>bold</b> <i>word</i>.", "a bold word.", id="inline tags"),
        pytest.param(" a\n\t b  <b> c</b>", "a b c", id="white space is one space"),
        pytest.param("a&nbsp;&amp;&lt;&eacute;&#8364;&#x41;", "a &<é€A", id="references"),
        pytest.param("&bogus; &#99999999999; &#0;", "&bogus; \ufffd", id="references that are none"),
        pytest.param("<style>p{}</style><script>if (a<b) x()</script>y", "y", id="style and script are not read"),
        pytest.param("<head><title>t</title></head><body>y", "y", id="nor the title"),
        pytest.param("a<!-- <p>no</p> -->b<!doctype x>c", "abc", id="comments and declarations"),
        pytest.param("<!--[if mso]>x<![endif]-->y", "y", id="Outlook's conditions"),
        pytest.param("<pre>a\n  b\n</pre>c", "a\n  b\n\nc", id="preformatted"),
        pytest.param("<ul><li>one<li>two</ul>", "* one\n* two", id="a list"),
        pytest.param("<table><tr><td>1<td>2<tr><td>3</table>", "1\t2\n3", id="a table"),
        pytest.param("a<blockquote>q<br>r</blockquote>b", "a\n> q\n> r\n\nb", id="a quote"),
        pytest.param(
            "<blockquote>a<blockquote>b</blockquote></blockquote>c", "> a\n> > b\n\nc", id="a quote in a quote"
        ),
        pytest.param('<blockquote style="margin:0 0 0 40px;border: none">a</blockquote>', "a", id="an indent is none"),
        pytest.param("a </blockquote> b", "a\n\nb", id="an end without a beginning"),
        pytest.param("1 < 2 and 3 > 2 <3", "1 < 2 and 3 > 2 <3", id="signs that are no tags"),
        pytest.param('a<img alt=">" src="x">b', "ab", id="a bracket in an attribute"),
        pytest.param('a<img alt="never closed>b<p>c', "ab\n\nc", id="a quote never closed"),
        pytest.param("a<p", "a", id="cut off in a tag"),
        pytest.param("a</script>b", "ab", id="the end of a script that never began"),
        pytest.param("a<script>b", "a", id="cut off in a script"),
        pytest.param("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth", id="unseen characters"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


def test_references() -> None:
    assert references('<img src="cid:a@b"><img src=CID:c&amp;d> url(cid:e)') == {"a@b", "c&d", "e"}


PIECES = [
    "<p>",
    "</p>",
    "<b",
    ">",
    "<",
    '"',
    "'",
    "<!--",
    "-->",
    "<script>",
    "</",
    "&",
    "#",
    "9",
    ";",
    "x",
    " ",
    "<blockquote>",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_never_raises(source: str) -> None:
    html_to_text(source)
    references(source)


@given(
    st.text(st.characters(exclude_characters="<&\u00ad\u200b\u00a0", exclude_categories=("Cc", "Zs", "Zl", "Zp", "Cs")))
)
def test_no_word_is_lost(words: str) -> None:
    assert html_to_text(f"<p>{words}</p>") == words


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        '<a "',
        "<!--",
        "<!",
        "<script>",
        "</script",
        "<",
        "<é",
        "</1",
        "&",
        "&#9",
        "<blockquote>",
        "<p>",
        "<br>",
        "<a b='>",
    ],
)
def test_hostile_documents_are_read_to_their_end(piece: str) -> None:
    html_to_text(piece * 100_000)
