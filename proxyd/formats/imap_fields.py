"""The answers to `UID FETCH … (BODY.PEEK[HEADER.FIELDS (…)])` as nearly every server writes them, cut out of a buffer.

Why beside imapclient's parser: catching up reads these few fields of every message that came, a hundred thousand of
them after a long absence, and a parser that takes all of IMAP's grammar costs ten times as much for each. What is
written otherwise in any way is left where it is, for that parser.
"""

from __future__ import annotations

import re

_HEAD = re.compile(rb"\* \d+ FETCH \((?:UID (\d+) )?BODY\[HEADER\.FIELDS \([A-Za-z -]*\)\] \{(\d{1,7})\}\r\n")
_TAIL = re.compile(rb"(?: UID (\d+))?\)\r\n")


def cut_out(octets: bytes) -> tuple[dict[int, bytes], int]:
    """From the front of `octets` on, each answer that lies there whole: the fields by UID; and how many octets they
    were. It ends before the first that is not whole, or is anything else."""
    found: dict[int, bytes] = {}
    at = 0
    while (head := _HEAD.match(octets, at)) is not None:
        start = head.end()
        end = start + int(head[2])
        tail = _TAIL.match(octets, end)
        if tail is None or (uid := head[1] or tail[1]) is None:
            break
        found[int(uid)] = octets[start:end]
        at = tail.end()
    return found, at
