"""Parameters and file names."""

from __future__ import annotations

from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.parameters import LONGEST_NAME, file_name, parse, safe_name


@pytest.mark.parametrize(
    ("body", "value", "parameters"),
    [
        pytest.param(b"text/plain", "text/plain", {}, id="none"),
        pytest.param(b"Text/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}, id="case"),
        pytest.param(b'a/b; x="y;z"; w = v ', "a/b", {"x": "y;z", "w": "v"}, id="quoted and spaced"),
        pytest.param(rb'a/b; x="a\"b\\c"', "a/b", {"x": 'a"b\\c'}, id="escaped"),
        pytest.param(b"a/b;; ;x=1;", "a/b", {"x": "1"}, id="empty ones"),
        pytest.param(b'a/b; x="open', "a/b", {"x": "open"}, id="a quote never closed"),
        pytest.param(b"a/b; name=my file.pdf", "a/b", {"name": "my file.pdf"}, id="unquoted spaces"),
        pytest.param(b"a/b; x=1; x=2", "a/b", {"x": "1"}, id="said twice: the first"),
        pytest.param(b"a; n*=utf-8''%e2%82%ac", "a", {"n": "€"}, id="RFC 2231"),
        pytest.param(b"a; n*=iso-8859-1'de'gr%FCn", "a", {"n": "grün"}, id="RFC 2231, another charset"),
        pytest.param(b"a; n*1=b; n*0=a; n*2=c", "a", {"n": "abc"}, id="sections in any order"),
        pytest.param(b"a; n*0*=utf-8''%c3; n*1*=%a9; n*2=%41", "a", {"n": "é%41"}, id="sections, coded and not"),
        pytest.param(b"a; n=plain; n*=utf-8''coded", "a", {"n": "coded"}, id="both: the coded one"),
        pytest.param(b"a; n*=nocharset%41", "a", {"n": "nocharsetA"}, id="coded without charset"),
        pytest.param(b"a; n*=x'y'%zz%", "a", {"n": "%zz%"}, id="badly coded"),
        pytest.param(b"", "", {}, id="nothing"),
    ],
)
def test_parse(body: bytes, value: str, parameters: dict[str, str]) -> None:
    assert parse(body) == (value, parameters)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        pytest.param("offer.pdf", "offer.pdf", id="plain"),
        pytest.param("../../etc/passwd", "passwd", id="a path"),
        pytest.param("C:\\Users\\ada\\offer.pdf", "offer.pdf", id="a path of Windows"),
        pytest.param("/", "", id="a path alone"),
        pytest.param("..", "", id="dots"),
        pytest.param(".bashrc", "bashrc", id="a hidden file"),
        pytest.param("a\r\nb\x00.pdf", "ab.pdf", id="control characters"),
        pytest.param("fdp.\u202eexe", "fdp.exe", id="turned around"),
        pytest.param('a<b>:"c|?*.pdf', "a_b___c___.pdf", id="what Windows cannot have"),
        pytest.param("con.txt", "_con.txt", id="a device of Windows"),
        pytest.param("contract.txt", "contract.txt", id="that only begins like one"),
        pytest.param("x" * 500 + ".pdf", "x" * (LONGEST_NAME - 4) + ".pdf", id="too long: the ending stays"),
        pytest.param(" a. ", "a", id="spaces and dots around"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_safe_name(said: str, name: str) -> None:
    assert safe_name(said) == name


@pytest.mark.parametrize(
    ("disposition", "content_type", "name"),
    [
        pytest.param({"filename": "a.pdf"}, {"name": "b.pdf"}, "a.pdf", id="the disposition's first"),
        pytest.param({}, {"name": "b.pdf"}, "b.pdf", id="the type's"),
        pytest.param({"filename": "=?utf-8?q?=C3=A9.pdf?="}, {}, "é.pdf", id="encoded as a word"),
        pytest.param({"filename": "=?utf-8?q?=2E=2E=2Fx?="}, {}, "x", id="a path, encoded"),
        pytest.param({}, {}, "", id="none"),
    ],
)
def test_file_name(disposition: dict[str, str], content_type: dict[str, str], name: str) -> None:
    assert file_name(disposition, content_type) == name


@given(st.text(max_size=40).filter(lambda text: text.strip() and "\r" not in text and "\n" not in text))
def test_reads_back_what_the_standard_library_writes(name: str) -> None:
    message = Message()
    message.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))
    assert parse(message["Content-Disposition"].encode()) == ("attachment", {"filename": name})


@given(
    st.one_of(
        st.binary(), st.lists(st.sampled_from([b";", b"n", b"*", b"0", b"=", b'"', b"'", b"%4", b" "])).map(b"".join)
    )
)
def test_never_raises(body: bytes) -> None:
    _, parameters = parse(body)
    name = file_name(parameters, parameters)
    assert "/" not in name
    assert len(name) <= LONGEST_NAME


def test_hostile_parameters_are_read_to_their_end() -> None:
    for body in (b"a; n*0=x;" * 500_000, b'a; n="' + b"\\" * 1_000_000, b"a;" + b" " * 1_000_000, b"a; =" * 200_000):
        parse(body)
