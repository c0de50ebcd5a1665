"""Typed, blocking IMAP commands on one connection (RFC 3501 and what our work needs of UIDPLUS, IDLE, SPECIAL-USE).

`provider/imap*` alone imports imapclient. Each method is one command, waits for its answer, and raises what
`proxyd.errors` names after who must act; every one of them may raise `Unreachable` (the connection is gone: open
another) and `Throttled`. Not safe for two threads: a `workers.Lane` gives one connection's calls their order. Only
`drop` may be called from anywhere, at any time.

Message-IDs and header fields come from strangers: no value with CR, LF or NUL is ever put into a command
(`imap_lines.checked`), and a search value is always quoted. Nothing here marks a message read: folders are opened with
EXAMINE, bodies and fields are fetched by BODY.PEEK.
"""

from __future__ import annotations

from proxyd.provider.imap_errors import Misconfigured, Throttled, Unreachable, health_of
from proxyd.provider.imap_folders import Folders, Opened
from proxyd.provider.imap_idle import Idling
from proxyd.provider.imap_lines import UnsafeValue
from proxyd.provider.imap_messages import PART, Appended, Facts, Messages
from proxyd.provider.imap_told import Status, Told

__all__ = [
    "PART",
    "Appended",
    "Connection",
    "Facts",
    "Misconfigured",
    "Opened",
    "Status",
    "Throttled",
    "Told",
    "Unreachable",
    "UnsafeValue",
    "health_of",
]


class Connection(Folders, Messages, Idling):
    """Everything that one connection can be asked for."""
