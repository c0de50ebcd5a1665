"""A message's body as it arrives (RFC 2045, 2046): the text, and what is attached.

Why our own: the standard library's reader holds the whole message, several times over. This one is fed in chunks and
keeps only the text (at most 2 MiB of plain and 2 MiB of HTML); an attachment is counted and hashed as it passes. It
never raises: damaged structure costs what is damaged, and depth and number of parts are capped.

`Walk` finds the parts, `proxyd.formats.body_parts` says what each of them is and keeps what there is to keep of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from proxyd.formats.body_parts import Leaf, Multipart, PartHeader, Room, body_of
from proxyd.model import Body

DEEPEST = 100  # multiparts within multiparts; a deeper one is not opened
MOST_PARTS = 1000  # of one message; what comes after them is not read
_LONGEST_BOUNDARY = 998  # octets; RFC 2046 says 70
_IN_HEADER = re.compile(rb"[!-9;-~]++[ \t]*+:|[ \t]")
_LONGEST_LINE = 65_536  # octets of a line that are waited for; a longer one is no boundary


class BodyReader:
    """Feed it a message, header section first, in chunks of any size; `finish` says what it holds."""

    def __init__(self) -> None:
        self._walk = Walk()

    def feed(self, octets: bytes) -> None:
        self._walk.feed(octets)

    def finish(self) -> Body:
        self._walk.finish()
        return body_of(self._walk.root, self._walk.attachments)


def attachment(chunks: Iterable[bytes], n: int) -> Iterator[bytes]:
    """The decoded octets of attachment `n`, counted from 0 as `Body.attachments` of the same message.

    Raises IndexError, after the last chunk, where the message has no such attachment.
    """
    taken: list[bytes] = []
    walk = Walk(taken, n)
    for chunk in chunks:
        walk.feed(chunk)
        yield from taken
        taken.clear()
    walk.finish()
    yield from taken
    if len(walk.attachments) <= n:
        raise IndexError(f"no attachment {n}: the message has {len(walk.attachments)}")


def report_parts(octets: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Of a message's first octets: its text, and media type and first octets of each part that a report is made of."""
    walk = Walk()
    walk.feed(octets)
    walk.finish()
    kept = [(leaf.header.type, leaf.kept) for leaf in walk.attachments if leaf.kept]
    return body_of(walk.root, walk.attachments).text, kept


