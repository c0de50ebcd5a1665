"""Messages as one mbox file (RFC 4155), in the variant that loses nothing (mboxrd): every line that begins with any
number of `>` and `From ` gets one `>` more; line ends are Unix's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

_FROM = re.compile(rb"^(?=>*From )", re.MULTILINE)
_LONGEST_HELD = 1024 * 1024  # octets of a line that are waited for


def entry(sender: str, at: datetime, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One message, its octets in chunks of any size."""
    author = "".join(sender.split()) or "MAILER-DAEMON"
    yield f"From {author} {at.astimezone(UTC).strftime('%a %b %d %H:%M:%S %Y')}\n".encode("utf-8", "replace")
    rest = b""
    begins = True  # is the first octet of `rest` the first of a line?
    for chunk in chunks:
        rest += chunk
        end = rest.rfind(b"\n") + 1
        if not end and len(rest) <= _LONGEST_HELD:
            continue
        end = end or len(rest) - 1  # a CR may be its last octet
        yield _stuffed(rest[:end], begins)
        begins = rest[end - 1 : end] == b"\n"
        rest = rest[end:]
    yield _stuffed(rest, begins)
    yield b"\n" if begins and not rest else b"\n\n"


def _stuffed(octets: bytes, begins: bool) -> bytes:
    lines = octets.replace(b"\r\n", b"\n")
    return _FROM.sub(b">", lines) if begins else lines[:1] + _FROM.sub(b">", lines[1:]) if lines else b""
