"""What follows DATA, read in blocks of any size, sans I/O (RFC 5321 section 4.5.2).

Why this way: reading line by line costs 25 ms a megabyte and holds the whole. Here a block is searched and unstuffed by
`bytes.find`, `count` and `replace`; at most four octets wait for the next block.

Only CRLF.CRLF ends the content. What some other server could take for a line end must not leave (SMTP smuggling,
CVE-2023-51764 and its kin): a lone LF becomes CRLF, a lone CR or a NUL is a `fault`, and such a message is refused.
"""

from __future__ import annotations

import re

_END = b"\r\n.\r\n"
_LONE_LF = re.compile(rb"(?<!\r)\n")


class DataReader:
    """Feed blocks until `done`; the content comes out without its stuffed dots and without the dot that ends it.

    `fault` is a sentence once the content holds what no message may hold; the rest is still read to its end.
    """

    def __init__(self) -> None:
        self.fault = ""
        self._held = b"\r\n"  # not given out yet: it could begin the end. DATA's own CRLF stands before the first line
        self._first = True  # that CRLF is no content: it is cut off again

    def feed(self, block: bytes) -> tuple[bytes, bool, bytes]:
        """(content, done, rest): `rest` is what follows the end and belongs to the next command."""
        data = self._held + block
        end = data.find(_END) if b"." in data else -1  # one octet is found thirty times faster than five
        if end >= 0:
            return self._content(data[: end + 2]), True, data[end + len(_END) :]
        keep = next((n for n in (4, 3, 2, 1) if data.endswith(_END[:n])), 0)
        cut = len(data) - keep
        self._held = data[cut:]
        return self._content(data[:cut]), False, b""

    def _content(self, raw: bytes) -> bytes:
        """`raw` begins where the last block was cut, never between a CR and its LF, or a CRLF and its dot."""
        if not raw:
            return b""
        ends = raw.count(b"\r\n")
        if not self.fault:
            if b"\0" in raw:
                self.fault = "a NUL octet"
            elif raw.count(b"\r") != ends:
                self.fault = "a CR without its LF"
        content = raw.replace(b"\r\n.", b"\r\n") if b"." in raw else raw
        if raw.count(b"\n") != ends:
            content = _LONE_LF.sub(b"\r\n", content)
        if self._first:
            self._first = False
            return content[2:]
        return content
