"""Octets to text."""

from __future__ import annotations

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.charsets import text_of


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        pytest.param("é".encode(), "utf-8", "é", id="UTF-8"),
        pytest.param("é".encode(), "", "é", id="UTF-8, unnamed"),
        pytest.param("é".encode(), "us-ascii", "é", id="UTF-8, called ASCII"),
        pytest.param("é".encode(), "utf8mb4", "é", id="UTF-8, under an unknown name"),
        pytest.param("é€".encode("cp1252"), "iso-8859-1", "é€", id="Windows-1252, called Latin-1"),
        pytest.param("é€".encode("cp1252"), "", "é€", id="Windows-1252, unnamed"),
        pytest.param("é€".encode("cp1252"), "utf-8", "é€", id="Windows-1252, called UTF-8"),
        pytest.param(b"\x81\x8d", "", "\x81\x8d", id="octets that are nothing"),
        pytest.param("你好世界".encode("gb18030"), "gb2312", "你好世界", id="GB 2312"),
        pytest.param("こんにちは".encode("iso2022_jp"), "ISO-2022-JP", "こんにちは", id="JIS"),
        pytest.param("Привет".encode("koi8-r"), "KOI8-R", "Привет", id="KOI8-R"),
        pytest.param("Привет".encode("cp1251"), "windows-1251", "Привет", id="Windows-1251"),
        pytest.param("안녕".encode("cp949"), "ks_c_5601-1987", "안녕", id="Korean"),
        pytest.param(
            "grün, grüner, am grü".encode()[:-1], "utf-8", "grün, grüner, am gr\ufffd", id="cut in a character"
        ),
        pytest.param(b"abc", "unicode_escape", "abc", id="a codec that is none of mail's"),
        pytest.param(b"abc", '"utf-8"', "abc", id="quoted"),
        pytest.param(b"", "utf-16", "", id="nothing"),
    ],
)
def test_text_of(octets: bytes, charset: str, text: str) -> None:
    assert text_of(octets, charset) == text


@given(
    st.binary(),
    st.one_of(st.text(max_size=20), st.sampled_from(["utf-16", "utf-7", "utf-32", "hz", "iso2022_jp", "idna"])),
)
def test_never_raises(octets: bytes, charset: str) -> None:
    text_of(octets, charset)


def test_an_unknown_name_leaves_nothing_behind() -> None:
    text_of(b"x", "made-up-name-1")
    assert not any("made" in name for name in encodings._cache)  # type: ignore[attr-defined]
