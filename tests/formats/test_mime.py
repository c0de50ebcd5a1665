"""A message's body, read as it arrives: structure, what it costs, and how it compares with the standard library."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.formats.mime import DEEPEST, MOST_PARTS, BodyReader, attachment
from proxyd.model import Attachment, Body


def read(octets: bytes, size: int = 0) -> Body:
    reader = BodyReader()
    for piece in pieces(octets, size):
        reader.feed(piece)
    return reader.finish()


def pieces(octets: bytes, size: int) -> Iterator[bytes]:
    step = size or max(1, len(octets))
    for start in range(0, len(octets), step):
        yield octets[start : start + step]


def crlf(text: str | bytes) -> bytes:
    octets = text.encode() if isinstance(text, str) else text
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def mixed(*parts: str, boundary: str = "b", subtype: str = "mixed") -> bytes:
    """A multipart of `parts`, each with its own header section."""
    inner = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return crlf(
        f"Content-Type: multipart/{subtype}; boundary={boundary}\n\npreamble\n{inner}--{boundary}--\nepilogue\n"
    )


PLAIN = "Content-Type: text/plain\n\nhello"
HTML = "Content-Type: text/html\n\n<p>HTML hello</p>"
PDF = 'Content-Type: application/pdf; name="a.pdf"\nContent-Transfer-Encoding: base64\n\naGVsbG8='


# --- the text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "text", "has_html"),
    [
        pytest.param(crlf("Subject: x\n\nhello\n"), "hello", False, id="plain, no MIME"),
        pytest.param(crlf("\nhello\n"), "hello", False, id="no header at all"),
        pytest.param(crlf("Subject: x\n"), "", False, id="no body at all"),
        pytest.param(b"", "", False, id="nothing"),
        pytest.param(crlf(HTML), "HTML hello", True, id="HTML alone"),
        pytest.param(mixed(PLAIN, HTML, subtype="alternative"), "hello", True, id="of alternatives the plain one"),
        pytest.param(mixed(HTML, PLAIN, subtype="alternative"), "hello", True, id="in any order"),
        pytest.param(
            mixed("Content-Type: text/plain\n\n \n", HTML, subtype="alternative"),
            "HTML hello",
            True,
            id="not an empty one",
        ),
        pytest.param(mixed(PLAIN, PDF, PLAIN), "hello\n\nhello", False, id="text before and behind an attachment"),
        pytest.param(mixed(PLAIN, HTML), "hello\n\nHTML hello", True, id="mixed: both"),
        pytest.param(mixed("\nno header in the part"), "no header in the part", False, id="a part without a header"),
        pytest.param(
            mixed("no empty line\nat all"), "no empty line\nat all", False, id="a part without its empty line"
        ),
        pytest.param(mixed(PLAIN).partition(b"--b--")[0], "hello", False, id="the end is missing"),
        pytest.param(mixed(PLAIN, boundary="a b"), "hello", False, id="a boundary that is not quoted"),
        pytest.param(
            crlf("Content-Type: multipart/mixed\n\n--x\n\nhello"), "--x\n\nhello", False, id="no boundary is named"
        ),
        pytest.param(
            crlf('Content-Type: multipart/mixed; boundary="a"\n\n--a\n\none\n--ab\ntwo\n--a--'),
            "one\n--ab\ntwo",
            False,
            id="a line that only begins like a boundary",
        ),
        pytest.param(mixed("\nx\n --b\ny"), "x\n --b\ny", False, id="nor one that is indented"),
        pytest.param(crlf("Content-Type: nonsense\n\nhello"), "hello", False, id="a type that is none"),
        pytest.param(crlf("Content-Type: text/plain\nContent-Type: text/html\n\n<p>"), "<p>", False, id="said twice"),
        pytest.param(
            b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\xe9\r\n", "café", False, id="a charset of its own"
        ),
        pytest.param(
            crlf(
                "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9=\n!"
            ),
            "café!",
            False,
            id="quoted-printable",
        ),
        pytest.param(
            crlf("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVs!!bG8"),
            "hello",
            False,
            id="base64, broken",
        ),
        pytest.param(b"\r\na\x00b\x07\r\n", "ab", False, id="control characters go"),
    ],
)
def test_text(octets: bytes, text: str, has_html: bool) -> None:
    for size in (0, 1, 7):
        body = read(octets, size)
        assert body.text == text
        assert body.has_html is has_html


def test_new_text_is_without_history_and_text_is_the_whole() -> None:
    body = read(crlf("\nYes.\n\nOn 23 Nov 2026, Ada <ada@x.example> wrote:\n> Seven?\n"))
    assert body.new_text == "Yes."
    assert body.text.endswith("> Seven?")


def test_history_of_html_is_found_too() -> None:
    source = "<div>Yes.</div><div>On 23 Nov 2026, Ada &lt;a@x&gt; wrote:<br><blockquote>Seven?</blockquote></div>"
    assert read(crlf(f"Content-Type: text/html\n\n{source}")).new_text == "Yes."


def test_text_is_cut_at_two_mebibytes_and_says_so() -> None:
    octets = b"\r\n" + b"hello world\r\n" * 300_000
    body = read(octets, 100_000)
    assert body.text.endswith("[cut here: the text is longer than 2 MiB]")
    assert 1_900_000 < len(body.text) < 2 * 1024 * 1024 + 100


# --- attachments -------------------------------------------------------------------------------------------------


def attached(*header: str, content: str = "x") -> Attachment:
    (one,) = read(mixed(PLAIN, "\n".join(header) + "\n\n" + content)).attachments
    return one


@pytest.mark.parametrize(
    ("header", "name", "type", "inline"),
    [
        pytest.param(
            ["Content-Type: application/pdf; name=a.pdf"], "a.pdf", "application/pdf", False, id="by its type"
        ),
        pytest.param(
            ["Content-Type: application/pdf"], "attachment-1.pdf", "application/pdf", False, id="without a name"
        ),
        pytest.param(["Content-Type: a/b"], "attachment-1", "a/b", False, id="without a name, a type of its own"),
        pytest.param(["Content-Disposition: attachment"], "attachment-1.txt", "text/plain", False, id="text, attached"),
        pytest.param(
            ["Content-Type: text/html", "Content-Disposition: inline; filename=x.html"],
            "x.html",
            "text/html",
            False,
            id="HTML with a name",
        ),
        pytest.param(["Content-Type: text/calendar"], "attachment-1.ics", "text/calendar", False, id="an invitation"),
        pytest.param(
            ["Content-Type: a/b", "Content-Disposition: attachment; filename*0*=utf-8''%E2%82; filename*1*=%AC.pdf"],
            "€.pdf",
            "a/b",
            False,
            id="RFC 2231, in sections",
        ),
        pytest.param(
            ["Content-Type: a/b", 'Content-Disposition: attachment; filename="../../x\x07.sh"'],
            "x.sh",
            "a/b",
            False,
            id="a path",
        ),
        pytest.param(
            ["Content-Type: image/png", "Content-ID: <logo>", "Content-Disposition: inline"],
            "attachment-1.png",
            "image/png",
            True,
            id="inline with a Content-ID",
        ),
        pytest.param(
            ["Content-Type: image/png; name=photo.png", "Content-Disposition: inline"],
            "photo.png",
            "image/png",
            False,
            id="a photo shown inline is no logo",
        ),
        pytest.param(
            ["Content-Type: image/png; name=a.png", "Content-ID: <a>"], "a.png", "image/png", False, id="not referenced"
        ),
    ],
)
def test_attachment_is_described(header: list[str], name: str, type: str, inline: bool) -> None:
    one = attached(*header)
    assert (one.name, one.type, one.inline) == (name, type, inline)
    assert one.size == 1
    assert one.sha256 == hashlib.sha256(b"x").hexdigest()


def test_an_image_that_the_html_shows_is_inline() -> None:
    html = 'Content-Type: text/html\n\n<img src="cid:logo@x">'
    image = "Content-Type: image/png\nContent-ID: <logo@x>\n\nPNG"
    other = "Content-Type: image/png\nContent-ID: <other@x>\n\nPNG"
    body = read(mixed(html, image, other, subtype="related"))
    assert [each.inline for each in body.attachments] == [True, False]


def test_a_message_attached_is_one_attachment_named_by_its_subject() -> None:
    inner = mixed(PLAIN, PDF, boundary="b2").decode()
    body = read(mixed(PLAIN, f"Content-Type: message/rfc822\n\nSubject: =?utf-8?q?Angebot_1/2?=\n{inner}"))
    (one,) = body.attachments
    assert one.name == "Angebot 1_2.eml"
    assert one.type == "message/rfc822"
    assert body.text == "hello"


def test_parts_of_a_digest_are_messages() -> None:
    body = read(mixed("\nSubject: one\n\nx", "\nSubject: two\n\ny", subtype="digest"))
    assert [each.name for each in body.attachments] == ["one.eml", "two.eml"]


def test_a_message_that_is_nothing_but_an_attachment() -> None:
    body = read(crlf(PDF))
    assert body.text == ""
    assert [(each.name, each.size) for each in body.attachments] == [("a.pdf", 5)]


def test_attachments_are_taken_out_by_number() -> None:
    octets = mixed(PLAIN, PDF, "Content-Type: a/b\n\nsecond\nline\n")
    for size in (0, 1, 5):
        assert b"".join(attachment(pieces(octets, size), 0)) == b"hello"
        assert b"".join(attachment(pieces(octets, size), 1)) == b"second\r\nline\r\n"
    with pytest.raises(IndexError, match="no attachment 2: the message has 2"):
        list(attachment([octets], 2))


# --- limits ------------------------------------------------------------------------------------------------------


def test_no_more_than_a_hundred_multiparts_within_each_other_are_opened() -> None:
    opened = [f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(DEEPEST * 2)]
    body = read(crlf("".join(opened) + "\nhello"), 1000)
    (one,) = body.attachments
    assert one.type == "multipart/mixed"


def test_no_more_than_a_thousand_parts_are_read() -> None:
    body = read(mixed(*[PDF] * (MOST_PARTS + 500)))
    assert len(body.attachments) == MOST_PARTS - 1


def test_an_attachment_costs_a_buffer_and_not_its_size() -> None:
    content = random.Random(1).randbytes(25_000_000)
    head = mixed(PLAIN, "Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nX").partition(b"X")
    octets = head[0] + crlf(base64.encodebytes(content)) + head[2]
    reader = BodyReader()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for piece in pieces(octets, 262_144):
        reader.feed(piece)
    body = reader.finish()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 2_000_000
    assert body.attachments[0].sha256 == hashlib.sha256(content).hexdigest()


BEGUN = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(BEGUN + b"\r\n" + b"--\r\n" * 200_000, id="lines that might be boundaries"),
        pytest.param(BEGUN + b"--b\r\n" * 200_000, id="a million parts"),
        pytest.param(BEGUN + b"\r\n" + b"x" * 5_000_000, id="one line"),
        pytest.param(BEGUN + b"A: b\r\n" * 100_000, id="a part's header without end"),
        pytest.param(b"Content-Type: a\r\n" + b" x\r\n" * 200_000, id="a field without end"),
        pytest.param(BEGUN + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"AAAA=" * 200_000, id="padding"),
        pytest.param(BEGUN + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"= " * 400_000, id="equals"),
        pytest.param(b"Content-Type: text/html\r\n\r\n" + b'<a "' * 200_000, id="HTML"),
    ],
)
def test_hostile_messages_are_read_to_their_end(octets: bytes) -> None:
    read(octets, 262_144)


# --- against the standard library ----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60).filter(str.strip)
NAMES = st.from_regex(r"[a-zé€][a-z é]{0,10}[a-z]\.(pdf|txt)", fullmatch=True)
ENCODINGS = st.sampled_from(["base64", "quoted-printable", "8bit"])


@st.composite
def messages(draw: st.DrawFn) -> EmailMessage:
    """A message as the standard library builds it."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "x"
    message.set_content(draw(TEXTS), cte=draw(ENCODINGS))
    if draw(st.booleans()):
        message.add_alternative(f"<p>{draw(st.from_regex('[a-z]{1,9}', fullmatch=True))}</p>", subtype="html")
    for _ in range(draw(st.integers(0, 3))):
        content = draw(st.binary(max_size=200))
        message.add_attachment(content, maintype="application", subtype="pdf", filename=draw(NAMES))
    if draw(st.booleans()):
        inner = EmailMessage(policy=email.policy.SMTP)
        inner["Subject"] = "inner"
        inner.set_content("inner text")
        message.add_attachment(inner)
    return message


