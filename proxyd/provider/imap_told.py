"""What a server tells by itself, beside the answers to our commands: kept until somebody takes it.

Of the open folder: that it has grown is counted elsewhere (`imap_link`); here, that a message in it was marked by hand.
Of the others, where NOTIFY (RFC 5465) asked for it: how they stand now, and that there are others than before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from imapclient.exceptions import ProtocolError
from imapclient.imap_utf7 import decode as decode_utf7
from imapclient.response_parser import parse_response

from proxyd.model import LOGGED_MARK, MARK
from proxyd.provider.imap_values import as_number

_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Status:
    """How a folder stands; 0 where the server does not say. `modseq` is its HIGHESTMODSEQ (RFC 7162)."""

    uidvalidity: int
    uidnext: int
    messages: int
    modseq: int = 0


@dataclass(slots=True)
class Told:
    """`folders`: how they stand, by their name; `listed`: there are others, or the server lost count and everything is
    to be looked at; `marked`: a message in the open folder bears MARK."""

    folders: dict[str, Status] = field(default_factory=dict)
    listed: bool = False
    marked: bool = False

    def __bool__(self) -> bool:
        return bool(self.folders) or self.listed or self.marked

    def status(self, data: Sequence[Any]) -> str | None:
        """Of a STATUS answer, behind that word; the folder's name, None where it cannot be read."""
        try:
            parsed: Any = parse_response(list(data))
            name, numbers = parsed
            pairs = dict(zip(numbers[::2], numbers[1::2], strict=True))
            folder = str(decode_utf7(name)) if isinstance(name, bytes) else str(name)
            folder = "INBOX" if folder.upper() == "INBOX" else folder
        except (ProtocolError, ValueError, TypeError, LookupError):
            self.listed = True
            return None
        values = {str(key, "ascii").upper(): as_number(value) for key, value in pairs.items()}
        before = self.folders.get(folder, Status(0, 0, 0))
        self.folders[folder] = Status(
            values.get("UIDVALIDITY", before.uidvalidity),
            values.get("UIDNEXT", before.uidnext),
            values.get("MESSAGES", before.messages),
            values.get("HIGHESTMODSEQ", before.modseq),
        )
        return folder

    def fetched(self, items: Iterable[Any]) -> None:
        """Of FETCH answers that nobody asked for."""
        self.marked = self.marked or any(isinstance(item, bytes) and bears_mark(item) for item in items)


def bears_mark(line: bytes) -> bool:
    """Does this FETCH answer say that a message was marked by hand, and that it is not logged yet?"""
    if (found := _FLAGS.search(line)) is None:
        return False
    flags = frozenset(found[1].decode("ascii", "replace").lower().split())
    return MARK.lower() in flags and LOGGED_MARK.lower() not in flags