class Walk:
    """One pass over the octets, line by line where lines matter: in headers, and where a boundary may stand."""

    def __init__(self, taken: list[bytes] | None = None, wanted: int = -1, pictures: Collection[str] = ()) -> None:
        """`taken` gets the octets of attachment `wanted`; `pictures`: the media types that are kept where they have a
        Content-ID, by which the HTML shows them."""
        self.root: Leaf | Multipart | None = None
        self.attachments: list[Leaf] = []
        self.pictures: list[Leaf] = []
        self._kept_types = pictures
        self._taken = taken
        self._wanted = wanted
        self._rest = b""  # the line that is not complete
        self._line_begins = True  # is the first octet of `_rest` the first of a line?
        self._held = b""  # the last line end: it belongs to the boundary, if one follows
        self._open: list[Multipart] = []
        self._boundary: re.Pattern[bytes] | None = None
        self._header: PartHeader | None = PartHeader(None)
        self._leaf: Leaf | None = None
        self._parts = 0
        self._room = Room()

    def feed(self, octets: bytes) -> None:
        octets = self._rest + octets if self._rest else octets
        end = octets.rfind(b"\n") + 1
        self._rest = octets[end:]
        self._lines(octets[:end])
        if len(self._rest) > _LONGEST_LINE:
            keep = b"\r" if self._rest.endswith(b"\r") else b""
            piece, self._rest = self._rest[: len(self._rest) - len(keep)], keep
            self._piece(piece)

    def finish(self) -> None:
        rest, self._rest = self._rest, b""
        self._lines(rest)
        if self._header is not None:
            self._header_ended()
        self._emit_held()
        if self._leaf is not None:
            self._leaf.finish()
            self._leaf = None

    def _lines(self, octets: bytes) -> None:
        """Whole lines (at the very end of the message, the last without its end)."""
        position = 0
        if octets and not self._line_begins:
            position = octets.find(b"\n") + 1 or len(octets)
            self._data(octets[:position])
            self._line_begins = True
        while position < len(octets):
            if self._header is not None:
                position = self._header_line(octets, position)
                continue
            found = self._boundary.search(octets, position) if self._boundary else None
            if found is None:
                self._data(octets[position:])
                return
            self._data(octets[position : found.start()])
            self._at_boundary(found)
            position = found.end()

    def _piece(self, octets: bytes) -> None:
        """A part of a line that is too long to be waited for."""
        if self._header is None:
            self._data(octets)
        elif self._line_begins:
            self._header.line(octets)
        self._line_begins = False

    # --- data -------------------------------------------------------------------------------------------------

    def _data(self, octets: bytes) -> None:
        if self._leaf is None or not octets:
            return  # a part's header cut short, or what stands before the first part and behind the last
        self._emit_held()
        held = 2 if octets.endswith(b"\r\n") else 1 if octets.endswith(b"\n") else 0
        if held:
            octets, self._held = octets[:-held], octets[-held:]
        self._leaf.feed(octets)

    def _emit_held(self) -> None:
        held, self._held = self._held, b""
        if held and self._leaf is not None:
            self._leaf.feed(held)

    # --- structure --------------------------------------------------------------------------------------------

    def _header_line(self, octets: bytes, position: int) -> int:
        if self._boundary and (found := self._boundary.match(octets, position)):
            self._at_boundary(found)
            return found.end()
        end = octets.find(b"\n", position) + 1 or len(octets)
        line = octets[position:end]
        assert self._header is not None
        if line in (b"\r\n", b"\n"):
            self._header_ended()
        elif self._open and not _IN_HEADER.match(line):
            self._header_ended()  # the empty line is missing: this is the part's first line of data
            return position
        else:
            self._header.line(line)
        return end

    def _header_ended(self) -> None:
        """The header section of a part is complete: open what it announces."""
        header, self._header = self._header, None
        assert header is not None
        self._parts += 1
        header.read()
        if header.boundary and len(header.boundary) <= _LONGEST_BOUNDARY and len(self._open) < DEEPEST:
            multipart = Multipart(header)
            self._place(multipart)
            self._open.append(multipart)
            self._expect()
            return
        self._leaf = Leaf(header, whole_message=not self._open, room=self._room)
        self._place(self._leaf)
        if self._leaf.attached:
            if len(self.attachments) == self._wanted:
                self._leaf.taken = self._taken
            elif self._leaf.header.content_id and self._leaf.header.type in self._kept_types:
                self._leaf.taken = []
                self.pictures.append(self._leaf)
            self.attachments.append(self._leaf)

    def _place(self, part: Leaf | Multipart) -> None:
        if self._open:
            self._open[-1].parts.append(part)
        else:
            self.root = part

    def _at_boundary(self, found: re.Match[bytes]) -> None:
        """A boundary of an open multipart, the innermost that it fits: everything within it has ended."""
        if self._header is not None:
            self._header_ended()
        self._held = b""
        if self._leaf is not None:
            self._leaf.finish()
            self._leaf = None
        named = found["name"]
        depth = max(index for index, each in enumerate(self._open) if each.header.boundary == named)
        del self._open[depth + (0 if found["last"] else 1) :]
        if self._parts >= MOST_PARTS:
            self._open.clear()  # enough: nothing that follows is looked at
        elif self._open and not found["last"]:
            self._header = PartHeader(self._open[-1])
        self._expect()

    def _expect(self) -> None:
        """Look for the boundaries of what is open now, longer ones first: one may begin another."""
        names = sorted({each.header.boundary for each in self._open}, key=len, reverse=True)
        choice = b"|".join(map(re.escape, names))
        self._boundary = (
            re.compile(rb"^--(?P<name>" + choice + rb")(?P<last>--)?[ \t]*+(?:\r?\n|\r?\Z)", re.MULTILINE)
            if names
            else None
        )
