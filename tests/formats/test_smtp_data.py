"""What follows DATA, read in blocks: against a reader that goes octet by octet, cut at every place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.smtp_data import DataReader


def naive(stream: bytes) -> tuple[bytes, bool, bytes, bool]:
    """(content, done, rest, faulty) by reading lines that end in CRLF, one after the other."""
    content, rest = b"", stream
    while True:
        line, end, behind = rest.partition(b"\r\n")
        if not end:
            break
        if line == b".":
            faulty = b"\0" in content or b"\r" in content.replace(b"\r\n", b"")
            return lone_lf(content), True, behind, faulty
        content += line.removeprefix(b".") + b"\r\n"
        rest = behind
    return b"", False, b"", False


def lone_lf(content: bytes) -> bytes:
    return b"\r\n".join(part.replace(b"\n", b"\r\n") for part in content.split(b"\r\n"))


def read(*blocks: bytes) -> tuple[bytes, bool, bytes, bool]:
    reader, content, rest, done = DataReader(), b"", b"", False
    for block in blocks:
        if done:
            rest += block
            continue
        more, done, rest = reader.feed(block)
        content += more
    return content, done, rest, bool(reader.fault)


OCTETS = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\xff", b"\0", b"\r\n.\r\n"]), max_size=24
)


@given(OCTETS.map(b"".join), st.lists(st.integers(0, 60), max_size=8))
def test_any_octets_cut_anywhere(octets: bytes, cuts: list[int]) -> None:
    stream = octets + b"\r\n.\r\nQUIT\r\n"
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    blocks = [stream[a:b] for a, b in pairwise(places)]
    assert read(*blocks) == naive(stream)


@pytest.mark.parametrize(
    ("stream", "content", "rest"),
    [
        pytest.param(b".\r\n", b"", b"", id="empty message"),
        pytest.param(b"\r\n.\r\n", b"\r\n", b"", id="one empty line"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", b"", id="a dot alone on its line"),
        pytest.param(b"...a\r\nb..\r\n..\r\n.\r\nQUIT\r\n", b"..a\r\nb..\r\n.\r\n", b"QUIT\r\n", id="leading dots"),
        pytest.param(b"a\nb\r\n.\r\n", b"a\r\nb\r\n", b"", id="a lone LF leaves as CRLF"),
        pytest.param(b"\n\n.\r\n\r\n.\r\n", b"\r\n\r\n.\r\n\r\n", b"", id="a lone LF begins no line of ours"),
    ],
)
def test_cut_at_every_octet(stream: bytes, content: bytes, rest: bytes) -> None:
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == (content, True, rest, False)
    assert read(*(bytes([octet]) for octet in stream)) == (content, True, rest, False)


@pytest.mark.parametrize(
    "ending",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n"],
    ids=repr,
)
def test_what_looks_like_an_end_is_none(ending: bytes) -> None:
    stream = b"first" + ending + b"MAIL FROM:<eve@example.com>\r\n.\r\n"
    content, done, rest, faulty = read(stream)
    assert (done, rest) == (True, b"")
    if not faulty:  # what may leave shows one message to a reader of any of these endings
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")
        assert b"\n" not in stuffed.replace(b"\r\n", b"")
        assert b"\r" not in stuffed.replace(b"\r\n", b"")
        assert b"\r\n.\r\n" not in stuffed


def test_a_fault_is_named_and_the_content_read_to_its_end() -> None:
    reader = DataReader()
    assert reader.feed(b"a\rb\r\n")[1] is False
    assert reader.fault == "a CR without its LF"
    assert reader.feed(b".\r\nNOOP\r\n")[1:] == (True, b"NOOP\r\n")