@settings(deadline=None)
@given(messages(), st.integers(0, 40))
def test_reads_what_the_standard_library_builds(message: EmailMessage, size: int) -> None:
    octets = message.as_bytes()
    body = read(octets, size)
    plain = message.get_body(("plain",))
    assert plain is not None
    text = plain.get_content().removeprefix("\ufeff")  # a byte order mark is no text
    assert body.text == text.replace("\r\n", "\n").strip("\n").rstrip()
    assert body.has_html is (message.get_body(("html",)) is not None)
    files = [part for part in message.iter_attachments() if part.get_content_type() != "message/rfc822"]
    found = [each for each in body.attachments if each.type != "message/rfc822"]
    assert [(each.name, each.sha256) for each in found] == [
        (part.get_filename(), hashlib.sha256(part.get_content()).hexdigest()) for part in files
    ]
    for number, each in enumerate(body.attachments):
        assert hashlib.sha256(b"".join(attachment([octets], number))).hexdigest() == each.sha256


LINES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b'Content-Type: multipart/alternative; boundary="ab"\r\n',
        b"Content-Type: text/html\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: application/x; name*=utf-8''%\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Disposition: attachment; filename=\r\n",
        b"\r\n",
        b"\r\n",
        b"--a\r\n",
        b"--ab\r\n",
        b"--a--\r\n",
        b"--ab-- \t\r\n",
        b"-- \r\n",
        b"--a",
        b"\r",
        b"\n",
        b"aGVsbG8=\r\n",
        b" folded\r\n",
        b"\xff\x00\r\n",
    ]
)


