"""Values of an IMAP command and of its answer: from what imapclient and imaplib give, to what they take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from proxyd.provider.imap_lines import checked

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def as_text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def as_line(line: str) -> bytes:
    checked(line)
    return line.encode("ascii")


def as_octets(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()


def as_number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def aware(when: datetime) -> datetime:
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def quoted(value: str) -> str:
    """A quoted string (RFC 3501 section 4.3): never an atom, so that no character of it means anything."""
    checked(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def uid_set(uids: Sequence[int]) -> bytes:
    """A sequence-set (RFC 3501 section 9): `1:3,7` of 1, 2, 3 and 7."""
    runs: list[list[int]] = []
    for uid in sorted(set(uids)):
        if runs and uid == runs[-1][-1] + 1:
            runs[-1][1:] = [uid]
        else:
            runs.append([uid])
    return ",".join(":".join(map(str, run)) for run in runs).encode()
