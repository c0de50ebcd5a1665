"""Content-Transfer-Encodings, undone piece by piece."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.transfer import Base64Encoder, base64_length, decoder


def decoded(encoding: str, octets: bytes, size: int = 0) -> bytes:
    reading = decoder(encoding)
    pieces = [octets[start : start + size] for start in range(0, len(octets), size)] if size else [octets]
    return b"".join([*map(reading.feed, pieces), reading.finish()])


@pytest.mark.parametrize(
    ("encoding", "octets", "result"),
    [
        pytest.param("base64", b"aGVs\r\nbG8=\r\n", b"hello", id="base64"),
        pytest.param("BASE64 ", b"aGVsbG8=", b"hello", id="in capitals"),
        pytest.param("base64", b"aGVsbG8", b"hello", id="without padding"),
        pytest.param("base64", b"aGV\xff!sb G8", b"hello", id="with what is not in the alphabet"),
        pytest.param("base64", b"=aGVsbG8=", b"hello", id="with a stray ="),
        pytest.param("base64", b"aGVsbG8=\r\n-- \r\nlist footer", b"hello", id="with a footer behind it"),
        pytest.param("base64", b"aGVsbA==\r\nlist footer", b"hell", id="two paddings and a footer"),
        pytest.param("base64", b"a", b"", id="six bits are no octet"),
        pytest.param("base64", b"", b"", id="nothing"),
        pytest.param("quoted-printable", b"a=3Db=\r\nc", b"a=bc", id="quoted-printable"),
        pytest.param("quoted-printable", b"a= \t\r\nb", b"ab", id="a soft break with space behind it"),
        pytest.param("quoted-printable", b"caf=e9 =zz =", b"caf\xe9 =zz ", id="half broken"),
        pytest.param("quoted-printable", b"a=\r\n", b"a", id="a soft break at the end"),
        pytest.param("x-uuencode", b"begin 644 x\r\n%:&5L;&\\ \r\n`\r\nend\r\n", b"hello", id="uuencode"),
        pytest.param("x-uuencode", b"no begin\r\n%:&5L;&\\ \r\n", b"", id="uuencode that never begins"),
        pytest.param("8bit", b"a\xff=3D", b"a\xff=3D", id="as it stands"),
        pytest.param("unheard-of", b"a=3D", b"a=3D", id="unknown"),
    ],
)
def test_decoded(encoding: str, octets: bytes, result: bytes) -> None:
    assert decoded(encoding, octets) == result
    assert decoded(encoding, octets, 1) == result, "octet by octet too"


@given(st.binary(), st.integers(1, 100), st.sampled_from(["base64", "quoted-printable", "x-uuencode", "8bit"]))
def test_reads_back_what_the_standard_library_encodes(octets: bytes, size: int, encoding: str) -> None:
    coded = {
        "base64": base64.encodebytes,
        "quoted-printable": quopri.encodestring,
        "x-uuencode": _uuencoded,
        "8bit": bytes,
    }[encoding](octets)
    assert decoded(encoding, coded, size) == octets


def _uuencoded(octets: bytes) -> bytes:
    lines = (binascii.b2a_uu(octets[start : start + 45]) for start in range(0, len(octets), 45))
    return b"begin 644 x\n" + b"".join(lines) + b"`\nend\n"


@given(st.binary(), st.integers(1, 10), st.sampled_from(["base64", "quoted-printable", "x-uuencode"]))
def test_never_raises_and_does_not_depend_on_the_pieces(octets: bytes, size: int, encoding: str) -> None:
    assert decoded(encoding, octets, size) == decoded(encoding, octets, 10_000) or encoding == "quoted-printable"


@given(pieces=st.lists(st.binary(max_size=20)))
def test_base64_is_made_from_any_pieces(pieces: list[bytes]) -> None:
    encoder = Base64Encoder()
    made = b"".join([*map(encoder.feed, pieces), encoder.finish()])
    assert made == base64.b64encode(b"".join(pieces))
    assert len(made) == base64_length(len(b"".join(pieces)))
