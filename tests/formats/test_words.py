"""Encoded words; the cases stand in test_message under `subject`."""

from __future__ import annotations

from email.charset import BASE64, QP, Charset
from email.header import Header

from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.words import base64_octets, decode_words, raw_text

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=80)


@given(TEXT, st.sampled_from([QP, BASE64]))
def test_reads_back_what_the_standard_library_encodes(text: str, encoding: int) -> None:
    charset = Charset("utf-8")
    charset.header_encoding = encoding
    encoded = Header(text, charset, maxlinelen=60).encode()
    assert decode_words(encoded.replace("\n", "")) == text


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(["=?", "?=", "utf-8", "?q?", "?b?", "=C3", "AAA", " "])).map("".join))
)
def test_never_raises_and_stays_on_one_line(text: str) -> None:
    assert not set(decode_words(text)) & set("\r\n\x00\x7f")


@given(st.binary())
def test_raw_text_never_raises(octets: bytes) -> None:
    raw_text(octets)
    base64_octets(octets)
