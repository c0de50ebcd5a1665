"""An mbox file as Python's own reader takes it apart."""

from __future__ import annotations

import mailbox
import re
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.mbox import entry

AT = datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC)
LINES = ["From here on\r\n", ">From there\r\n", ">>From\r\n", "text\r\n", "\r\n", "From \r\n", "a\rb\r\n", "no end"]


def written(octets: bytes, size: int = 7) -> bytes:
    return b"".join(entry("ada@x.test", AT, (octets[at : at + size] for at in range(0, len(octets), size))))


def unstuffed(octets: bytes) -> bytes:
    return re.sub(rb"(?m)^>(>*From )", rb"\1", octets)


def test_two_messages_are_two_and_hold_what_they_held(tmp_path: Path) -> None:
    one = b"Subject: a\r\n\r\nFrom here on\r\n>From there\r\nend\r\n"
    file = tmp_path / "m.mbox"
    file.write_bytes(written(one) + written(b"Subject: b\r\n\r\nx"))
    read = mailbox.mbox(file)
    assert [each["subject"] for each in read] == ["a", "b"]
    assert read[0].get_from() == "ada@x.test Mon Nov 23 10:02:11 2026"
    assert unstuffed(read.get_bytes(0)) == one.replace(b"\r\n", b"\n")


@given(st.lists(st.sampled_from(LINES), max_size=12), st.integers(1, 50))
def test_however_it_comes_it_can_be_had_back(lines: list[str], size: int) -> None:
    octets = "".join(lines).encode()
    first, _, rest = written(octets, size).partition(b"\n")
    assert first.startswith(b"From ada@x.test ")
    assert not re.search(rb"(?m)^From ", rest)
    assert unstuffed(rest).rstrip(b"\n") == octets.replace(b"\r\n", b"\n").rstrip(b"\n")