@settings(deadline=None)
@given(st.one_of(st.binary(), st.lists(LINES, max_size=30).map(b"".join)), st.integers(1, 30))
def test_never_raises_and_does_not_depend_on_the_chunks(octets: bytes, size: int) -> None:
    body = read(octets)
    assert read(octets, size) == body
    for number, each in enumerate(body.attachments):
        taken = b"".join(attachment(pieces(octets, size), number))
        assert (len(taken), hashlib.sha256(taken).hexdigest()) == (each.size, each.sha256)


def _nested(inner: list[str]) -> str:
    """A multipart whose boundary is like none within it."""
    return mixed(*inner, boundary=hashlib.sha256(repr(inner).encode()).hexdigest()[:12]).decode()


WELL_FORMED = st.recursive(
    st.sampled_from([PLAIN, "Content-Type: a/b\n\nx\n\ny\n", "\n", "\n--zz\n"]),
    lambda parts: st.lists(parts, min_size=1, max_size=3).map(_nested),
    max_leaves=6,
)


@settings(deadline=None)
@given(WELL_FORMED)
def test_finds_the_parts_that_the_standard_library_finds(source: str) -> None:
    octets = crlf(source)
    leaves = [part for part in email.message_from_bytes(octets).walk() if not part.is_multipart()]
    expected = [part.get_payload(decode=True) for part in leaves if part.get_content_type() == "a/b"]
    body = read(octets, 11)
    assert [each.size for each in body.attachments] == [len(each) for each in expected]
    assert body.text.count("hello") == sum(b"hello" in part.get_payload(decode=True) for part in leaves)
