"""What the IMAP relay asks about a message that a client puts into a folder (APPEND, RFC 3501 section 6.3.11).

The relay reads what stands before the message and the message's header section, and asks whether the upload goes on to
the provider or ends here. Where it goes on, it streams; nowhere is it held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

HEADER_LIMIT = 4 * 1024 * 1024  # octets of a header section that are read; a longer one passes unread


@dataclass(frozen=True, slots=True)
class AppendUid:
    """Where a message lies (RFC 4315)."""

    uidvalidity: int
    uid: int


@dataclass(frozen=True, slots=True)
class PassOn:
    """The upload goes on. One of the two is called: `done`, awaited behind the client's back, once the provider has
    taken it, with where it lies, or None where the provider does not say; or `lost` where it refuses the upload, or the
    connection ends before it has answered."""

    done: Callable[[AppendUid | None], Awaitable[None]] | None = None
    lost: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Swallow:
    """The upload ends here: `answer` gives where the provider's own copy lies, None where that is not known. The client
    hears OK either way."""

    answer: Awaitable[AppendUid | None]


class Uploads(Protocol):
    """One client connection's."""

    def concerns(self, mailbox: str) -> bool:
        """Whether uploads to `mailbox` (decoded from modified UTF-7) are to be asked about."""
        ...

    async def arriving(
        self, mailbox: str, flags: tuple[str, ...], internaldate: str | None, size: int, header: bytes
    ) -> PassOn | Swallow:
        """`header`: the header section with its blank line; the whole message where it has none. `size`: of all."""
        ...


class NoUploads:
    """Every upload passes."""

    def concerns(self, mailbox: str) -> bool:
        return False

    async def arriving(
        self, mailbox: str, flags: tuple[str, ...], internaldate: str | None, size: int, header: bytes
    ) -> PassOn | Swallow:
        return PassOn()
